// One simulated world: machines, targets, people and faults of a seed, first disturbed, then healed and held to liveness.

import { type Control, controlRecord } from '../../schemas/control.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { commandsTopic, deadLetterTopic, TOPICS } from '../../schemas/topics.ts'
import { Checker, ENVIRONMENT, type Violation } from './checker.ts'
import { Detector } from './detector.ts'
import { Forger } from './forger.ts'
import { Ledgers } from './ledgers.ts'
import { Marks } from './marks.ts'
import { type Mutant, NO_MUTANT } from './mutants/mutant.ts'
import { Nodes, type Weights } from './nodes.ts'
import { Operator } from './operator.ts'
import { CALLING, CONFIRMING, POLICIES, STAGED } from './policies.ts'
import { SimLog } from './sim-log.ts'
import { type Stream, stream } from './streams.ts'
import { type Settings, settingsOf, type Without } from './swarm.ts'
import { Targets } from './targets.ts'
import { Timeline } from './timeline.ts'
import { START_MS, Trace } from './trace.ts'

/** Within this time after the last fault everything must be well: an orphan's deadline (144 s), a page's pause, a cooldown. */
export const LIVENESS_MS = 400_000
const LOOK_MS = 5_000
const CALLS_LOOK_MS = 2_000
/** The service whose instances a step goes through, and how many it has at least: fewer have no second stage. */
const FLEET = 'sim/fleet'
const INSTANCES_MIN = 3
const CLEARED_WITHIN_MS = 1_000
const CLEARED_WITHIN_DELAYED_MS = 30_000 // Some reads of some seconds each lie between the look at the incident and the act.
const CALLED_WITHIN_MS = 5_000
const CALLED_WITHIN_DELAYED_MS = 30_000
/** Clocks jump forward as far as that, and back by seconds: after a jump back by an hour diagnose keeps quiet incidents open for that hour. */
const JUMP_MS_MAX = 3_600_000

export interface WorldResult {
  seed: number
  settings: Settings
  violations: readonly Violation[]
  marks: Marks
  traceHash: string
  /** The last events. */
  last: readonly string[]
  events: number
  commands: number
  /** Alarms that were raised, each counted once. */
  triggers: number
  /** Of them at random, because the settings ask for it. */
  randomAlarms: number
  /** Commands that took effect on a target that was well all the time since its incident began. */
  wrongActions: number
}

export interface WorldOptions {
  mutant?: Mutant
  without?: Without
  /** 0..1; more than 0: by a policy that looks for some seconds before it decides. */
  randomAlarmRatio?: number
  onEvent?: (line: string) => unknown
}

/** Runs the world of a seed to its end, or to its first violation. */
export async function runWorld(seed: number, options: WorldOptions = {}): Promise<WorldResult> {
  const settings = settingsOf(seed, POLICIES.length, options.without, options.randomAlarmRatio)
  const timeline = new Timeline(START_MS)
  const trace = new Trace(options.onEvent)
  const marks = new Marks()
  const entities = settings.isStaged
    ? Array.from({ length: Math.max(INSTANCES_MIN, settings.targets) }, (_, index) => `${FLEET}@fleet-${index}`)
    : Array.from({ length: settings.targets }, (_, index) => `sim/svc${index}@svc${index}-1`)
  const targets = new Targets(entities, timeline, stream(seed, 'target'), what => trace.add(timeline.nowMs, what))
  const ledgers = new Ledgers(targets, marks)
  const policies = settings.isStaged ? STAGED : settings.randomAlarmRatio > 0 ? CONFIRMING : (settings.isCalling ? CALLING : POLICIES)[settings.policy]!
  const checker = new Checker({
    timeline,
    trace,
    marks,
    ledgers,
    driverClass: settings.driverClass,
    policy: policies[0],
    clearedWithinMs: settings.faults.delay === undefined ? CLEARED_WITHIN_MS : CLEARED_WITHIN_DELAYED_MS,
    clocksAreOff: settings.faults.clock !== undefined,
    calledWithinMs: settings.faults.delay === undefined ? CALLED_WITHIN_MS : CALLED_WITHIN_DELAYED_MS,
    controls: () => nodes.machines.filter(({ role }) => role === 'control').map(({ process }) => process),
    pages: () => nodes.pages
  })
  const log = new SimLog(timeline, checker)
  const weights = weightsOf(settings)
  let version: 0 | 1 = 0
  const mutant = options.mutant ?? NO_MUTANT
  const nodes = new Nodes({ settings, timeline, trace, log, targets, ledgers, checker, marks, weights, mutant, policy: () => policies[version] })
  const random = stream(seed, 'load')
  const detector = new Detector({
    timeline,
    log,
    targets,
    random: stream(seed, 'detector'),
    disturbed: (settings.faults.anomalies ?? 0) / 2,
    randomAlarmRatio: settings.randomAlarmRatio
  })
  const operator = new Operator({
    ...{ timeline, trace, log, checker, marks, targets, settings },
    changePolicy: async () => {
      version = version === 0 ? 1 : 0
      for (const { process, usePolicies } of nodes.machines) if (process?.isAlive) void usePolicies?.(policies[version]).catch(() => {})
    }
  })
  const forger = new Forger({
    timeline,
    log,
    checker,
    random: stream(seed, 'forger'),
    weight: settings.faults.forgery ?? 0,
    isKnownToTheOneLedger: ({ id }) => settings.actuators === 1 && ledgers.hasAccepted(id)
  })
  const isOver = (): boolean => checker.violations.length > 0
  try {
    if (settings.isStaged) void log.append(TOPICS.control.name, [encodeRecord(controlRecord, membersOf(entities))], 'operator')
    for (const machine of nodes.machines) nodes.start(machine)
    lookAtCalls(timeline, checker)
    detector.start()
    operator.start()
    forger.start()
    disturb(settings, timeline, nodes, random)
    load(settings, timeline, targets, random)
    await timeline.run(START_MS + settings.safetyMs, isOver)
    if (!isOver()) {
      trace.add(timeline.nowMs, 'the faults end')
      Object.assign(weights, NO_FAULTS)
      detector.disturbed = 0
      forger.stop()
      operator.heal()
      for (const machine of nodes.machines) {
        if (machine.process) machine.process.crashIn = Number.POSITIVE_INFINITY
      }
      await liveness(timeline, checker, targets, nodes, isOver)
    }
  } finally {
    ledgers.close()
  }
  checker.checkBounds()
  const topic = commandsTopic(ENVIRONMENT)
  const letters = log.memory.records(deadLetterTopic(topic))
  if (letters.length > 0) marks.reach('dead letter')
  checker.atEnd(log.memory.records(topic), letters)
  const { violations, facts } = checker
  return {
    seed,
    settings,
    violations,
    marks,
    traceHash: trace.digest(),
    last: [...trace.last()],
    events: timeline.events,
    commands: facts.commands.size,
    ...{ triggers: facts.anomalies.size, randomAlarms: detector.randomAlarms, wrongActions: checker.wrongActions.size }
  }
}

const membersOf = (members: string[]): Control => ({
  ...{ kind: 'group', environment: ENVIRONMENT, group: FLEET, size: members.length, members, by: 'ada', atMs: START_MS }
})

/** Until nothing is left to do, and everybody is back who may have something to do. */
async function liveness(timeline: Timeline, checker: Checker, targets: Targets, nodes: Nodes, isOver: () => boolean): Promise<void> {
  const untilMs = timeline.nowMs + LIVENESS_MS
  while (timeline.nowMs < untilMs && !isOver()) {
    for (const target of targets.all) if (target.model !== undefined) targets.mend(target)
    await timeline.run(timeline.nowMs + LOOK_MS, isOver)
    if (nodes.machines.every(({ process }) => process?.isAlive) && checker.missing().length === 0) return
  }
  for (const what of isOver() ? [] : checker.missing().slice(0, 3)) checker.fail(what.slice(0, what.indexOf(':')), what)
}

/** Processes are stopped, and clocks are set. Deaths come by themselves (process.ts). */
function disturb({ faults, safetyMs }: Settings, timeline: Timeline, nodes: Nodes, random: Stream): void {
  const untilMs = START_MS + safetyMs
  const again = (weight: number | undefined, everyMs: number, work: () => void): void => {
    if (weight === undefined) return
    timeline.after(random.between(0.2, 1.8) * (everyMs / (0.2 + weight)), () => {
      if (timeline.nowMs >= untilMs) return
      work()
      again(weight, everyMs, work)
    })
  }
  again(faults.pause, 20_000, () => {
    const forMs = random.chance(0.4) ? random.between(100, 9_000) : random.chance(0.5) ? random.between(11_000, 40_000) : random.between(100_000, 240_000)
    nodes.stop(random.pick(nodes.machines), Math.min(forMs, untilMs - timeline.nowMs))
  })
  again(faults.clock, 20_000, () => {
    const { skew } = random.pick(nodes.machines)
    skew.offsetMs = Math.round(random.chance(0.2) ? skew.offsetMs + random.between(0, JUMP_MS_MAX) : skew.offsetMs + random.between(-4_000, 4_000))
  })
}

function lookAtCalls(timeline: Timeline, checker: Checker): void {
  timeline.after(CALLS_LOOK_MS, () => {
    checker.checkCalls()
    lookAtCalls(timeline, checker)
  })
}

/** Targets break. */
function load({ models, breaksEveryMs, safetyMs }: Settings, timeline: Timeline, targets: Targets, random: Stream): void {
  const again = (delayMs: number): void =>
    void timeline.after(delayMs, () => {
      if (timeline.nowMs >= START_MS + safetyMs) return
      targets.break(random.pick(targets.all), random.pick(models))
      again(random.between(0.3, 1.7) * breaksEveryMs)
    })
  again(random.between(500, 8_000))
  if (targets.all.length < STORM_TARGETS) return
  const burst = (): void => {
    for (const target of targets.all) timeline.after(random.between(0, 5_000), () => targets.break(target, random.pick(models)))
  }
  timeline.after(random.between(2_000, safetyMs / 2), burst) // One cause breaks them all.
}

const STORM_TARGETS = 12

const NO_FAULTS: Weights = { crash: 0, pause: 0, append: 0, redeliver: 0, reorder: 0, delay: 0, disk: 0, driver: 0, signals: 0, pages: 0 }

function weightsOf({ faults }: Settings): Weights {
  return {
    crash: faults.crash ?? 0,
    pause: faults.pause ?? 0,
    append: (faults.append ?? 0) / 5,
    redeliver: (faults.redeliver ?? 0) / 3,
    reorder: (faults.reorder ?? 0) / 3,
    delay: (faults.delay ?? 0) / 3,
    disk: (faults.disk ?? 0) / 20,
    driver: (faults.driver ?? 0) / 2,
    signals: (faults.signals ?? 0) / 2,
    pages: faults.pages ?? 0
  }
}
