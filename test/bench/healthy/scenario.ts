// The healthy fleets: a day of constant load, a week with seasons, a release and hours without telemetry, and six hours of which the
// telemetry of everything is away for two.
//
// Which is in what a healthy fleet does: nothing here is an anomaly but silences, which are what they are said to be, and a fault
// where one is asked for.

import { type Chance, chanceOf, wandering } from './chance.ts'
import { host, type Host } from './host.ts'
import { type Fault, FIRST_RELEASE, type Release, type ServiceKind, STEP_MS } from './kinds.ts'
import { type ServiceInstance, serviceInstance } from './service.ts'
import type { PointView } from '../../../schemas/otlp.ts'

export const SCENARIOS = ['day', 'week', 'blackout'] as const
export type ScenarioName = (typeof SCENARIOS)[number]

const MIB = 2 ** 20
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
/** A Monday. */
export const START_MS = Date.UTC(2027, 0, 4)

/** The lab's services, and one that reports once a minute, as a Java agent does. */
const KINDS: readonly ServiceKind[] = [
  {
    ...{ name: 'gateway', rate: 25, routes: { '/checkout': 0.6, '/cart': 0.35, '/account': 0.05 }, median: 0.03, sigma: 0.5, cost: 0.002 },
    ...{ memory: 70 * MIB, peers: ['orders'], intervalMs: 10_000, hasQueue: false }
  },
  {
    ...{ name: 'orders', rate: 15, routes: { '/orders': 0.9, '/orders/{id}': 0.1 }, median: 0.02, sigma: 0.55, cost: 0.003 },
    ...{ memory: 90 * MIB, peers: ['payments', 'worker'], intervalMs: 10_000, hasQueue: false }
  },
  {
    ...{ name: 'payments', rate: 15, routes: { '/payments': 1 }, median: 0.012, sigma: 0.7, cost: 0.002 },
    ...{ memory: 60 * MIB, peers: ['store'], intervalMs: 10_000, hasQueue: false }
  },
  {
    ...{ name: 'worker', rate: 12, routes: { '/jobs': 1 }, median: 0.008, sigma: 0.4, cost: 0.004 },
    ...{ memory: 50 * MIB, peers: [], intervalMs: 10_000, hasQueue: true }
  },
  {
    ...{ name: 'search', rate: 4, routes: { '/search': 0.8, '/suggest': 0.2 }, median: 0.09, sigma: 0.8, cost: 0.02 },
    ...{ memory: 220 * MIB, peers: ['store'], intervalMs: 60_000, hasQueue: false }
  },
  {
    ...{ name: 'reports', rate: 0.05, routes: { '/report': 1 }, median: 0.6, sigma: 0.9, cost: 0.2 },
    ...{ memory: 120 * MIB, peers: ['store'], intervalMs: 60_000, hasQueue: false }
  }
]
export const SERVICE_NAMES: readonly string[] = KINDS.map(({ name }) => name)
export const EDGES: readonly [source: string, target: string][] = KINDS.flatMap(({ name, peers }) =>
  peers.map((peer): [string, string] => [`shop/${name}`, peer === 'store' ? 'store' : `shop/${peer}`])
)

/** The release of the week: Wednesday afternoon, one instance after the other, each replaced before it ends. */
const RELEASE_BEGINS_MS = 2 * DAY_MS + 14 * HOUR_MS
const RELEASE_EVERY_MS = 2 * MINUTE_MS
const RELEASE_OVERLAP_MS = 40_000
const RELEASE: Release = { memory: 1.06, duration: 1.04, cost: 0.95 }
/** Nobody hears of one service for two hours on Friday, and of nobody for three on Saturday (Homeostat itself was down). */
export const UNHEARD: Unheard = { service: 'payments', fromMs: 4 * DAY_MS + 10 * HOUR_MS, toMs: 4 * DAY_MS + 12 * HOUR_MS }
export const OUTAGE = { fromMs: 5 * DAY_MS + 2 * HOUR_MS, toMs: 5 * DAY_MS + 5 * HOUR_MS } as const

/** The way of all telemetry is broken for two hours, while Homeostat runs. */
const BLACKOUT: Unheard = { fromMs: 3 * HOUR_MS, toMs: 5 * HOUR_MS }
const LENGTHS_MS: Readonly<Record<ScenarioName, number>> = { day: DAY_MS, week: 7 * DAY_MS, blackout: 6 * HOUR_MS }

/** Whose telemetry does not arrive, though they are well; times are since the start. */
export interface Unheard {
  /** Absent: services and hosts, all of them. */
  service?: string
  fromMs: number
  toMs: number
}

export interface Scenario {
  readonly name: ScenarioName
  readonly fromMs: number
  readonly toMs: number
  /** Homeostat itself is down: what is sent is lost. */
  isOut(endMs: number): boolean
  /** Shows the step that ends at `endMs`. */
  step(endMs: number, emit: (view: PointView) => void): void
  /** Instances of services, and from when to when they are there. */
  readonly instances: readonly Instance[]
  /** Whether an entity has really not been heard for a minute, or longer. */
  isSilent(entity: string, atMs: number): boolean
}

export interface Instance {
  entity: string
  fromMs: number
  toMs: number
}

export interface ScenarioSize {
  instances: number
  hosts: number
  /** Hosts have a heavy job each hour and a backup each night. */
  hasHeavyJobs?: boolean
  /** Shortened, for tests. */
  lengthMs?: number
  /** A service that does not stay healthy; times are since the start. */
  fault?: Fault & { service: string }
  /** Instead of what the scenario itself does not hear. */
  unheard?: Unheard
}

interface Placed {
  one: ServiceInstance | Host
  service: string
  fromMs: number
  toMs: number
}

/** @param seed the same fleet and the same chance for the same seed */
export function scenario(name: ScenarioName, seed: number, size: ScenarioSize): Scenario {
  const chance = chanceOf(seed)
  const toMs = START_MS + (size.lengthMs ?? LENGTHS_MS[name])
  const placed = name === 'week' ? releasedFleet(chance, size, toMs) : constantFleet(chance, size, toMs)
  const demand = wandering(chance.fork('demand'), name === 'week' ? 0.05 : 0.02, (20 * MINUTE_MS) / STEP_MS)
  const unheard = size.unheard ?? { day: undefined, week: UNHEARD, blackout: BLACKOUT }[name]
  const isUnheard = (service: string, endMs: number): boolean =>
    unheard !== undefined && within(endMs, unheard) && (unheard.service === undefined || unheard.service === service)
  const heardMs = new Map<string, number>()
  const isOut = (endMs: number): boolean => name === 'week' && within(endMs, OUTAGE)
  return {
    ...{ name, fromMs: START_MS, toMs },
    instances: placed.filter(({ service }) => service !== '').map(({ one: { entity }, fromMs, toMs }) => ({ entity, fromMs, toMs })),
    isOut,
    step(endMs, emit) {
      const load = (name === 'week' ? season(endMs) : 1) * Math.exp(demand())
      for (const { one, service, fromMs, toMs: untilMs } of placed) {
        if (endMs <= fromMs || endMs > untilMs) continue
        const isHeard = !isOut(endMs) && !isUnheard(service, endMs)
        if (isHeard) heardMs.set(one.entity, endMs)
        one.step(endMs, load, isHeard ? emit : ignore)
      }
    },
    isSilent: (entity, atMs) => atMs - (heardMs.get(entity) ?? 0) >= 3 * STEP_MS
  }
}

function constantFleet(chance: Chance, size: ScenarioSize, toMs: number): Placed[] {
  const placed: Placed[] = []
  for (const kind of kindsOf(size)) {
    for (let number = 1; number <= size.instances; number++) {
      const instance = `${kind.name}-${number}`
      placed.push({ one: serviceInstance(kind, instance, START_MS, chance.fork(instance)), service: kind.name, fromMs: START_MS, toMs })
    }
  }
  return [...placed, ...hostsOf(chance, size, toMs)]
}

function releasedFleet(chance: Chance, size: ScenarioSize, toMs: number): Placed[] {
  const placed: Placed[] = []
  let beginsMs = START_MS + RELEASE_BEGINS_MS
  for (const kind of kindsOf(size)) {
    for (let number = 1; number <= size.instances; number++) {
      const [before, after] = [`${kind.name}-6f7c-${number}`, `${kind.name}-9b2d-${number}`]
      const service = kind.name
      const place = (instance: string, fromMs: number, untilMs: number, release: Release): void => {
        if (untilMs > fromMs) placed.push({ one: serviceInstance(kind, instance, fromMs, chance.fork(instance), release), service, fromMs, toMs: untilMs })
      }
      place(before, START_MS, Math.min(toMs, beginsMs + RELEASE_OVERLAP_MS), FIRST_RELEASE)
      place(after, beginsMs, toMs, RELEASE)
      beginsMs += RELEASE_EVERY_MS
    }
  }
  return [...placed, ...hostsOf(chance, size, toMs)]
}

function kindsOf({ fault }: ScenarioSize): readonly ServiceKind[] {
  if (fault === undefined) return KINDS
  const { service, errorShare, fromMs, toMs } = fault
  return KINDS.map(kind => (kind.name === service ? { ...kind, fault: { errorShare, fromMs: START_MS + fromMs, toMs: START_MS + toMs } } : kind))
}

function hostsOf(chance: Chance, { hosts, hasHeavyJobs = false }: ScenarioSize, toMs: number): Placed[] {
  return Array.from({ length: hosts }, (_, index) => {
    const name = `node-${index + 1}`
    return { one: host(name, START_MS, index % 2 === 0 ? MINUTE_MS : STEP_MS, hasHeavyJobs, chance.fork(name)), service: '', fromMs: START_MS, toMs }
  })
}

/** Load by the time of day and week: two humps on working days, a third of it by night, less at the weekend. */
function season(timeMs: number): number {
  const day = Math.floor((timeMs - START_MS) / DAY_MS) % 7
  const hour = (timeMs % DAY_MS) / HOUR_MS
  const hump = (at: number, width: number): number => Math.exp(-(((hour - at) / width) ** 2) / 2)
  const busy = 0.35 + 0.75 * hump(11, 2.5) + 0.65 * hump(16, 3) + 0.3 * hump(21, 1.5)
  return busy * (day >= 5 ? 0.6 : 1)
}

function within(timeMs: number, { fromMs, toMs }: { fromMs: number; toMs: number }): boolean {
  return timeMs > START_MS + fromMs && timeMs <= START_MS + toMs
}

function ignore(): void {}
