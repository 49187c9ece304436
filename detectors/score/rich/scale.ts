// Centre and scale of a series from values kept evenly over its whole past.
//
// Flow: rich.ts (after every point) -> kept values -> centre and scale, which profile and shape are measured in.
// Keeping every n-th value and doubling n when full costs one store a point and forgets nothing of a slow cycle, where a
// moving window would take the night for an anomaly of the day. Quantiles are taken every so often, not per point.

import { F32_STRIDE, F64, F64_STRIDE, KEPT_MAX, type RichPage, U32 } from './page.ts'

/** From here on residuals are measured; before it a scale would be mostly chance. */
export const SCALE_FROM = 32
/** Quantiles are taken anew every 32 points while young, every 256 later. */
const YOUNG_EVERY = 32
const YOUNG_UNTIL = 512
const GROWN_EVERY = 256
/** A Gaussian's q90 − q10 in standard deviations, and half a standard deviation by q98 − q02: spikes count, less. */
const INNER_WIDTH = 2.56
const OUTER_WIDTH = 8.2
/**
 * Floors: a share of the range (a series that mostly stands still), the one or two wildest values of either end aside, which
 * would deafen for as long as they are kept; and of the centre (rounding).
 */
const RANGE_SHARE_MIN = 0.02
const CENTRE_SHARE_MIN = 1e-3
const SCALE_MIN = 1e-9

/** A distance beyond so many scales is no stranger: one wild value must not deafen what learns from it. */
const SCALES_MAX = 100

const sorted = new Float64Array(KEPT_MAX)

/** A distance in scales, kept within ±100; what overflowed to no number is no distance. */
export function boundedScales(distance: number): number {
  if (distance > SCALES_MAX) return SCALES_MAX
  if (distance < -SCALES_MAX) return -SCALES_MAX
  return Number.isNaN(distance) ? 0 : distance
}

/** Keeps the value if its turn has come. `point` counts from 0. */
export function keepValue(page: RichPage, slot: number, value: number, point: number): void {
  const { f64, u32 } = page
  const base32 = slot * F32_STRIDE
  const kept = slot * F64_STRIDE + F64.kept
  let stride = Math.max(1, u32[base32 + U32.keptStride]!)
  if (point % stride !== 0) return
  let count = u32[base32 + U32.keptCount]!
  if (count === KEPT_MAX) {
    for (let index = 0; index < KEPT_MAX / 2; index++) f64[kept + index] = f64[kept + 2 * index]!
    count = KEPT_MAX / 2
    stride *= 2
    u32[base32 + U32.keptStride] = stride
    u32[base32 + U32.keptCount] = count
    if (point % stride !== 0) return
  }
  f64[kept + count] = value
  u32[base32 + U32.keptCount] = count + 1
}

/** Takes centre and scale anew when it is time. */
export function measureScale(page: RichPage, slot: number, point: number): void {
  if (point === 0 || point % (point < YOUNG_UNTIL ? YOUNG_EVERY : GROWN_EVERY) !== 0) return
  const { f64 } = page
  const base64 = slot * F64_STRIDE
  const count = page.u32[slot * F32_STRIDE + U32.keptCount]!
  // The scratch is one for all series: nothing is allocated, the tail is kept out of the way by infinities.
  for (let index = 0; index < count; index++) sorted[index] = f64[base64 + F64.kept + index]!
  sorted.fill(Number.POSITIVE_INFINITY, count)
  sorted.sort()
  const last = count - 1
  const centre = sorted[last >> 1]!
  f64[base64 + F64.centre] = centre
  f64[base64 + F64.scale] = Math.max(
    (quantile(0.9, last) - quantile(0.1, last)) / INNER_WIDTH,
    (quantile(0.98, last) - quantile(0.02, last)) / OUTER_WIDTH,
    RANGE_SHARE_MIN * (quantile(0.995, last) - sorted[Math.ceil(0.005 * last)]!),
    CENTRE_SHARE_MIN * Math.abs(centre),
    SCALE_MIN
  )
}

function quantile(share: number, last: number): number {
  return sorted[Math.floor(share * last)]!
}
