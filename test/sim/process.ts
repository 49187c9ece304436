// One simulated process on its machine: everything that its code can wait for goes through here, so it can die or be
// stopped at any await.
//
// Dead: no promise of it is ever answered again, and a synchronous call throws; its objects are garbage. What it sent is
// out, what it did not write is lost; the next process of the machine has the ledger's rows and the log.
// Stopped (SIGSTOP): answers and timers wait; the world goes on, and gives its partitions to others after the session.

import type { Clock } from '../../schemas/ports.ts'
import type { Timeline } from './timeline.ts'

/** Thrown by synchronous calls of a process that is dead. */
export class Crash extends Error {}

/** A machine's clock: how far it is off the world's, and how fast it goes. */
export interface Skew {
  offsetMs: number
  rate: number
}

/** A promise of its own each time: what waits for a shared one would never be garbage. */
const never = (): Promise<never> => new Promise(() => {})

export class SimProcess {
  readonly name: string
  readonly clock: Clock
  isAlive = true
  /** Counts down at each boundary; at zero the process dies. */
  crashIn = Number.POSITIVE_INFINITY
  /** Called once at its death. */
  onDeath: (where: string) => void = () => {}
  readonly death = Promise.withResolvers<void>()
  /** World time that it spent stopped: [from, to). */
  readonly stops: { fromMs: number; toMs: number }[] = []
  readonly timeline: Timeline
  readonly startedAtMs: number
  #resumed: PromiseWithResolvers<void> | undefined
  readonly #sleepers = new WeakMap<AbortSignal, Set<() => void>>()

  constructor(name: string, timeline: Timeline, skew: Skew) {
    this.name = name
    this.timeline = timeline
    const startMs = timeline.nowMs
    this.startedAtMs = startMs
    this.clock = {
      nowMs: () => Math.round(timeline.nowMs + (timeline.nowMs - startMs) * (skew.rate - 1) + skew.offsetMs),
      monotonicMs: () => (timeline.nowMs - startMs) * skew.rate,
      sleep: (ms, signal) => this.#sleep(ms / skew.rate, signal)
    }
  }

  get isStopped(): boolean {
    return this.#resumed !== undefined
  }

  kill(where: string): void {
    if (!this.isAlive) return
    this.isAlive = false
    this.#resumed = undefined
    this.onDeath(where)
    this.death.resolve()
  }

  stop(): void {
    if (!this.isAlive || this.#resumed !== undefined) return
    this.#resumed = Promise.withResolvers()
    this.stops.push({ fromMs: this.timeline.nowMs, toMs: Number.POSITIVE_INFINITY })
  }

  resume(): void {
    if (!this.isAlive || this.#resumed === undefined) return
    this.stops.at(-1)!.toMs = this.timeline.nowMs
    this.#resumed.resolve()
    this.#resumed = undefined
  }

  /** World time since `sinceMs` that it was running. */
  runningSinceMs(sinceMs: number): number {
    const { nowMs } = this.timeline
    const stopped = this.stops.reduce((sum, { fromMs, toMs }) => sum + Math.max(0, Math.min(nowMs, toMs) - Math.max(sinceMs, fromMs)), 0)
    return nowMs - sinceMs - stopped
  }

  /** A place where it may die. @returns whether it lives */
  boundary(where: string): boolean {
    if (this.isAlive && --this.crashIn <= 0) this.kill(where)
    return this.isAlive
  }

  /** As `boundary`, for code that does not wait. @throws Crash */
  mustLive(where: string): void {
    if (!this.boundary(where)) throw new Crash(where)
  }

  /** Something outside that the process waits for. */
  async call<T>(what: string, work: () => Promise<T>): Promise<T> {
    await this.#whenAwake()
    if (!this.boundary(`before ${what}`)) return never()
    let answer: T
    try {
      answer = await work()
    } catch (error) {
      await this.#whenAwake()
      throw error
    }
    await this.#whenAwake()
    if (!this.boundary(`after ${what}`)) return never()
    return answer
  }

  /** As `awake`, without a promise where nothing is in the way: it is asked at every call. */
  #whenAwake(): Promise<void> | undefined {
    return this.isAlive && this.#resumed === undefined ? undefined : this.awake()
  }

  /** Resolves when it runs; never when it is dead. */
  async awake(): Promise<void> {
    while (this.#resumed !== undefined) await this.#resumed.promise
    if (!this.isAlive) return never()
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const sleepers = signal && this.#sleepersOf(signal)
      const wake = (): void => {
        cancel()
        sleepers?.delete(wake)
        if (this.#resumed !== undefined) void this.awake().then(resolve)
        else if (this.boundary('sleep')) resolve()
      }
      const cancel = this.timeline.after(ms, wake)
      sleepers?.add(wake)
    })
  }

  /** Who sleeps until the signal aborts at the latest: one listener for all, since a loop sleeps on the same signal for as long as it runs. */
  #sleepersOf(signal: AbortSignal): Set<() => void> {
    const known = this.#sleepers.get(signal)
    if (known !== undefined) return known
    const made = new Set<() => void>()
    this.#sleepers.set(signal, made)
    const wakeAll = (): void => {
      for (const wake of made) wake()
    }
    signal.addEventListener('abort', wakeAll, { once: true })
    return made
  }
}
