// Admission: how many bytes may be on their way into the log at once, and how long a sender waits for an append.
//
// Bytes are counted as they arrive (a declared length reserves nothing, so idle sockets cannot shut others out) and given
// back when the append has settled, not when the answer went out: a slow log therefore fills the limit and senders wait.

import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import { bodyPool, type PooledBody } from './body-pool.ts'

/** Bytes that one request holds. */
export interface Lease {
  /** @throws AppError `overloaded` when the limit is reached by others; a request alone is always let through. */
  grow(bytes: number): void
  /** The chunks as one, in memory that is used for another body after `release`. Called once. */
  join(chunks: readonly Uint8Array[], length: number): Uint8Array
  /** Gives everything back, when nobody reads the body any more. Safe to call twice. */
  release(): void
}

export interface Admission {
  lease(): Lease
  readonly inFlightBytes: number
}

/** Admission with room for `inFlightBytesMax` bytes in all. */
export function openAdmission(inFlightBytesMax: number): Admission {
  let inFlightBytes = 0
  const pool = bodyPool()
  return {
    get inFlightBytes() {
      return inFlightBytes
    },
    lease() {
      let held = 0
      let body: PooledBody | undefined
      return {
        grow(bytes) {
          const others = inFlightBytes - held
          if (others > 0 && inFlightBytes + bytes > inFlightBytesMax) {
            throw new AppError('overloaded', `${inFlightBytes} bytes are on their way into the log, the limit is ${inFlightBytesMax}; send again later`)
          }
          held += bytes
          inFlightBytes += bytes
        },
        join(chunks, length) {
          body = pool(chunks, length)
          return body.bytes
        },
        release() {
          body?.release()
          body = undefined
          inFlightBytes -= held
          held = 0
        }
      }
    }
  }
}

/** Kept back from the client's own deadline so that the answer still reaches it. */
const ANSWER_MARGIN_MS = 100
const ANSWER_MARGIN_SHARE = 0.1 // For short deadlines: a tenth, so that 200 ms keep 180.

/** Time that work may take when the client waits `clientTimeoutMs` in all, of which `spentMs` are gone. May be <= 0. */
export function timeLeftMs(timeoutMs: number, clientTimeoutMs: number | undefined, spentMs: number): number {
  if (clientTimeoutMs === undefined) return timeoutMs
  const margin = Math.min(ANSWER_MARGIN_MS, clientTimeoutMs * ANSWER_MARGIN_SHARE)
  return Math.min(timeoutMs, clientTimeoutMs - margin - spentMs)
}

/**
 * The result of `work`, if it comes within `ms`. The work itself goes on.
 * @throws AppError `timeout` (retriable) when it does not
 */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>, what: string): Promise<T> {
  if (ms <= 0) throw tooLate(ms, what, work)
  const done = new AbortController()
  const late = clock.sleep(ms, done.signal).then(() => {
    if (!done.signal.aborted) throw tooLate(ms, what, work)
    return undefined as never // Aborted: `work` has already won the race.
  })
  try {
    return await Promise.race([work, late])
  } finally {
    done.abort()
    late.catch(() => {})
  }
}

function tooLate(ms: number, what: string, work: Promise<unknown>): AppError {
  work.catch(() => {}) // Its failure has nobody left to tell.
  return new AppError('timeout', `${what} took longer than the ${Math.max(0, Math.round(ms))} ms that were left; send again`)
}
