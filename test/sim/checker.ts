// The invariants (README.md numbers them), checked outside of the code under test as things happen, and at the end.
//
// Held here: all but 10 and 21 (checkpoint-witness.ts), 11 (log-witness.ts), 18 (audit-witness.ts), 24 (call-witness.ts), and 22, for whoever runs a
// seed twice. 16 is held for alarms. The parts that are not simulated have tests of their own: the detector's table and its telemetry
// (test/crash), the log's storage (test/contract and test/crash), the failure predictor's rows (test/unit/models).
// Longer than 300 lines because the list of what is promised is one list.

import { deadlineOf } from '../../actuators/decide/command.ts'
import type { Command } from '../../schemas/command.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { Batch, BatchFate, DriverClass, DriverOrder, LedgerKind, LogRecord, LogRecordInput, Page, Position } from '../../schemas/ports.ts'
import { commandsTopic, TOPICS } from '../../schemas/topics.ts'
import { AuditWitness } from './audit-witness.ts'
import { CallWitness } from './call-witness.ts'
import { CheckpointWitness } from './checkpoint-witness.ts'
import { FORGER, Facts, isOrder, type KnownCommand, type Said } from './facts.ts'
import type { Ledgers } from './ledgers.ts'
import { LogWitness } from './log-witness.ts'
import type { Marks } from './marks.ts'
import type { SimPolicy } from './policies.ts'
import type { SimProcess } from './process.ts'
import type { Observer } from './sim-log.ts'
import { verifier } from './signing.ts'
import { HEALTHY_BELOW_MS, type Target, type Witness, wasHealthy } from './targets.ts'
import type { Timeline } from './timeline.ts'
import type { Trace } from './trace.ts'
import { holding, isPlanned } from './words.ts'

export const ENVIRONMENT = 'sim'
const STAGES = '23 stages'
const AT_ACTING = '4 policy at the time of acting'
const KILL_WITHIN_MS = 1_000 // From durable to obeyed.
const ATTEMPTS_MAX = 3 // Driver calls for one key of a convergent driver.
const COMMANDS = commandsTopic(ENVIRONMENT)
const decoder = new TextDecoder()
const STEP_ARROWS: Readonly<Record<string, readonly string[]>> = {
  new: ['accepted'],
  accepted: ['accepted', 'begun', 'recorded'],
  begun: ['begun', 'applied', 'failed', 'unknown'],
  applied: ['verified', 'unverified'],
  failed: ['unverified'],
  unknown: ['unverified'],
  verified: ['recorded'],
  unverified: ['recorded'],
  recorded: []
}
/** Group → topics that it reads; each has one partition here. */
const READERS: readonly (readonly [string, readonly string[]])[] = [
  [`homeostat-act-${ENVIRONMENT}`, [COMMANDS]],
  ['homeostat-decide', [TOPICS.incidents.name, TOPICS.outcomes.name, TOPICS.control.name]],
  ['homeostat-diagnose', [TOPICS.anomalies.name, TOPICS.decisions.name, TOPICS.outcomes.name]]
]
const OPEN_ROWS_MAX = 200 // Far below the ledger's own limit: a world has four targets.
const STOPPED_GRACE_MS = 1
const COMMANDS_MAX = 300 // A world has a dozen targets, and budgets of at most five attempts with two runbooks each.
const LOOK_MS_MAX = 5_000 // What a look at the signals may take, and hence how old the newest sample of a verdict may be.

export interface Violation {
  invariant: string
  detail: string
}

export interface CheckerOptions {
  timeline: Timeline
  trace: Trace
  marks: Marks
  driverClass: DriverClass
  policy: SimPolicy
  ledgers: Ledgers
  /** Running time within which the end of an incident must be known to who acts for it. */
  clearedWithinMs: number
  /** What control may take from a moment when people are due to be called to the record of it. */
  calledWithinMs: number
  /** The processes of control, those that are to be. */
  controls: () => readonly (SimProcess | undefined)[]
  /** What people were told, in order. */
  pages: () => readonly Page[]
  /** Whether clocks may be wrong in this world: then stamps of different machines are not compared. */
  clocksAreOff: boolean
}

type Row = Readonly<Record<string, unknown>>
export interface Put {
  kind: LedgerKind
  key: string
  old: Row | undefined
  row: Row
}

export class Checker implements Observer, Witness {
  readonly facts = new Facts()
  readonly log: LogWitness
  readonly checkpoints: CheckpointWitness
  readonly #audit: AuditWitness
  readonly #calls: CallWitness
  readonly violations: Violation[] = []
  /** Commands that acted on what was well. */
  readonly wrongActions = new Set<string>()
  /** Keys that must never take effect → why. */
  readonly forbidden = new Map<string, string>()
  /** Partition → offsets below which the group is done. */
  readonly settled = new Map<string, number>()
  /** Topic → offset of its next record. */
  readonly #ends = new Map<string, number>()
  readonly #heardMs = new Map<Said | Outcome, number>()
  /** Topic → how many of its records are in there. */
  readonly #heardUpTo = new Map<string, number>()
  readonly #fences = new Map<string, number>()
  readonly #saved = new Map<SimProcess, Map<string, Map<string, number>>>()
  readonly #options: CheckerOptions

  constructor(options: CheckerOptions) {
    this.#options = options
    const fail = (invariant: string, detail: string): void => this.fail(invariant, detail)
    this.log = new LogWitness(fail)
    this.#audit = new AuditWitness(fail)
    this.#calls = new CallWitness({ facts: this.facts, policy: options.policy, fail, slackMs: options.calledWithinMs })
    this.checkpoints = new CheckpointWitness({
      records: topic => this.facts.records.get(topic) ?? [],
      fail,
      wasExecuted: id => options.ledgers.hasAccepted(id)
    })
  }

  fail(invariant: string, detail: string): void {
    this.violations.push({ invariant, detail })
    this.#options.trace.add(this.#options.timeline.nowMs, `VIOLATION ${invariant}: ${detail}`)
  }

  onAppend(topic: string, record: LogRecordInput, position: Position, by: string): void {
    const { timeline, trace } = this.#options
    this.#ends.set(topic, position.offset + 1)
    this.log.onAppend(record, position)
    this.#audit.onAppend(topic, record, by)
    if (topic === TOPICS.checkpoints.name) return
    const text = record.value === null ? '' : decoder.decode(record.value)
    trace.add(timeline.nowMs, `${by} → ${topic.slice('homeostat.'.length)} ${record.headers?.ce_id ?? '?'} ${summaryOf(record, text)}`)
    if (text === '' || by === FORGER) return
    const json: unknown = JSON.parse(text)
    if (isOrder(topic)) this.#beforeCommand(json as Command, text)
    if (topic === TOPICS.outcomes.name) this.#outcome(json as Outcome, text)
    this.facts.take(topic, json, text, position, timeline.nowMs)
    if (topic === TOPICS.decisions.name) this.#decided(json as Decision)
    this.#news(topic, json)
  }

  // ── 24: who is called ───────────────────────────────────────────────────────────────────────────────────────────

  #news(topic: string, json: unknown): void {
    const { nowMs } = this.#options.timeline
    if (topic === TOPICS.incidents.name) this.#calls.onNews((json as Incident).id, nowMs)
    if (topic === TOPICS.decisions.name) this.#calls.onNews((json as Decision).incidentId, nowMs, json as Decision)
    if (topic === TOPICS.outcomes.name) this.#calls.onNews((json as Outcome).incidentId, nowMs, undefined, (json as Outcome).escalated)
  }

  checkCalls(): void {
    const { clocksAreOff, controls, timeline } = this.#options
    if (!clocksAreOff) this.#calls.look(controls(), timeline.nowMs)
  }

  // ── 3, 4, 5, 6, 12: when a command is ordered ───────────────────────────────────────────────────────────────────

  #beforeCommand(command: Command, text: string): void {
    const { policy, clocksAreOff, marks } = this.#options
    const known = this.facts.commands.get(command.id)
    if (known !== undefined) {
      marks.reach('command published again')
      if (known.text !== text) this.fail('12 fenced writers', `command ${command.id} was published with other contents`)
      return
    }
    const earlier = [...this.facts.commands.values()]
    if (earlier.some(other => other.command.incidentId === command.incidentId && other.command.attempt === command.attempt)) {
      this.fail('12 fenced writers', `attempt ${command.attempt} of incident ${command.incidentId} was ordered twice`)
    }
    this.#inStages(command, earlier)
    if (earlier.length > COMMANDS_MAX) this.fail('13 bounds', `${earlier.length} commands within minutes`)
    const open = earlier.filter(other => other.endedAtMs === undefined && command.issuedAtMs < deadlineOfCommand(other))
    if (clocksAreOff) return // Orphans and cooldowns are told by stamps of machines that do not agree here.
    if (open.some(other => other.command.target === command.target)) this.fail('2 single owner', `${command.target} has a command in flight already`)
    const others = new Set(open.map(other => other.command.target).filter(target => target !== command.target))
    if (others.size >= policy.concurrentMax)
      this.fail('5 blast radius', `${others.size} other targets are under treatment, ${policy.concurrentMax} at once are allowed`)
    if (command.undoes !== undefined) return // No attempt at healing.
    const tries = earlier.filter(({ command: other }) => other.target === command.target && other.runbook === command.runbook && other.undoes === undefined)
    const lately = tries.filter(other => command.issuedAtMs - other.command.issuedAtMs < policy.windowMs)
    if (lately.length >= policy.attemptsMax)
      this.fail('6 rate breaker', `${command.runbook} on ${command.target}: attempt ${lately.length + 1} of ${policy.attemptsMax}`)
    const last = tries.at(-1)
    if (last === undefined) return
    const restedMs = command.issuedAtMs - this.#endOf(last, command.issuedAtMs)
    if (restedMs < policy.cooldownMs) this.fail(AT_ACTING, `cooldown: ${restedMs} ms after the last attempt`)
  }

  /** Order and verdicts are those of the log, and so is the size of the group; where stages end is computed here anew. */
  #inStages(command: Command, earlier: readonly KnownCommand[]): void {
    const { policy, marks } = this.#options
    if (command.rollout === undefined) return
    const outcomeOf = (id: string): Outcome | undefined => this.facts.outcomeList.findLast(({ commandId }) => commandId === id)
    if (command.undoes !== undefined) {
      if (outcomeOf(command.undoes) === undefined) this.fail(STAGES, `command ${command.undoes} is taken back and has no outcome`)
      return
    }
    const acts = earlier.filter(({ command: other }) => other.rollout?.id === command.rollout!.id && other.undoes === undefined)
    const members = [...new Set([...acts.map(({ command: { target } }) => target), command.target])]
    const size = this.facts.said.flatMap(({ control }) => (control.kind === 'group' ? [control.size] : [])).at(-1) ?? 0
    const ends = policy.stages.map(stage => (typeof stage === 'number' ? stage : Math.ceil((size * Number.parseInt(stage, 10)) / 100)))
    const index = members.indexOf(command.target)
    const before = Math.max(0, ...ends.filter(end => end <= index))
    if (before > 0) marks.reach('second stage')
    for (const member of members.slice(0, before)) {
      const outcome = outcomeOf(acts.findLast(({ command: { target } }) => target === member)!.command.id)
      if (!isVerified(outcome)) this.fail(STAGES, `${command.target} is member ${index + 1}, and ${member} was ${outcome?.verdict ?? 'not verified'}`)
    }
  }

  /** When an attempt ended for who decides at `atMs`: with its outcome, or, before that was taken in, when it was given up. */
  #endOf(attempt: KnownCommand, atMs: number): number {
    const deadlineMs = deadlineOfCommand(attempt)
    const outcome = this.facts.outcomeList.find(({ commandId }) => commandId === attempt.command.id)
    if (outcome === undefined) return deadlineMs
    const isTakenIn = (this.#heardMs.get(outcome) ?? Number.POSITIVE_INFINITY) < atMs
    return isTakenIn ? outcome.recordedAtMs : Math.min(outcome.recordedAtMs, deadlineMs)
  }

  #decided(decision: Decision): void {
    const { marks, policy } = this.#options
    marks.reach(`decision ${decision.outcome}`)
    if (decision.outcome === 'blocked' && decision.calledPeople) marks.reach('called for what stays blocked')
    for (const reason of decision.blockedBy) marks.reach(`blocked by ${reason}`)
    for (const { guard, inputs, reason } of decision.guards) {
      if (guard === 'target_frozen' && typeof inputs.quarantinedSinceMs === 'number') marks.reach('quarantine')
      if (reason.includes('has no outcome though its deadline passed')) marks.reach('orphan')
    }
    if (decision.outcome !== 'act') return
    const before = [...this.facts.decisions.values()].filter(other => other.incidentId === decision.incidentId && other.outcome === 'blocked')
    if (before.length > 0) marks.reach('blocked, then acted')
    if (this.#options.clocksAreOff) return
    // Judged by what was known when it was decided; it may have been published later.
    for (const { said, what } of holding(this.facts.said, decision.target!, decision.decidedAtMs, policy)) {
      if ((this.#heardMs.get(said) ?? Number.POSITIVE_INFINITY) < decision.decidedAtMs) this.fail(AT_ACTING, `decided to act within ${what}`)
    }
    if (isPlanned(decision.decidedAtMs, policy)) this.fail(AT_ACTING, "decided to act within the policy's own window")
  }

  // ── 4, 13, 14, 19: the ledger ───────────────────────────────────────────────────────────────────────────────────

  /** A ledger transaction was committed. */
  onCommit(process: SimProcess, puts: readonly Put[]): void {
    for (const { kind, key, old, row } of puts) {
      if (kind === 'step') this.#step(process, key, old, row)
      if (kind !== 'command') continue
      if (old?.state === 'recorded') this.fail('14 monotone states', `command ${key} changed after it was recorded`)
      if (old === undefined && row.state === 'accepted' && this.#options.ledgers.holders(key).length > 1)
        this.fail('2 single owner', `command ${key} is in two ledgers: ${this.#options.ledgers.holders(key).join(', ')}`)
    }
  }

  #step(process: SimProcess, key: string, old: Row | undefined, row: Row): void {
    const { timeline, trace, marks } = this.#options
    const from = (old?.state as string | undefined) ?? 'new'
    const to = row.state as string
    if (from !== to) trace.add(timeline.nowMs, `${process.name} ledger ${key.slice(0, 8)} ${String(row.kind)} ${from} → ${to}`)
    if (!STEP_ARROWS[from]!.includes(to)) this.fail('14 monotone states', `step ${key}: ${from} → ${to}`)
    if (to === 'begun') this.#begun(process, key, row, from === 'accepted')
    if (from === 'begun' && to === 'begun') marks.reach('begun again')
    if (to === 'unknown') marks.reach('unknown: target frozen')
    if (row.kind === 'undo' && to === 'applied') marks.reach('undo')
    if (to === 'verified' && row.kind === 'act') this.#healed(process, key, row)
  }

  #begun(process: SimProcess, key: string, row: Row, isFirst: boolean): void {
    const { ledgers, clearedWithinMs } = this.#options
    const known = this.facts.byKey.get(key)
    if (known === undefined) {
      this.fail('3 evidence', `step ${key} begins without a command in the log`)
      return
    }
    const { command } = known
    const rule = AT_ACTING
    this.#held(process, key, command.target)
    const incident = this.facts.incidents.get(command.incidentId)
    const overSinceMs = isOver(incident) ? this.facts.incidentAtMs.get(command.incidentId) : undefined
    if (isFirst && row.kind === 'act' && overSinceMs !== undefined && process.runningSinceMs(overSinceMs) > clearedWithinMs)
      this.fail(rule, `step ${key} begins ${process.runningSinceMs(overSinceMs)} ms after its incident was over`)
    for (const scope of ['global', `environment/${ENVIRONMENT}`, `policy/${command.policy}`]) {
      const last = this.facts.said.findLast(({ control }) => control.kind === 'kill_switch' && control.scope === scope)
      if (last?.control.kind === 'kill_switch' && last.control.on && process.runningSinceMs(last.atMs) > KILL_WITHIN_MS)
        this.fail(rule, `step ${key} begins ${process.runningSinceMs(last.atMs)} ms after the kill switch ${scope}`)
    }
    const index = command.steps.findIndex(({ idempotencyKey }) => idempotencyKey === key || derivedId('undo', idempotencyKey) === key)
    const budgetMs = command.steps.slice(0, index + (row.kind === 'undo' ? 1 : 0)).reduce((sum, { step }) => sum + stepMs(step), 0)
    if (process.clock.nowMs() >= command.expiresAtMs + budgetMs)
      this.fail(rule, `step ${key} begins ${process.clock.nowMs() - command.expiresAtMs - budgetMs} ms too late`)
    if (ledgers.isFrozen(process, command.target)) this.fail(rule, `step ${key} begins on a frozen target`)
    this.#approved(known)
  }

  /** Words that were durable for as long as it takes to read them, and windows that the clock opens. */
  #held(process: SimProcess, key: string, target: string): void {
    const { clocksAreOff, policy } = this.#options
    if (clocksAreOff) return
    const nowMs = process.clock.nowMs()
    for (const { said, what } of holding(this.facts.said, target, nowMs, policy)) {
      if (process.runningSinceMs(said.atMs) > KILL_WITHIN_MS) this.fail(AT_ACTING, `step ${key} begins within ${what}`)
    }
    if (isPlanned(nowMs, policy)) this.fail(AT_ACTING, `step ${key} begins within the policy's own window`)
  }

  #approved({ command }: KnownCommand): void {
    const { policy } = this.#options
    if (policy.approvers === 0) return
    const questions = [...this.facts.decisions.values()].filter(({ incidentId, outcome }) => incidentId === command.incidentId && outcome === 'ask')
    const enough = questions.some(({ id }) => {
      const answers = this.facts.said.flatMap(({ control }) => (control.kind === 'approval' && control.decisionId === id ? [control] : []))
      return new Set(answers.filter(answer => answer.approved).map(answer => answer.by)).size >= policy.approvers
    })
    if (!enough) this.fail('4 policy at the time of acting', `command ${command.id} begins without ${policy.approvers} approvals`)
  }

  #healed(process: SimProcess, key: string, row: Row): void {
    const { timeline, marks, ledgers, clocksAreOff } = this.#options
    marks.reach('healed')
    const known = this.facts.byKey.get(key)!
    const step = known.command.steps.find(({ idempotencyKey }) => idempotencyKey === key)!.step
    const windowMs = step.verify.holdFor + LOOK_MS_MAX
    const fromMs = timeline.nowMs - windowMs
    // What it saw is older than that when it was stopped meanwhile, and elsewhere in time when its clock is wrong.
    if (process.runningSinceMs(fromMs) < windowMs - STOPPED_GRACE_MS || clocksAreOff) return
    const target = ledgers.targetOf((row.order as DriverOrder).target)
    if (target && !target.history.some(change => change.atMs >= fromMs) && !wasHealthy(target, fromMs))
      this.fail('19 honest verification', `${target.entity} is called healed and was broken for all of the last ${windowMs} ms`)
  }

  // ── 1, 2, 3, 7, 8: an effect ────────────────────────────────────────────────────────────────────────────────────

  onEffect(target: Target, order: DriverOrder, by: SimProcess): void {
    const { timeline, trace, driverClass, marks } = this.#options
    const key = order.idempotencyKey
    const count = target.effects.get(key)!
    trace.add(timeline.nowMs, `${by.name} EFFECT ${order.verb} on ${target.entity} key ${key.slice(0, 8)} fence ${order.fence} (${count})`)
    marks.reach('effect')
    if (!by.isAlive) marks.reach('effect of a process that died meanwhile')
    if (count > (driverClass === 'convergent' ? ATTEMPTS_MAX : 1)) this.fail('1 at most once', `${count} effects of key ${key}`)
    const fence = this.#fences.get(target.entity) ?? 0
    if (order.fence < fence) this.fail('2 single owner', `fence ${order.fence} took effect after ${fence}`)
    this.#fences.set(target.entity, Math.max(fence, order.fence))
    const why = this.forbidden.get(key)
    if (why !== undefined) {
      this.fail(why.startsWith('environment') ? '7 environment fence' : '8 signature first', `${why} command took effect`)
      return
    }
    this.#evidence(order)
    const command = this.facts.byKey.get(key)?.command
    const firstMs = command === undefined ? 0 : Math.min(command.startedAtMs, command.issuedAtMs)
    const isWell = wasHealthy(target, firstMs) && !target.history.some(({ atMs, really }) => atMs > firstMs && really >= HEALTHY_BELOW_MS)
    if (command !== undefined && isWell) this.wrongActions.add(command.id)
  }

  #evidence(order: DriverOrder): void {
    const rule = '3 evidence'
    const known = this.facts.byKey.get(order.idempotencyKey)
    if (known === undefined) {
      this.fail(rule, `an effect without a command in the log: ${order.idempotencyKey}`)
      return
    }
    const { command } = known
    if (command.environment !== ENVIRONMENT) this.fail('7 environment fence', `command ${command.id} is for ${command.environment}`)
    if (verifier.verify(command) !== undefined) this.fail(rule, `command ${command.id} is not signed`)
    const decision = this.facts.decisions.get(command.decisionId)
    if (decision?.outcome !== 'act' || decision.commandId !== command.id) {
      this.fail(rule, `command ${command.id} has no decision`)
      return
    }
    if (!this.facts.incidents.has(decision.incidentId)) {
      this.fail(rule, `decision ${decision.id} has no incident in the log`)
      return
    }
    const { members } = command.incident as { members: { anomalyId: string }[] }
    if (members.length === 0 || !members.every(({ anomalyId }) => this.facts.anomalies.has(anomalyId)))
      this.fail(rule, `incident ${decision.incidentId} stands on no anomaly`)
  }

  onRefused(target: Target, order: DriverOrder, by: SimProcess): void {
    this.#options.trace.add(this.#options.timeline.nowMs, `${target.entity} refuses fence ${order.fence} of ${by.name}`)
    this.#options.marks.reach('zombie apply refused by its fence')
  }

  // ── 15: outcomes ────────────────────────────────────────────────────────────────────────────────────────────────

  #outcome(outcome: Outcome, text: string): void {
    this.#options.marks.reach(`verdict ${outcome.verdict}`)
    if (outcome.refusedBy !== null) this.#options.marks.reach(`refused by ${outcome.refusedBy}`)
    if (outcome.id !== derivedId('outcome', outcome.commandId)) return
    const texts = this.facts.outcomes.get(outcome.commandId) ?? new Map<string, string>()
    this.facts.outcomes.set(outcome.commandId, texts)
    const known = texts.get(outcome.id)
    if (known !== undefined && known !== text)
      this.fail('15 one outcome', `command ${outcome.commandId} has two outcomes: ${verdictOf(known)} and ${outcome.verdict}`)
    if (known !== undefined) this.#options.marks.reach('outcome published again')
    texts.set(outcome.id, text)
  }

  // ── 9: offsets ──────────────────────────────────────────────────────────────────────────────────────────────────

  onSaved(process: SimProcess, name: string, positions: readonly Position[]): void {
    const names = this.#saved.get(process) ?? new Map<string, Map<string, number>>()
    this.#saved.set(process, names)
    for (const { topic, offset } of positions) {
      const place = `homeostat-${name} ${topic}`
      this.settled.set(place, Math.max(this.settled.get(place) ?? 0, offset)) // An owner that restarts seeks past what it holds.
    }
    this.#hear()
    names.set(name, new Map(positions.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset])))
  }

  onSettled(group: string, batch: Batch, _fate: BatchFate, by: SimProcess): void {
    const { ledgers } = this.#options
    const endOffset = batch.records.at(-1)!.offset + 1
    const place = `${group} ${batch.topic}`
    this.settled.set(place, Math.max(this.settled.get(place) ?? 0, endOffset))
    if (batch.topic === COMMANDS) {
      for (const record of batch.records) {
        const id = record.headers.ce_id ?? ''
        const known = this.facts.commands.get(id)
        const owner = this.facts.claims.get(id)
        const isLeft = owner !== undefined && !ledgers.isOwn(by, owner)
        if (known !== undefined && ledgers.holders(id).length === 0 && !isLeft)
          this.fail('9 offsets behind results', `command ${id} is settled by ${by.name} and in no ledger`)
      }
    } else {
      const name = group.slice('homeostat-'.length)
      const saved = this.#saved.get(by)?.get(name)?.get(`${batch.topic}/${batch.partition}`) ?? 0
      if (saved < endOffset) this.fail('9 offsets behind results', `${group} settled ${batch.topic} to ${endOffset} and saved ${saved}`)
    }
  }

  // ── 13: bounds ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** What decide has taken in of people's words and of outcomes is noted with the time. Called after every event that may have changed it. */
  #hear(): void {
    // In whole milliseconds, as the machines' clocks: what was decided and heard within one of them has no order.
    const nowMs = Math.round(this.#options.timeline.nowMs)
    const note = (topic: string, records: readonly (Said | Outcome)[]): void => {
      const settled = this.settled.get(`homeostat-decide ${topic}`) ?? 0
      const from = this.#heardUpTo.get(topic) ?? 0
      const news = records.slice(from, settled)
      for (const record of news) this.#heardMs.set(record, nowMs)
      this.#heardUpTo.set(topic, from + news.length)
    }
    note(TOPICS.control.name, this.facts.said)
    note(TOPICS.outcomes.name, this.facts.outcomeList)
  }

  checkBounds(): void {
    const open = this.#options.ledgers.openRows()
    if (open > OPEN_ROWS_MAX) this.fail('13 bounds', `${open} open ledger rows`)
    if (this.#options.timeline.waiting > 20_000) this.fail('13 bounds', `${this.#options.timeline.waiting} timers wait`)
  }

  // ── 15, 17, 20: at the end ──────────────────────────────────────────────────────────────────────────────────────

  /** What liveness still lacks; empty when all is well. */
  missing(): string[] {
    const found = this.#calls.missing(this.#options.pages())
    for (const { id, status } of this.facts.incidents.values()) if (status !== 'resolved') found.push(`20 liveness: incident ${id} is ${status}`)
    for (const id of this.facts.commands.keys()) if (!this.facts.outcomes.has(id)) found.push(`15 one outcome: command ${id} has none`)
    for (const [group, topics] of READERS) {
      for (const topic of topics) {
        const lag = (this.#ends.get(topic) ?? 0) - (this.settled.get(`${group} ${topic}`) ?? 0)
        if (lag > 0) found.push(`20 liveness: ${group} has ${lag} records of ${topic} before it`)
      }
    }
    const open = this.#options.ledgers.openRowsText()
    if (open !== '') found.push(`20 liveness: open ledger rows: ${open}`)
    return found
  }

  /** @param orders all of the commands topic @param letters its dead letters */
  atEnd(orders: readonly LogRecord[], letters: readonly LogRecord[]): void {
    if (this.violations.length > 0) return
    const dead = new Set(letters.map(({ value }) => Buffer.from(value!).toString()))
    const outcomeIds = new Set(this.facts.outcomeList.map(({ id }) => id))
    for (const { topic, partition, offset, headers, value } of orders) {
      const isSettled = [derivedId('outcome', headers.ce_id ?? ''), derivedId('outcome', 'forged', topic, partition, offset)].some(id => outcomeIds.has(id))
      if (!isSettled && !dead.has(Buffer.from(value!).toString()))
        this.fail('17 every message accounted', `record ${offset} of ${topic} came to nothing: ${headers.ce_id}`)
    }
    const told = new Set([...this.facts.incidents.values()].flatMap(({ members }) => members.map(({ anomalyId }) => anomalyId)))
    for (const id of this.facts.anomalies) if (!told.has(id)) this.fail('16 no alarm lost', `anomaly ${id} is in no incident`)
    this.checkpoints.atEnd()
    this.#audit.atEnd()
    for (const [id, texts] of this.facts.outcomes) if (texts.size > 1) this.fail('15 one outcome', `command ${id} has ${texts.size}`)
  }
}

/** Healed, or found to need nothing. */
function isVerified(outcome: Outcome | undefined): boolean {
  return outcome?.verdict === 'healed' || (outcome?.verdict === 'refused' && ['evidence', 'cleared'].includes(outcome.refusedBy ?? ''))
}

/** Resolved, or nothing is open any more that tells of trouble. */
function isOver(incident: Incident | undefined): boolean {
  return (
    incident !== undefined &&
    (incident.status === 'resolved' || incident.members.every(({ closedAtMs, severity }) => closedAtMs !== null || severity === 'info'))
  )
}

function stepMs(step: KnownCommand['command']['steps'][number]['step']): number {
  const onceMs = step.timeout + step.settle + step.verify.deadline + step.verify.holdFor
  return step.undo ? 2 * onceMs : onceMs
}

function deadlineOfCommand({ command }: KnownCommand): number {
  return deadlineOf(
    command.expiresAtMs,
    command.steps.map(({ step }) => step)
  )
}

const verdictOf = (text: string): string => (JSON.parse(text) as Outcome).verdict

/** Record type → what of it is worth a line. */
const TELLING: Readonly<Record<string, RegExp>> = {
  'homeostat.anomaly.v1': /"status":"(\w+)"/,
  'homeostat.incident.v1': /"status":"(\w+)"/,
  'homeostat.decision.v1': /"outcome":"(\w+)"/,
  'homeostat.outcome.v1': /"verdict":"(\w+)","reason"/,
  'homeostat.control.v1': /"on":(\w+)/
}

function summaryOf({ headers }: LogRecordInput, text: string): string {
  return TELLING[headers?.ce_type ?? '']?.exec(text)?.[1] ?? ''
}
