import { describe, expect, it } from 'vitest'
import { judgeStrength, RICH_VERDICT } from '../../../../../detectors/score/rich/alarm.ts'
import { falseAlarmsPerPoint, scoreOf, strengthAt } from '../../../../../detectors/score/rich/calibration.ts'
import { clearSlot, F32, newRichPage, U32 } from '../../../../../detectors/score/rich/page.ts'
import { calibrate } from '../../../../bench/nab/calibrate.ts'

const { nothing, opened, worsened, ongoing, closed } = RICH_VERDICT
const FIVE_MIN_MS = 300_000

/** Verdicts on strengths of successive points of a series that is `age` points old; the limit is 1. */
function verdicts(strengths: readonly number[], age = 1_000): number[] {
  const page = newRichPage()
  clearSlot(page, 0)
  return strengths.map((strength, index) => {
    page.f32[F32.strength] = strength
    page.u32[U32.points] = age + index + 1
    return judgeStrength(page, 0, 1)
  })
}

describe('the alarm rule', () => {
  it('opens at the limit, goes on while strong, closes after five calm points', () => {
    expect(verdicts([0.9, 1, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])).toEqual([nothing, opened, ongoing, ongoing, ongoing, ongoing, ongoing, closed, nothing])
  })

  it('starts the calm points again when strength comes back', () => {
    expect(verdicts([2, 0, 0, 0, 0, 0.6, 0, 0, 0, 0, 0])).toEqual([opened, ...new Array(9).fill(ongoing), closed])
  })

  it('rests 25 points and 3 % of the age: an equal one then alarms again, not before', () => {
    const strengths = new Array(80).fill(0)
    strengths[0] = 1
    const again = (after: number): number => verdicts(strengths.with(after, 1))[after]!
    expect(again(10)).toBe(nothing)
    expect(again(55)).toBe(nothing)
    expect(again(56)).toBe(opened)
    const old = verdicts(strengths.with(79, 1), 100_000)
    expect(old[79]).toBe(nothing)
  })

  it('is broken during the rest by something much worse, the easier the longer ago', () => {
    expect(verdicts([1, 6])).toEqual([opened, ongoing])
    expect(verdicts([1, 8])).toEqual([opened, worsened])
    const late = [1, ...new Array(40).fill(0), 4]
    expect(verdicts(late).at(-1)).toBe(opened)
    expect(verdicts(late.with(-1, 2)).at(-1)).toBe(nothing)
  })
})

describe('the scale', () => {
  it('rises with strength, and is read back by its inverse above the least strength', () => {
    let last = -1
    for (let strength = 0.25; strength < 60; strength *= 1.1) {
      const score = scoreOf(strength, FIVE_MIN_MS)
      expect(score).toBeGreaterThanOrEqual(last)
      last = score
      if (strength > 1.01) expect(strengthAt(score, FIVE_MIN_MS)).toBeCloseTo(strength, 9)
    }
    expect(strengthAt(-3, FIVE_MIN_MS)).toBe(1)
  })

  it('asks more of a point of a fast series than of a slow one for the same rate per day', () => {
    expect(scoreOf(4, 10_000)).toBeCloseTo(scoreOf(4, 100_000) - 1, 9)
    expect(strengthAt(1, 10_000)).toBeGreaterThan(2 * strengthAt(1, 60_000))
    expect(strengthAt(1, 3_600_000)).toBe(1)
  })

  it('foretells the false alarms of healthy series of a seed it was not counted with, within a factor of 1.5', () => {
    const { ratios } = calibrate(28, 77, () => {})
    for (const { rate, expected, observed } of ratios) {
      if (expected < 60) continue
      expect(observed / expected, `at ${rate} a day`).toBeGreaterThan(1 / 1.5)
      expect(observed / expected, `at ${rate} a day`).toBeLessThan(1.5)
    }
    expect(falseAlarmsPerPoint(1)).toBeCloseTo(3.2e-4, 5)
  }, 120_000)
})
