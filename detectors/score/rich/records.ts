// Values outside everything seen so far: the value itself, its contrast with the half hour before, and repeated excursions.
//
// Flow: rich.ts -> recordOf / contrastOf / excursionOf, each how far outside, as a share of the range known before; then learned.
// A new extreme of n exchangeable points has probability 2/n whatever their law (Rényi, "Théorie des éléments saillants d'une
// suite d'observations", 1962): records need no distribution, only a margin against the smallest steps of a noisy edge.

import { EXCURSIONS, F32_STRIDE, F64, F64_STRIDE, RECENT_ROWS, type RichPage, U32 } from './page.ts'

/** Before this a record is no news. */
const RECORDS_FROM = 150
/** Contrast: the mean of the newest rows against the mean of those before. */
const CONTRAST_NEW_ROWS = 4
const CONTRAST_OLD_ROWS = 32
/** Points within so many rows of its first one belong to the same excursion. */
const EXCURSION_ROWS = 50
const RANGE_MIN = 1e-12

/** How far `value` is outside all values before, in ranges of them; then it is one of them. */
export function recordOf({ f64 }: RichPage, slot: number, value: number, point: number): number {
  return outside(f64, slot * F64_STRIDE + F64.highest, value, point, point === 0)
}

/** The same of the step between the newest rows and those before: reads the ring of recent values, `value` included. */
export function contrastOf({ f64 }: RichPage, slot: number, point: number): number {
  if (point < CONTRAST_NEW_ROWS) return 0
  const base64 = slot * F64_STRIDE
  const recent = base64 + F64.recent
  const oldRows = Math.min(CONTRAST_OLD_ROWS, point + 1 - CONTRAST_NEW_ROWS)
  let sum = 0
  for (let back = 0; back < CONTRAST_NEW_ROWS; back++) sum += f64[recent + ((point - back) & (RECENT_ROWS - 1))]!
  let oldSum = 0
  for (let back = 0; back < oldRows; back++) oldSum += f64[recent + ((point - CONTRAST_NEW_ROWS - back) & (RECENT_ROWS - 1))]!
  const contrast = sum / CONTRAST_NEW_ROWS - oldSum / oldRows
  return outside(f64, base64 + F64.contrastHighest, contrast, point, point === CONTRAST_NEW_ROWS)
}

/** Highest at `at`, lowest after it. */
function outside(f64: Float64Array, at: number, value: number, point: number, first: boolean): number {
  if (first) {
    f64[at] = value
    f64[at + 1] = value
    return 0
  }
  const highest = f64[at]!
  const lowest = f64[at + 1]!
  if (value > highest) f64[at] = value
  else if (value < lowest) f64[at + 1] = value
  else return 0
  if (point <= RECORDS_FROM) return 0
  return Math.max(value - highest, lowest - value) / Math.max(highest - lowest, RANGE_MIN)
}

/**
 * How far `value` is outside the sixth-highest and sixth-lowest excursion so far, in ranges between those two: a spike that
 * is rare though one larger was seen before, to which `recordOf` is blind from then on.
 */
export function excursionOf(page: RichPage, slot: number, value: number, point: number): number {
  const { f64, u32 } = page
  const upper = slot * F64_STRIDE + F64.peaks
  const lower = upper + EXCURSIONS
  const counts = slot * F32_STRIDE + U32.excursionCount
  let far = 0
  if (point > RECORDS_FROM && u32[counts] === EXCURSIONS && u32[counts + 1] === EXCURSIONS) {
    const highest = f64[upper + EXCURSIONS - 1]!
    const lowest = -f64[lower + EXCURSIONS - 1]!
    far = Math.max(value - highest, lowest - value, 0) / Math.max(highest - lowest, RANGE_MIN)
  }
  learnExcursion(page, slot, 0, value, point)
  learnExcursion(page, slot, 1, -value, point)
  return far
}

/** Keeps the highest peaks of a side in descending order; the running excursion has one of them at most. */
function learnExcursion({ f64, u32 }: RichPage, slot: number, side: 0 | 1, height: number, point: number): void {
  const base32 = slot * F32_STRIDE + side
  const peaks = slot * F64_STRIDE + F64.peaks + side * EXCURSIONS
  if (point + 1 - u32[base32 + U32.excursionBegan]! > EXCURSION_ROWS) u32[base32 + U32.excursionRank] = 0
  const count = u32[base32 + U32.excursionCount]!
  let rank = u32[base32 + U32.excursionRank]! - 1
  if (rank >= 0) {
    if (height <= f64[peaks + rank]!) return
  } else {
    if (count < EXCURSIONS) {
      rank = count
      u32[base32 + U32.excursionCount] = count + 1
    } else {
      if (height <= f64[peaks + EXCURSIONS - 1]!) return
      rank = EXCURSIONS - 1
    }
    u32[base32 + U32.excursionBegan] = point + 1
  }
  while (rank > 0 && height > f64[peaks + rank - 1]!) {
    f64[peaks + rank] = f64[peaks + rank - 1]!
    rank--
  }
  f64[peaks + rank] = height
  u32[base32 + U32.excursionRank] = rank + 1
}
