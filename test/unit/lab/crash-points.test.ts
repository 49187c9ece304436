// The plan of S1 and the measure of a back-off: pure parts of the case that judge the rest.

import { describe, expect, it } from 'vitest'
import { POINTS, type Point, shareOf } from '../../../infra/lab/cases/s1/points.ts'
import { type AttemptSeen, spacingOf } from '../../../infra/lab/cases/uc1/spacing.ts'

const visitedBy = (seed: number): Point[] => {
  const { attempts, steady, call } = shareOf(seed)
  return [...attempts.flat(), ...steady, ...call]
}

describe('crash points', () => {
  it('are at least forty, and three seeds in a row visit each of them once', () => {
    expect(POINTS.length).toBeGreaterThanOrEqual(40)
    for (const first of [1, 2, 17]) {
      expect([first, first + 1, first + 2].flatMap(visitedBy).sort()).toEqual([...POINTS].sort())
    }
  })

  it('of one attempt come in the order in which it passes them', () => {
    for (const seed of [1, 2, 3]) {
      for (const turn of shareOf(seed).attempts) expect(turn).toEqual(POINTS.filter(point => turn.includes(point)))
    }
  })
})

describe('the spacing of attempts', () => {
  const seen = (waits: readonly (number | null)[], delayMs = 0): AttemptSeen[] =>
    waits.map((decidedMs, index) => ({
      ...{ effectAtMs: index * 60_000, decidedMs, waitedMs: decidedMs === null ? null : decidedMs + delayMs, cooldownMs: [10_000, 20_000, 40_000][index]! }
    }))
  const holds = (attempts: AttemptSeen[], lateMs: readonly number[] = []): boolean => spacingOf(attempts, lateMs).every(({ ok }) => ok)

  it('holds within a tenth, however long an effect takes after its decision', () => {
    expect(holds(seen([null, 9_100, 21_900], 4_000))).toBe(true)
  })
  it('does not hold when an attempt comes early, even once, or late', () => {
    expect(holds(seen([null, 8_900, 20_000]))).toBe(false)
    expect(holds(seen([null, 10_000, 17_000], 5_000))).toBe(false)
    expect(holds(seen([null, 10_000, 23_000]))).toBe(false)
  })
  it('may be late by the time in which nobody was there, and never early', () => {
    expect(holds(seen([null, 45_000, 20_000]), [35_000, 0])).toBe(true)
    expect(holds(seen([null, 8_000, 20_000]), [35_000, 0])).toBe(false)
  })
  it('does not hold when the guard would not have made the next one wait', () => {
    expect(holds([...seen([null, 10_000]), { ...seen([null, 10_000, 20_000])[2]!, cooldownMs: null }])).toBe(false)
  })
})
