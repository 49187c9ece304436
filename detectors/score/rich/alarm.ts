// The alarm rule: when a score becomes an alarm, when the next may follow, and when it is over.
//
// Flow: rich.ts (score of the point) -> judgeRich -> verdict. State is four fields of the slot.
//
//   calm --score over the threshold and over the bar--> alarmed --over the bar again--> worsened (alarmed)
//        <--CALM_POINTS below EXIT_SHARE of the threshold--
//
// After an alarm the bar is raised to a multiple of that alarm's strength and sinks to the threshold while the series rests. The
// rest grows with the series' age: what was strange once in a year of points is followed by days that seem strange too.

import { strengthAt } from './calibration.ts'
import { F32, F32_STRIDE, type RichPage, U32 } from './page.ts'

/** Expected false alarms of the rich tier per series and day unless configured otherwise: the threshold is its −log10. */
export const RICH_FALSE_ALARMS_PER_DAY = 0.1
export const REST_POINTS = 25
/** Of the points seen, what is added to the rest. */
export const REST_AGE_SHARE = 0.03
/** The bar right after an alarm, in strengths of that alarm above the threshold. */
export const BAR_FACTOR = 6
/** An alarm is over after so many points in a row below this share of the limit. */
const CALM_POINTS = 5
const EXIT_SHARE = 0.6

export const RICH_VERDICT = { nothing: 0, opened: 1, worsened: 2, ongoing: 3, closed: 4 } as const
export type RichVerdict = (typeof RICH_VERDICT)[keyof typeof RICH_VERDICT]

/** The score from which a point may alarm. */
export function richThreshold(falseAlarmsPerDay: number): number {
  return -Math.log10(falseAlarmsPerDay)
}

/**
 * Judges the point that `updateRich` scored last; call it once a point.
 * @param threshold by `richThreshold`
 */
export function judgeRich(page: RichPage, slot: number, threshold: number): RichVerdict {
  return judgeStrength(page, slot, strengthAt(threshold, page.f32[slot * F32_STRIDE + F32.intervalMs]!))
}

/** The same with the strength that an alarm needs given itself: what calibration counts at. */
export function judgeStrength({ f32, u32 }: RichPage, slot: number, limit: number): RichVerdict {
  const base = slot * F32_STRIDE
  const strength = f32[base + F32.strength]!
  const calm = u32[base + U32.alarmCalm]!
  if (strength >= limit && strength > bar(f32, u32, base, limit)) {
    f32[base + F32.alarmStrength] = strength
    u32[base + U32.alarmPoint] = u32[base + U32.points]!
    u32[base + U32.alarmCalm] = 1
    return calm === 0 ? RICH_VERDICT.opened : RICH_VERDICT.worsened
  }
  if (calm === 0) return RICH_VERDICT.nothing
  if (strength >= EXIT_SHARE * limit) {
    u32[base + U32.alarmCalm] = 1
    return RICH_VERDICT.ongoing
  }
  if (calm < CALM_POINTS) {
    u32[base + U32.alarmCalm] = calm + 1
    return RICH_VERDICT.ongoing
  }
  u32[base + U32.alarmCalm] = 0
  return RICH_VERDICT.closed
}

/** What a strength must exceed now. */
function bar(f32: Float32Array, u32: Uint32Array, base: number, limit: number): number {
  const last = f32[base + F32.alarmStrength]!
  if (last === 0) return 0
  const alarmPoint = u32[base + U32.alarmPoint]!
  const rested = (u32[base + U32.points]! - alarmPoint) / (REST_POINTS + REST_AGE_SHARE * alarmPoint)
  return rested >= 1 ? 0 : limit + BAR_FACTOR * last * (1 - rested)
}
