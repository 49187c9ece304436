// People: they answer questions, release what is frozen, stop everything, announce work, change policies. At random, and in
// the end sensibly.

import { type Control, controlRecord } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type Checker, ENVIRONMENT } from './checker.ts'
import type { Marks } from './marks.ts'
import type { SimLog } from './sim-log.ts'
import { type Stream, stream } from './streams.ts'
import type { Settings } from './swarm.ts'
import type { Targets } from './targets.ts'
import type { Timeline } from './timeline.ts'
import type { Trace } from './trace.ts'

export interface OperatorOptions {
  timeline: Timeline
  trace: Trace
  log: SimLog
  checker: Checker
  marks: Marks
  targets: Targets
  settings: Settings
  changePolicy: () => Promise<void>
}

const LOOK_MS = 3_000
const AHEAD_MS = 86_400_000
const SCOPES = ['global', `environment/${ENVIRONMENT}`, 'policy/sim'] as const

export class Operator {
  readonly #options: OperatorOptions
  readonly #random: Stream
  /** Decisions that people have seen. */
  readonly #read = new Set<string>()
  readonly #switches = new Set<string>()
  #isHealing = false
  #windows = 0
  #changes = 0

  constructor(options: OperatorOptions) {
    this.#options = options
    this.#random = stream(options.settings.seed, 'operator')
  }

  start(): void {
    const { timeline, settings } = this.#options
    const weight = settings.faults.operator ?? 0
    timeline.after(LOOK_MS, () => {
      this.#answer()
      if (this.#random.chance(this.#isHealing ? 0.2 : 0.1)) this.#release()
      if (!this.#isHealing && this.#random.chance(weight * 0.15)) this.#meddle()
      this.start()
    })
  }

  /** From now on: switches off, releases given, questions answered. */
  heal(): void {
    this.#isHealing = true
    for (const scope of [...this.#switches]) this.#switch(scope, false)
  }

  #answer(): void {
    const { checker, marks } = this.#options
    for (const decision of checker.facts.decisions.values()) {
      if (this.#read.has(decision.id)) continue
      this.#read.add(decision.id)
      if (decision.outcome === 'ask') this.#approve(decision)
      if (decision.guards.some(({ guard, verdict, reason }) => guard === 'approval' && verdict === 'refuse' && reason.startsWith('nobody')))
        marks.reach('approval expired')
    }
  }

  #approve(decision: Decision): void {
    const { timeline, marks } = this.#options
    for (const by of ['ada', 'bob']) {
      if (this.#random.chance(0.15)) continue // Nobody is there.
      const approved = !this.#random.chance(0.1)
      timeline.after(this.#random.between(500, 30_000), () => {
        marks.reach(approved ? 'approved' : 'approval denied')
        this.#say({ kind: 'approval', incidentId: decision.incidentId, decisionId: decision.id, approved, by, atMs: Math.round(timeline.nowMs) })
      })
    }
  }

  #release(): void {
    const { targets, timeline, marks, settings } = this.#options
    // A freeze that a clock ahead of ours has stamped is younger than our release.
    const aheadMs = this.#isHealing && settings.faults.clock !== undefined ? AHEAD_MS : 0
    for (const { entity } of targets.all) {
      if (!this.#isHealing && this.#random.chance(0.5)) continue
      marks.reach('target released')
      this.#say({ kind: 'release_target', target: entity, by: 'ada', atMs: Math.round(timeline.nowMs) + aheadMs })
    }
  }

  #meddle(): void {
    const { timeline, marks, trace, targets, checker } = this.#options
    const what = this.#random.pick(['switch', 'switch', 'maintenance', 'maintenance', 'change', 'change', 'policy'] as const)
    if (what === 'switch') {
      const scope = this.#random.pick(SCOPES)
      this.#switch(scope, !this.#switches.has(scope))
      return
    }
    if (what === 'maintenance') {
      const fromMs = Math.round(timeline.nowMs)
      // Who announces work looks at what is going on, and often just then.
      const ordered = [...checker.facts.commands.values()].filter(({ endedAtMs }) => endedAtMs === undefined).at(-1)?.command.target
      const match = ordered ?? (this.#random.chance(0.5) ? '*' : this.#random.pick(targets.all).entity)
      this.#say({
        kind: 'maintenance',
        id: `window-${++this.#windows}`,
        match,
        fromMs,
        toMs: fromMs + Math.round(this.#random.between(5_000, 30_000)),
        by: 'ada',
        atMs: fromMs
      })
      return
    }
    if (what === 'change') {
      this.#change()
      return
    }
    marks.reach('policy changed')
    trace.add(timeline.nowMs, 'people change the policy')
    void this.#options.changePolicy()
  }

  /** Somebody deploys, or sets a hand to it. */
  #change(): void {
    const { timeline, targets } = this.#options
    const { entity } = this.#random.pick(targets.all)
    const target = this.#random.pick([entity, entity.slice(0, entity.indexOf('@')), '*'])
    const isDeploy = this.#random.chance(0.5)
    const fromMs = Math.round(timeline.nowMs)
    const change = { kind: 'change', id: `change-${++this.#changes}`, environment: ENVIRONMENT, target, actor: 'argo', by: 'argo', fromMs } as const
    this.#say({ ...change, what: isDeploy ? 'deploy' : 'manual', toMs: isDeploy ? null : fromMs, atMs: fromMs })
    if (!isDeploy) return
    timeline.after(this.#random.between(3_000, 20_000), () => {
      const toMs = Math.round(timeline.nowMs)
      this.#say({ ...change, what: 'deploy', toMs, atMs: toMs })
    })
  }

  #switch(scope: string, on: boolean): void {
    const { timeline } = this.#options
    this.#switches[on ? 'add' : 'delete'](scope)
    this.#say({ kind: 'kill_switch', scope, on, reason: 'trouble', by: 'ada', atMs: Math.round(timeline.nowMs) })
  }

  #say(control: Control): void {
    void this.#options.log.append(TOPICS.control.name, [encodeRecord(controlRecord, control)], 'operator')
  }
}
