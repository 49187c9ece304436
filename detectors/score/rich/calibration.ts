// The rich tier's scale: strength of evidence -> score = −log10 of the expected false alarms per day.
//
// Flow: rich.ts (strength, interval) -> score; alarm.ts (configured false alarms per day) -> the strength that an alarm needs.
// A score of 1 is a point as strange as healthy series make one a series in ten days, 3 one in a thousand days: one threshold
// means the same on every series. The table was counted on synthetic healthy series of many laws, with the alarm rule at
// work (`npm run -s bench -- nab calibrate` counts again and prints it beside this one); no labelled data went into it.

import { CHANNELS } from './page.ts'

/**
 * What each channel's statistic is divided by, in the order of CHANNELS: records in ranges seen before, the others in
 * deviations. Chosen on a plateau (test/bench/nab: all of them 8 % lower or higher costs less than a point of a hundred, 18 % up to four).
 */
export const CHANNEL_LIMITS: readonly number[] = [0.015, 2, 0.15, 11, 2.7, 3.5]
/** One channel's evidence is capped: further away is no stranger. */
const EVIDENCE_MAX = 30

const DAY_MS = 86_400_000
/** −log10 of the false alarms per point if alarms begin at strength 1/2, 1, 2, 4, 8, 16, 32. */
export const FALSE_ALARMS: readonly number[] = [3.28, 3.5, 3.75, 4.03, 4.4, 4.88, 6]
/** log2 of the table's first strength. */
export const STRENGTH_LOG2_MIN = -1
/** A point is never called strange below this, however seldom the series reports: all channels are at their limits' edge. */
const STRENGTH_MIN = 1
const SCORE_MAX = 12

/** Evidence of one channel: its statistic over its limit, 0 to 30. */
export function evidenceOf(statistic: number, channel: number): number {
  // Not the other way round: a range that overflowed gives no number, and that is no evidence.
  return statistic > 0 ? Math.min(statistic / CHANNEL_LIMITS[channel]!, EVIDENCE_MAX) : 0
}

/** Strength of all channels together: as standard scores are added, so that two halves of a proof count more than one. */
export function strengthOf(f32: Float32Array, at: number): number {
  let sum = 0
  for (let channel = 0; channel < CHANNELS.length; channel++) sum += f32[at + channel]! * f32[at + channel]!
  return Math.sqrt(sum)
}

/**
 * Score of a strength: −log10 of the false alarms per day that healthy series of this interval raise at it, 0..12.
 * @param intervalMs usual time between points, > 0
 */
export function scoreOf(strength: number, intervalMs: number): number {
  if (strength <= 0) return 0
  const row = Math.log2(strength) - STRENGTH_LOG2_MIN
  const index = Math.max(0, Math.min(FALSE_ALARMS.length - 2, Math.floor(row)))
  const low = FALSE_ALARMS[index]!
  const perPoint = low + (FALSE_ALARMS[index + 1]! - low) * (row - index)
  return Math.max(0, Math.min(SCORE_MAX, perPoint - Math.log10(DAY_MS / intervalMs)))
}

/** The strength that an alarm needs at a threshold on the score: the inverse of `scoreOf`, at least STRENGTH_MIN. */
export function strengthAt(score: number, intervalMs: number): number {
  const perPoint = score + Math.log10(DAY_MS / intervalMs)
  let index = 0
  while (index < FALSE_ALARMS.length - 2 && FALSE_ALARMS[index + 1]! < perPoint) index++
  const low = FALSE_ALARMS[index]!
  const row = index + (perPoint - low) / (FALSE_ALARMS[index + 1]! - low)
  return Math.max(STRENGTH_MIN, 2 ** (row + STRENGTH_LOG2_MIN))
}

/** Expected false alarms per point of healthy series if alarms begin at this strength. */
export function falseAlarmsPerPoint(strength: number): number {
  return 10 ** -scoreOf(strength, DAY_MS)
}
