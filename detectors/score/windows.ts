// Delta sums: points of one window are added up in the series' record, and become one value when the window closes.
//
// Flow: scorer -> windows -> scorer (judges the rate). A record holds two windows, the open and the next one, so that a
// shard of derive/ may be one window ahead of another. Windows are [start, start + windowMs), a point belongs to the one
// that contains the end of its interval.
//
// Redelivery must not change the sum. Points of a sender come in order: one that is not later than the last is dropped. Derived
// points of one window come from several shards (partitions of the spans or logs topic) with the same time; the
// number of the shard is in the microseconds of their start (derive/window.ts), one bit a shard remembers who was added.

import type { PointView } from '../../schemas/otlp.ts'
import { F64, F64_STRIDE, F32_STRIDE, FLAG, type SeriesPage, U32, U8, U8_STRIDE } from './record.ts'

export const TAKEN = { added: 0, late: 1, duplicate: 2, beyond: 3 } as const
export type Taken = (typeof TAKEN)[keyof typeof TAKEN]

/** Bits of the shard mask. Shards of a larger number share the last bit and are then added without the duplicate check. */
const SHARD_BITS = 32
const MICROSECONDS_PER_MS = 1_000

/** Start of the window that holds a point whose interval ends at `timeMs`. */
export function windowStart(timeMs: number, windowMs: number): number {
  return (Math.ceil(timeMs / windowMs) - 1) * windowMs
}

/** Number of the shard that a derived point carries in its start. */
export function shardOf(startMs: number): number {
  return Math.round((startMs - Math.floor(startMs)) * MICROSECONDS_PER_MS)
}

/**
 * Remembers a point in `seen` of its window.
 * @param seen what the window has seen: bits of shards (derived) or offset of the last point, ms
 * @returns the new `seen`, or −1 when the point was there before
 */
export function remember(seen: number, isDerived: boolean, timeMs: number, startMs: number, start: number): number {
  if (isDerived) {
    const shard = Math.min(shardOf(startMs), SHARD_BITS - 1)
    const bit = 2 ** shard
    const isSeen = Math.floor(seen / bit) % 2 === 1
    if (!isSeen) return seen + bit
    return shard === SHARD_BITS - 1 ? seen : -1
  }
  // Rounded up: an offset of zero means an empty window.
  const offsetMs = Math.ceil(timeMs - start)
  return offsetMs > seen ? offsetMs : -1
}

/** Takes a window's sum to be judged. */
export type CloseSum = (series: number, page: SeriesPage, row: number, startMs: number, sum: number) => void

/** After a longer silence empty windows are unknown, not zero. */
const ZERO_WINDOWS_MAX = 6

/** Adds a delta point to its window; windows that it leaves behind are closed first. */
export function takeSum(page: SeriesPage, row: number, series: number, view: PointView, isDerived: boolean, windowMs: number, close: CloseSum): Taken {
  const { value, timeMs, startMs } = view
  let taken = takeDelta(page, row, value, timeMs, startMs, isDerived, windowMs)
  // At most the open and the next window have data; what lies between them and the point was silence.
  for (let windows = 0; taken === TAKEN.beyond && windows < 2; windows++) {
    closeOpen(page, row, series, windowMs, hasData(page, row) ? close : undefined)
    taken = takeDelta(page, row, value, timeMs, startMs, isDerived, windowMs)
  }
  if (taken !== TAKEN.beyond) return taken
  dropWindows(page, row)
  return takeDelta(page, row, value, timeMs, startMs, isDerived, windowMs)
}

/**
 * Closes every window that is complete.
 * @param throughMs      windows with data that end at or before this are complete
 * @param heardThroughMs empty windows that end at or before this are zeros: the entity was heard after them
 */
export function closeDueSums(
  page: SeriesPage,
  row: number,
  series: number,
  windowMs: number,
  throughMs: number,
  heardThroughMs: number,
  close: CloseSum
): void {
  const at = row * F64_STRIDE + F64.startMs
  for (let windows = 0; ; windows++) {
    const isEmpty = !hasData(page, row)
    if (page.f64[at]! + windowMs > (isEmpty ? heardThroughMs : throughMs)) return
    if (isEmpty && windows === ZERO_WINDOWS_MAX) {
      dropWindows(page, row)
      return
    }
    closeOpen(page, row, series, windowMs, close)
  }
}

function closeOpen(page: SeriesPage, row: number, series: number, windowMs: number, close: CloseSum | undefined): void {
  const startMs = page.f64[row * F64_STRIDE + F64.startMs]!
  const sum = page.f64[row * F64_STRIDE + F64.raw]!
  shiftWindow(page, row, windowMs)
  close?.(series, page, row, startMs, sum)
}

/** Adds a delta point to the record's open or next window, if it is one of them. */
function takeDelta(page: SeriesPage, row: number, value: number, timeMs: number, startMs: number, isDerived: boolean, windowMs: number): Taken {
  const { f64, u32, u8 } = page
  const base64 = row * F64_STRIDE
  const base32 = row * F32_STRIDE
  const flagsAt = row * U8_STRIDE + U8.flags
  const start = windowStart(timeMs, windowMs)
  if ((u8[flagsAt]! & FLAG.window) === 0) {
    if (start + windowMs <= f64[base64 + F64.lastTimeMs]!) return TAKEN.late
    f64[base64 + F64.startMs] = start
    f64[base64 + F64.raw] = 0
    f64[base64 + F64.nextSum] = 0
    u32[base32 + U32.shards] = 0
    u32[base32 + U32.nextShards] = 0
    u8[flagsAt] = u8[flagsAt]! | FLAG.window
  }
  let ahead = (start - f64[base64 + F64.startMs]!) / windowMs
  if (ahead === -1 && u32[base32 + U32.nextShards] === 0 && start + windowMs > f64[base64 + F64.lastTimeMs]!) {
    // The later window was seen first: it becomes the next one.
    f64[base64 + F64.startMs] = start
    f64[base64 + F64.nextSum] = f64[base64 + F64.raw]!
    u32[base32 + U32.nextShards] = u32[base32 + U32.shards]!
    f64[base64 + F64.raw] = 0
    u32[base32 + U32.shards] = 0
    ahead = 0
  }
  if (ahead < 0) return TAKEN.late
  if (ahead > 1) return TAKEN.beyond
  const seenAt = base32 + (ahead === 0 ? U32.shards : U32.nextShards)
  const sumAt = base64 + (ahead === 0 ? F64.raw : F64.nextSum)
  const seen = remember(u32[seenAt]!, isDerived, timeMs, startMs, start)
  if (seen < 0) return TAKEN.duplicate
  u32[seenAt] = seen
  f64[sumAt] = f64[sumAt]! + value
  page.dirty = true
  return TAKEN.added
}

/** Has the open window a point? An empty one is a zero while the entity is heard, and unknown else. */
function hasData(page: SeriesPage, row: number): boolean {
  return page.u32[row * F32_STRIDE + U32.shards] !== 0
}

/** The next window becomes the open one. */
function shiftWindow(page: SeriesPage, row: number, windowMs: number): void {
  const { f64, u32 } = page
  const base64 = row * F64_STRIDE
  const base32 = row * F32_STRIDE
  f64[base64 + F64.startMs] = f64[base64 + F64.startMs]! + windowMs
  f64[base64 + F64.raw] = f64[base64 + F64.nextSum]!
  f64[base64 + F64.nextSum] = 0
  u32[base32 + U32.shards] = u32[base32 + U32.nextShards]!
  u32[base32 + U32.nextShards] = 0
  page.dirty = true
}

/** No window is open any more: what follows a silence starts anew. */
function dropWindows(page: SeriesPage, row: number): void {
  const at = row * U8_STRIDE + U8.flags
  page.u8[at] = page.u8[at]! & ~FLAG.window
  page.dirty = true
}
