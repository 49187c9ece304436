// The day's profile: what a series usually is at this hour, and how unusual a lasting difference from it is.
//
// Flow: rich.ts -> profileOf (z of the mean residual of six rows), then learned. Hours are UTC hours of event time, so gaps and
// late starts do no harm. A series without a daily cycle has a flat profile that follows its level, and is then judged by
// its distance from the level of the hour: no decision "seasonal or not" is needed, so none can be wrong.

import { F32, F32_STRIDE, F64, F64_STRIDE, PROFILE_HOURS, RESIDUAL_ROWS, type RichPage, U32 } from './page.ts'
import { boundedScales, SCALE_FROM } from './scale.ts'

const HOUR_MS = 3_600_000
/** An hour's mean remembers about 33 samples, however many a day has: with few a month, with many the last hour of it. */
const PROFILE_WEIGHT_MIN = 0.03
/** The usual size of the residual is learned from here on and used from there on. */
const LEARN_FROM = 150
const JUDGE_FROM = 300
const SIZE_WEIGHT_MIN = 0.003
const CLIP_FROM = 20
const CLIP_DEVIATIONS = 8
/** Scales added to the deviation: below this a difference is no difference. */
export const DEVIATION_MIN = 0.05

/** Slot-relative field of the hour of `timeMs`. */
export function hourOf(timeMs: number): number {
  const hour = Math.floor(timeMs / HOUR_MS) % PROFILE_HOURS
  return hour < 0 ? hour + PROFILE_HOURS : hour
}

/** How many deviations the mean residual of the last rows is larger than usual; negative when smaller. Learns the value. */
export function profileOf(page: RichPage, slot: number, value: number, timeMs: number, point: number): number {
  const { f64, f32, u32 } = page
  const base64 = slot * F64_STRIDE
  const base32 = slot * F32_STRIDE
  const hour = hourOf(timeMs)
  const meanAt = base64 + F64.profile + hour
  const countAt = base32 + U32.profileCount + hour
  const seen = u32[countAt]!
  const known = point > SCALE_FROM && seen > 0
  const scale = f64[base64 + F64.scale]!
  const residual = known ? boundedScales((value - f64[meanAt]!) / scale) : 0
  f32[base32 + F32.residuals + (point % RESIDUAL_ROWS)] = residual
  let sum = 0
  for (let index = 0; index < RESIDUAL_ROWS; index++) sum += f32[base32 + F32.residuals + index]!
  const size = Math.abs(sum) / RESIDUAL_ROWS

  const mean = f32[base32 + F32.residualMean]!
  const deviation = Math.sqrt(f32[base32 + F32.residualVariance]!)
  const far = point >= JUDGE_FROM ? (size - mean) / (deviation + DEVIATION_MIN) : 0
  if (point >= LEARN_FROM) {
    const count = u32[base32 + U32.residualCount]! + 1
    u32[base32 + U32.residualCount] = count
    const weight = Math.max(1 / count, SIZE_WEIGHT_MIN)
    const clipped = count > CLIP_FROM ? Math.min(size, mean + CLIP_DEVIATIONS * deviation + DEVIATION_MIN) : size
    const change = clipped - mean
    f32[base32 + F32.residualMean] = mean + weight * change
    f32[base32 + F32.residualVariance] = (1 - weight) * (deviation * deviation + weight * change * change)
  }
  u32[countAt] = seen + 1
  f64[meanAt] = f64[meanAt]! + Math.max(1 / (seen + 1), PROFILE_WEIGHT_MIN) * (known ? residual * scale : value - f64[meanAt]!)
  return far
}
