// How rare a value is by the series' own excursions: what the common scale cannot know of a series with a wild tail.
//
// Flow: telling-novelty (a value outside what was seen) -> ownTailScore -> the rarity that is told. The scale of calibration.ts holds for
// healthy series of many laws at once; the mean of two durations a minute has a far heavier tail than most of them, and is outside
// all that was seen again and again. The highest excursions to its side, which the slot remembers, tell such a series from others.

import { EXCURSIONS, F32, F32_STRIDE, F64, F64_STRIDE, type RichPage, U32 } from './page.ts'
import { EXCURSION_ROWS } from './records.ts'

/** With fewer excursions besides the running one nothing is said. */
const OTHERS_MIN = 3
/** The tail index of a series of which nothing is known (that of the base tier's tail), and how many excursions that knowledge is worth. */
const INDEX_USUAL = 0.2
const INDEX_WEIGHT = 2
const DAY_MS = 86_400_000

const heights = new Float64Array(EXCURSIONS)

/**
 * −log10 of the excursions a day that reach as far out as the last row, by the excursions before it.
 * Source: Hill, "A simple general approach to inference about the tail of a distribution" (Ann. Statist. 1975): the tail index is the mean log
 * excess of the highest over the lowest of them, here drawn towards a usual one, since five make a poor estimate.
 * @param value   of the last row, which was learned
 * @param isBelow to which side
 * @returns Infinity where too little is known to say anything
 */
export function ownTailScore({ f64, f32, u32 }: RichPage, slot: number, value: number, isBelow: boolean): number {
  const base64 = slot * F64_STRIDE
  const base32 = slot * F32_STRIDE
  const side = isBelow ? 1 : 0
  const points = u32[base32 + U32.points]!
  const centre = f64[base64 + F64.centre]!
  const peaks = base64 + F64.peaks + side * EXCURSIONS
  const isRunning = points - u32[base32 + side + U32.excursionBegan]! < EXCURSION_ROWS
  const own = isRunning ? u32[base32 + side + U32.excursionRank]! - 1 : -1
  let others = 0
  for (let rank = 0; rank < u32[base32 + side + U32.excursionCount]!; rank++) {
    if (rank !== own) heights[others++] = isBelow ? centre + f64[peaks + rank]! : f64[peaks + rank]! - centre
  }
  const least = heights[others - 1]!
  const height = isBelow ? centre - value : value - centre
  if (others < OTHERS_MIN || !(least > 0) || !(height > least)) return Number.POSITIVE_INFINITY
  let excess = INDEX_WEIGHT * INDEX_USUAL
  for (let rank = 0; rank < others - 1; rank++) excess += Math.log(heights[rank]! / least)
  const index = excess / (others - 1 + INDEX_WEIGHT)
  const perDay = (others * DAY_MS) / (points * f32[base32 + F32.intervalMs]!)
  return Math.log10(height / least) / index - Math.log10(perDay)
}
