// What a seed's world is like: how many nodes, which policy, which faults and how often.
//
// Swarm testing (Groce et al., ISSTA 2012): each world has a random subset of the fault kinds, with weights that differ by
// orders of magnitude, for faults mask each other when all are always on.

import type { DriverClass } from '../../schemas/ports.ts'
import { type Stream, stream } from './streams.ts'

export const FAULT_KINDS = [
  'crash', // a process dies at some await
  'pause', // a process is stopped, past its session or not, and goes on
  'append', // the log refuses, or takes and does not say so
  'redeliver', // a batch comes again though it was settled
  'reorder', // partitions overtake each other
  'delay', // answers of the log, the store, the target take long
  'disk', // the ledger refuses the n-th transaction, before or within it
  'driver', // an order is refused, lost, or its answer is
  'signals', // the store does not answer, or has nothing
  'clock', // clocks are off, drift and are set
  'forgery', // commands that nobody may obey
  'operator', // kill switch, maintenance, policy change, releases that come early
  'anomalies', // alarms twice, late, out of order and false
  'pages' // nobody can be reached
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

export const HEALTH_MODELS = ['plain', 'slow', 'self', 'worse', 'stubborn', 'flap', 'mute'] as const
export type HealthModel = (typeof HEALTH_MODELS)[number]

const STAGED_CHANCE = 0.12
const CALLING_CHANCE = 0.15

export interface Settings {
  seed: number
  /** Weight 0..1 of the kinds that are on. */
  faults: Partial<Record<FaultKind, number>>
  controls: number
  actuators: number
  targets: number
  driverClass: DriverClass
  policy: number
  /** Of the first phase; then faults end and liveness is demanded. */
  safetyMs: number
  breaksEveryMs: number
  models: readonly HealthModel[]
  /** Processes are stopped between `begun` and the act, for longer than decide waits. */
  isLong: boolean
  /** Targets are the instances of one service, and the policy goes through them in stages. */
  isStaged: boolean
  /** Policies call people soon when nothing is done. */
  isCalling: boolean
  /** Of all alarms, how many are raised at random for targets that are well, 0..1. */
  randomAlarmRatio: number
}

/** What shrinking took away. */
export interface Without {
  faults?: readonly FaultKind[]
  models?: readonly HealthModel[]
}

/** The world of a seed. @param randomAlarmRatio besides the false alarms of the fault `anomalies` */
export function settingsOf(seed: number, policies: number, without: Without = {}, randomAlarmRatio = 0): Settings {
  const random = stream(seed, 'swarm')
  const faults: Partial<Record<FaultKind, number>> = {}
  for (const kind of FAULT_KINDS) {
    const isOn = random.chance(0.5)
    const weight = 10 ** random.between(-1.5, 0)
    if (isOn && !without.faults?.includes(kind)) faults[kind] = weight
  }
  // Long enough for a command to become an orphan while its process is stopped, and for its successor to act.
  const isLong = random.chance(0.05)
  if (isLong && !without.faults?.includes('pause')) faults.pause = 0.5
  const models = subset(random, HEALTH_MODELS).filter(model => !without.models?.includes(model))
  return {
    seed,
    faults,
    controls: random.chance(0.35) ? 2 : 1,
    actuators: random.chance(0.5) || isLong ? 2 : 1,
    targets: random.pick([1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 12]),
    driverClass: random.pick(['detectable', 'convergent', 'opaque']),
    policy: Math.floor(random.next() * policies),
    safetyMs: isLong ? random.between(300_000, 400_000) : random.between(20_000, 60_000),
    breaksEveryMs: random.between(4_000, 20_000),
    isLong,
    // Drawn by itself, so that the worlds of other seeds stay what they were.
    isStaged: randomAlarmRatio === 0 && stream(seed, 'stages').chance(STAGED_CHANCE),
    isCalling: stream(seed, 'calling').chance(CALLING_CHANCE),
    randomAlarmRatio,
    models: models.length > 0 ? models : ['plain']
  }
}

function subset<T>(random: Stream, items: readonly T[]): T[] {
  return items.filter(() => random.chance(0.5))
}
