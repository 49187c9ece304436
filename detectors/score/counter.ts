// Cumulative monotonic sums become a rate: the difference to the previous point, per second.
//
// Flow: scorer -> counter -> level. A reset (the value fell, or the sender says that it counts anew) gives no rate: nobody
// knows over which time the new value counted.

import { F64, F64_STRIDE, FLAG, type SeriesPage, U8, U8_STRIDE } from './record.ts'
import type { HeldPoint } from './reorder.ts'

/** Differences over less than this are noise of the sender's timer. */
const INTERVAL_MIN_MS = 10

/**
 * Folds a later point of the counter in.
 * @param point a point with a finite value, later than the record's last
 * @returns units per second since the previous point; NaN for the first point and after a reset
 */
export function counterRate({ f64, u8 }: SeriesPage, row: number, point: HeldPoint): number {
  const base = row * F64_STRIDE
  const flagsAt = row * U8_STRIDE + U8.flags
  const { timeMs, startMs, value } = point
  const previous = f64[base + F64.raw]!
  const elapsedMs = timeMs - f64[base + F64.lastTimeMs]!
  const isContinued = (u8[flagsAt]! & FLAG.hasRaw) !== 0 && value >= previous && !(startMs > f64[base + F64.startMs]!)
  f64[base + F64.raw] = value
  f64[base + F64.startMs] = startMs
  u8[flagsAt] = u8[flagsAt]! | FLAG.hasRaw
  return isContinued && elapsedMs >= INTERVAL_MIN_MS ? ((value - previous) * 1_000) / elapsedMs : Number.NaN
}
