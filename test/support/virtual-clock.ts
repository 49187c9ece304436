// A clock that moves only when a test says so, and chance that repeats with its seed.
//
// `advance` wakes the sleepers that fall due one by one, in order of time and then of registration, and lets everything
// that a sleeper set going settle before the next one wakes: the same test gives the same order of events each time.

import type { Clock, Random } from '../../schemas/ports.ts'

export type VirtualClock = Clock & {
  /** Moves time forward by `ms`, waking due sleepers in order. Resolves when what they started has settled. */
  advance(ms: number): Promise<void>
  /** Sets the wall clock without touching the monotonic one, as an operator or NTP does. */
  setWallMs(nowMs: number): void
  /** Sleepers that wait now. */
  readonly sleeping: number
}

interface Sleeper {
  atMs: number
  sequence: number
  wake(): void
}

/** A clock at `startMs` (epoch ms); monotonic time starts at 0. */
export function virtualClock(startMs: number): VirtualClock {
  let monotonicMs = 0
  let wallOffsetMs = startMs
  let sequence = 0
  const sleepers = new Set<Sleeper>()

  function sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const sleeper: Sleeper = {
        atMs: monotonicMs + Math.max(0, ms),
        sequence: sequence++,
        wake: () => {
          sleepers.delete(sleeper)
          signal?.removeEventListener('abort', sleeper.wake)
          resolve()
        }
      }
      sleepers.add(sleeper)
      signal?.addEventListener('abort', sleeper.wake, { once: true })
    })
  }

  async function advance(ms: number): Promise<void> {
    const endMs = monotonicMs + ms
    await settle()
    for (let next = nextDue(sleepers, endMs); next !== undefined; next = nextDue(sleepers, endMs)) {
      monotonicMs = Math.max(monotonicMs, next.atMs)
      next.wake()
      await settle()
    }
    monotonicMs = endMs
  }

  return {
    nowMs: () => wallOffsetMs + monotonicMs,
    monotonicMs: () => monotonicMs,
    sleep,
    advance,
    setWallMs: nowMs => {
      wallOffsetMs = nowMs - monotonicMs
    },
    get sleeping() {
      return sleepers.size
    }
  }
}

/** Chance that repeats: the same seed gives the same numbers and ids. Source: mulberry32 (T. Ettinger, 2017, public domain). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const hex = (digits: number): string => Array.from({ length: digits }, () => Math.floor(next() * 16).toString(16)).join('')
  return { next, uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-${'89ab'[Math.floor(next() * 4)]}${hex(3)}-${hex(12)}` }
}

function nextDue(sleepers: ReadonlySet<Sleeper>, endMs: number): Sleeper | undefined {
  let first: Sleeper | undefined
  for (const sleeper of sleepers) {
    if (sleeper.atMs > endMs) continue
    if (first === undefined || sleeper.atMs < first.atMs || (sleeper.atMs === first.atMs && sleeper.sequence < first.sequence)) first = sleeper
  }
  return first
}

/** A turn of the event loop: runs microtasks to any depth. */
function settle(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
