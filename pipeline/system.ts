// The real clock and the real chance: the only implementations of the Clock and Random ports outside tests.
//
// Every domain folder receives these two from the composition root. Stateless, so each thread has its own copy and
// nothing needs restoring after a crash.

import { randomUUID } from 'node:crypto'
import type { Clock, Random } from '../schemas/ports.ts'

const SLEEP_MS_MAX = 2 ** 31 - 1 // Node turns a longer timeout into 1 ms; such a sleep is cut into pieces instead.

/** Wall time of the machine, its monotonic clock and its timers. A sleep keeps the process alive until it ends or is aborted. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: sleepMs
}

/** Chance of the machine: not seeded, never the same twice. `uuid` is cryptographically random. */
export const systemRandom: Random = {
  next: () => Math.random(),
  uuid: () => randomUUID()
}

async function sleepMs(ms: number, signal?: AbortSignal): Promise<void> {
  const endMs = performance.now() + ms
  for (let restMs = ms; signal?.aborted !== true; restMs = endMs - performance.now()) {
    await timer(Math.min(Math.max(restMs, 0), SLEEP_MS_MAX), signal)
    if (restMs <= SLEEP_MS_MAX) return
  }
}

function timer(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      clearTimeout(handle)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const handle = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
