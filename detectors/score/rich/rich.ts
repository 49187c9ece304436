// The rich tier of one series: six channels look at every point, their evidence is added up, and one score comes out.
//
// Flow: scorer (series in the rich tier) -> updateRich -> judgeRich (alarm.ts) -> telling, which reads `readRich`.
// One pass: a point is scored against what was learned before it, then learned. No allocation, no look-ahead, no length or range
// known in advance; all state in the slot (page.ts). What each channel adds is in the ablation of test/bench/nab.

import { evidenceOf, scoreOf, strengthOf } from './calibration.ts'
import { CHANNELS, type Channel, F32, F32_STRIDE, F64, F64_STRIDE, RECENT_ROWS, type RichPage, SHAPE_STEPS, U32 } from './page.ts'
import { hourOf, profileOf } from './profile.ts'
import { contrastOf, excursionOf, recordOf } from './records.ts'
import { keepValue, measureScale } from './scale.ts'
import { shapeOf } from './shape.ts'

const INTERVAL_WEIGHT = 0.1
/** A gap counts as this many intervals at most. */
const GAP_INTERVALS_MAX = 10
/** Points a second are the fastest whose rate per day we claim. */
const INTERVAL_MS_MIN = 1_000
/** From here on every channel judges; before it those do that can. */
export const RICH_READY_POINTS = 364

export interface RichReading {
  /** The channel with the most evidence at the last point; undefined when none had any. */
  channel: Channel | undefined
  /** Evidence of that channel: its statistic over its limit. */
  evidence: number
  /** What the day's profile said before the last point, or the centre while the hour was unknown. */
  expected: number
  /** All values before the last point lay between these. */
  lower: number
  upper: number
  points: number
  ready: boolean
}

/**
 * Scores one point of the series in `slot`, then learns it.
 * @param value  finite
 * @param timeMs event time; equal or earlier times than the last are taken, and leave the interval alone
 * @returns −log10 of the false alarms per day that points at least as strange raise on healthy series, 0..12
 */
export function updateRich(page: RichPage, slot: number, value: number, timeMs: number): number {
  const { f64, f32, u32 } = page
  const base64 = slot * F64_STRIDE
  const base32 = slot * F32_STRIDE
  const point = u32[base32 + U32.points]!
  page.dirty = true
  learnInterval(f64, f32, base64, base32, point, timeMs)
  keepReading(page, base64, base32, timeMs)
  f64[base64 + F64.recent + (point & (RECENT_ROWS - 1))] = value

  const evidence = base32 + F32.channels
  f32[evidence] = evidenceOf(recordOf(page, slot, value, point), 0)
  f32[evidence + 1] = evidenceOf(excursionOf(page, slot, value, point), 1)
  f32[evidence + 2] = evidenceOf(contrastOf(page, slot, point), 2)
  f32[evidence + 3] = evidenceOf(profileOf(page, slot, value, timeMs, point), 3)
  for (let shape = 0; shape < SHAPE_STEPS.length; shape++) f32[evidence + 4 + shape] = evidenceOf(shapeOf(page, slot, shape, point), 4 + shape)

  keepValue(page, slot, value, point)
  measureScale(page, slot, point)
  u32[base32 + U32.points] = point + 1
  // Rounded as it is kept: who reads the slot later finds the same score.
  f32[base32 + F32.strength] = strengthOf(f32, evidence)
  return scoreOf(f32[base32 + F32.strength]!, f32[base32 + F32.intervalMs]!)
}

/** Score of the row that was learned last: what `updateRich` returned for it; 0 before the first. */
export function lastScore({ f32 }: RichPage, slot: number): number {
  const base = slot * F32_STRIDE
  return scoreOf(f32[base + F32.strength]!, f32[base + F32.intervalMs]!)
}

/** Value of the row that was learned last. */
export function lastRow({ f64, u32 }: RichPage, slot: number): number {
  return f64[slot * F64_STRIDE + F64.recent + ((u32[slot * F32_STRIDE + U32.points]! - 1) & (RECENT_ROWS - 1))]!
}

/** What the last point was judged by, into `reading`: for sentences and drawings, not for the hot path. */
export function readRich({ f64, f32, u32 }: RichPage, slot: number, reading: RichReading): RichReading {
  const base64 = slot * F64_STRIDE
  const base32 = slot * F32_STRIDE
  reading.channel = undefined
  reading.evidence = 0
  for (const [index, channel] of CHANNELS.entries()) {
    const evidence = f32[base32 + F32.channels + index]!
    if (evidence <= reading.evidence) continue
    reading.evidence = evidence
    reading.channel = channel
  }
  reading.expected = f64[base64 + F64.expected]!
  reading.lower = f64[base64 + F64.lower]!
  reading.upper = f64[base64 + F64.upper]!
  reading.points = u32[base32 + U32.points]!
  reading.ready = reading.points >= RICH_READY_POINTS
  return reading
}

function learnInterval(f64: Float64Array, f32: Float32Array, base64: number, base32: number, point: number, timeMs: number): void {
  const elapsedMs = timeMs - f64[base64 + F64.lastTimeMs]!
  f64[base64 + F64.lastTimeMs] = timeMs
  const intervalMs = f32[base32 + F32.intervalMs]!
  if (point === 0) f32[base32 + F32.intervalMs] = INTERVAL_MS_MIN
  else if (elapsedMs > 0) {
    const next = point === 1 ? elapsedMs : intervalMs + INTERVAL_WEIGHT * (Math.min(elapsedMs, GAP_INTERVALS_MAX * intervalMs) - intervalMs)
    f32[base32 + F32.intervalMs] = Math.max(INTERVAL_MS_MIN, next)
  }
}

function keepReading({ f64, u32 }: RichPage, base64: number, base32: number, timeMs: number): void {
  const hour = hourOf(timeMs)
  f64[base64 + F64.expected] = u32[base32 + U32.profileCount + hour]! > 0 ? f64[base64 + F64.profile + hour]! : f64[base64 + F64.centre]!
  f64[base64 + F64.lower] = f64[base64 + F64.lowest]!
  f64[base64 + F64.upper] = f64[base64 + F64.highest]!
}
