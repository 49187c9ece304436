// How rare an anomaly is, in the unit of the configuration: alarms per series and day.

import { describe, expect, it } from 'vitest'
import { daysBetweenAlarms, intervalStep, tailTable } from '../../../detectors/score/tail.ts'
import { aPoint, aScorer, at, chance, everySecond } from './builders.ts'

describe('how rare an alarm is', () => {
  it.each([
    [0.001, 3, 2 ** 13.5],
    [0.5, 1, 2 ** 10.5],
    [0.001, 5, 2 ** 10.5]
  ])('an alarm just at the threshold comes as often as configured: %d a day with %d points', (rate, enterPoints, intervalMs) => {
    const threshold = tailTable(rate, enterPoints).threshold[intervalStep(intervalMs)]!
    expect(daysBetweenAlarms(threshold, intervalMs, enterPoints)).toBeCloseTo(1 / rate, 6)
  })

  it('grows with the score and with the distance of points', () => {
    expect(daysBetweenAlarms(4, 10_000, 3)).toBeGreaterThan(daysBetweenAlarms(3.9, 10_000, 3))
    expect(daysBetweenAlarms(4, 60_000, 3)).toBeCloseTo(6 * daysBetweenAlarms(4, 10_000, 3))
  })

  it('ends the sentence of an anomaly, and not the sentence of its end', () => {
    const fed = aScorer()
    const { gaussian } = chance(3)
    everySecond(fed, 0, 200, second => aPoint({ timeMs: at(second), value: 100 + gaussian() + (second >= 150 && second < 170 ? 60 : 0) }))
    expect(fed.opened()[0]!.reason).toMatch(
      /; expected (once in [\d,]+ days|about once a day|[\d.,]+ times a day|less than once in 10,000 days) of a normal series\.$/
    )
    expect(fed.closed()[0]!.reason).not.toContain('expected once')
  })
})
