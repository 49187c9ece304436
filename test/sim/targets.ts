// Things that break, and the witness of what was done to them: counts effects outside of the code under test.
//
// Each has a health of its own and, when broken, a model of what helps: plain (an act heals), slow (heals late), self
// (heals alone), worse (the act harms, its undo takes that back), stubborn (only the heavy step helps), flap, mute (the act
// silences its telemetry). It refuses orders with an older fence, once each effect is counted by its key.

import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverClass, DriverOrder, Signals } from '../../schemas/ports.ts'
import type { SimProcess } from './process.ts'
import type { Stream } from './streams.ts'
import type { HealthModel } from './swarm.ts'
import type { Timeline } from './timeline.ts'

export const METRIC = 'request.latency'
const HEALTHY_MS = 50
const BROKEN_MS = 900
const WORSE_MS = 2_500
export const HEALTHY_BELOW_MS = 200
const SAMPLE_MS = 1_000

export interface Target {
  entity: string
  /** Latency from a time on; null: its telemetry does not come. */
  history: { atMs: number; latencyMs: number | null; really: number }[]
  model: HealthModel | undefined
  fence: number
  /** Key → how often it took effect. */
  effects: Map<string, number>
  /** Calls off what its model has set going. */
  pending: (() => void)[]
}

/** What a target tells about an order, for the checkers. */
export interface Witness {
  onEffect(target: Target, order: DriverOrder, by: SimProcess): void
  onRefused(target: Target, order: DriverOrder, by: SimProcess): void
}

export interface DriverFaults {
  driver: number
  delay: number
  disturb: Stream
}

export function newTarget(entity: string, nowMs: number): Target {
  return {
    entity,
    history: [{ atMs: nowMs - 3_600_000, latencyMs: HEALTHY_MS, really: HEALTHY_MS }],
    model: undefined,
    fence: 0,
    effects: new Map(),
    pending: []
  }
}

/** Whether it was well at that time, whatever its telemetry said. */
export function wasHealthy(target: Target, atMs: number): boolean {
  return target.history.findLast(change => change.atMs <= atMs)!.really < HEALTHY_BELOW_MS
}

export class Targets {
  readonly all: readonly Target[]
  readonly #timeline: Timeline
  readonly #random: Stream
  readonly #note: (what: string) => void

  constructor(entities: readonly string[], timeline: Timeline, random: Stream, note: (what: string) => void) {
    this.all = entities.map(entity => newTarget(entity, timeline.nowMs))
    this.#timeline = timeline
    this.#random = random
    this.#note = note
  }

  of(entity: string): Target | undefined {
    return this.all.find(target => target.entity === entity)
  }

  /** It breaks, as its model says. */
  break(target: Target, model: HealthModel): void {
    if (target.model !== undefined) return
    target.model = model
    this.#note(`${target.entity} breaks (${model})`)
    this.#set(target, BROKEN_MS)
    if (model === 'self') this.#later(target, this.#random.between(5_000, 40_000), () => this.#heal(target))
    if (model === 'flap') this.#flap(target, 2 + Math.floor(this.#random.next() * 15))
  }

  /** A person mends it. */
  mend(target: Target): void {
    this.#heal(target)
  }

  /** What an act does to it. */
  act(target: Target, verb: string): void {
    const { model } = target
    if (verb === 'revert') {
      if (model === 'worse') this.#set(target, BROKEN_MS)
      return
    }
    if (model === undefined || model === 'flap') return
    if (verb === 'heavy' || model === 'plain') this.#later(target, this.#random.between(200, 2_000), () => this.#heal(target))
    else if (model === 'slow') this.#later(target, this.#random.between(4_000, 9_000), () => this.#heal(target))
    else if (model === 'worse') this.#set(target, WORSE_MS)
    else if (model === 'mute') this.#set(target, BROKEN_MS, null)
  }

  #flap(target: Target, turns: number): void {
    this.#later(target, this.#random.between(3_000, 8_000), () => {
      if (turns === 0) return this.#heal(target)
      this.#set(target, wasHealthy(target, this.#timeline.nowMs) ? BROKEN_MS : HEALTHY_MS)
      this.#flap(target, turns - 1)
    })
  }

  #heal(target: Target): void {
    for (const cancel of target.pending.splice(0)) cancel()
    target.model = undefined
    this.#note(`${target.entity} is well`)
    this.#set(target, HEALTHY_MS)
  }

  #later(target: Target, delayMs: number, work: () => void): void {
    target.pending.push(this.#timeline.after(delayMs, work))
  }

  #set(target: Target, really: number, latencyMs: number | null = really): void {
    target.history.push({ atMs: this.#timeline.nowMs, latencyMs, really })
  }
}

/** The hands of a process. Its target refuses what is fenced; the network loses orders and answers. */
export function simDriver(
  targets: Targets,
  timeline: Timeline,
  process: SimProcess,
  driverClass: DriverClass,
  faults: DriverFaults,
  witness: Witness,
  comparesFence = true
): Driver {
  const { disturb } = faults

  async function send(order: DriverOrder, signal: AbortSignal): Promise<{ detail: string }> {
    const target = targets.of(order.target)
    if (target === undefined) throw new AppError('driver_failed', 'no such target')
    const fails = disturb.chance(faults.driver)
    const fate = fails ? disturb.pick(['refused', 'lost', 'unanswered', 'hangs', 'hangs_after'] as const) : 'ok'
    const arrives = disturb.chance(0.5)
    if (disturb.chance(faults.delay)) {
      // Whoever gives up meanwhile does not know whether it arrived; from then on it never will.
      const ended = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => ended.resolve(), { once: true })
      await Promise.race([timeline.wait(disturb.between(10, 3_000)), ended.promise, process.death.promise])
    }
    process.boundary('during apply')
    if ((!process.isAlive || signal.aborted) && !arrives) throw new AppError('driver_unknown', 'given up')
    if (fate === 'refused') throw new AppError('driver_failed', 'it says no')
    if (fate === 'lost') throw new AppError('driver_unknown', 'the connection broke')
    if (fate === 'hangs') return new Promise(() => {})
    if (comparesFence && order.fence < target.fence) {
      witness.onRefused(target, order, process)
      throw new AppError('driver_failed', `fence ${order.fence} is older than ${target.fence}`)
    }
    target.fence = order.fence
    target.effects.set(order.idempotencyKey, (target.effects.get(order.idempotencyKey) ?? 0) + 1)
    witness.onEffect(target, order, process)
    targets.act(target, order.verb)
    if (fate === 'unanswered') throw new AppError('driver_unknown', 'the answer is lost')
    if (fate === 'hangs_after') return new Promise(() => {})
    return { detail: `${order.verb} done` }
  }

  return {
    name: 'sim',
    verbs: { restart: driverClass, heavy: driverClass, revert: driverClass },
    check({ target }) {
      if (target === 'forbidden') throw new AppError('step_refused', 'target forbidden is not on the list')
    },
    observe: entity =>
      process.call('observe', async () => {
        if (disturb.chance(faults.driver)) throw new AppError('driver_unknown', 'it does not answer')
        const target = targets.of(entity)
        return { state: target === undefined ? 'unknown' : 'running', facts: { effects: target?.effects.size ?? 0 } }
      }),
    apply: (order, signal) => process.call('apply', () => send(order, signal)),
    wasApplied: order =>
      process.call('wasApplied', async () => {
        if (disturb.chance(faults.driver / 2)) return 'unknown'
        return targets.of(order.target)?.effects.has(order.idempotencyKey) ? 'yes' : 'no'
      })
  }
}

export interface SignalFaults {
  signals: number
  disturb: Stream
}

/** The store as a process reads it: a sample a second, what really was. */
export function simSignals(targets: Targets, timeline: Timeline, process: SimProcess, environment: string, faults: SignalFaults): Signals {
  const { disturb } = faults
  return {
    series: query =>
      process.call('series', async () => {
        if (disturb.chance(faults.signals)) {
          if (disturb.chance(0.4)) return []
          if (disturb.chance(0.5)) throw new AppError('store_unavailable', 'the store does not answer')
          await timeline.wait(disturb.between(100, 7_000))
        }
        const target = targets.of(query.entity)
        if (target === undefined || query.environment !== environment || query.metric !== METRIC) return []
        return samples(target, query.fromMs, Math.min(query.toMs, timeline.nowMs))
      }),
    logs: async () => [],
    spans: async () => []
  }
}

const SAMPLES_MAX = 120

/** Samples of a target, the newest where there are too many. */
export function samples(target: Target, fromMs: number, toMs: number): { atMs: number; value: number }[] {
  const points: { atMs: number; value: number }[] = []
  const firstMs = Math.max(Math.ceil(fromMs / SAMPLE_MS) * SAMPLE_MS, Math.floor(toMs / SAMPLE_MS) * SAMPLE_MS - SAMPLES_MAX * SAMPLE_MS)
  let index = target.history.findLastIndex(change => change.atMs <= firstMs)
  for (let atMs = firstMs; atMs <= toMs; atMs += SAMPLE_MS) {
    while (index + 1 < target.history.length && target.history[index + 1]!.atMs <= atMs) index++
    const value = target.history[Math.max(0, index)]!.latencyMs
    if (value !== null) points.push({ atMs, value })
  }
  return points
}
