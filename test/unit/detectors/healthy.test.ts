// A small healthy fleet for nine hours: what `npm run -s bench -- healthy` counts on thousands of series-days, in seconds.

import { describe, expect, it } from 'vitest'
import { rateFigure } from '../../bench/healthy/rates.ts'
import { runHealthy } from '../../bench/healthy/run.ts'
import { scenario } from '../../bench/healthy/scenario.ts'
import { ABSENCE } from '../../../detectors/rules/absence.ts'
import { ADAPTIVE } from '../../../detectors/score/telling.ts'
import { MULTIVARIATE } from '../../../detectors/score/telling-entity.ts'
import { NOVELTY } from '../../../detectors/score/telling-novelty.ts'

const HOUR_MS = 3_600_000
/** As promised: false anomalies stay within twice the configured rate. */
const RATIO_MAX = 2

describe('a healthy fleet', () => {
  it('raises no more than twice the configured false anomalies in nine hours, and no incident', { timeout: 60_000 }, () => {
    const run = runHealthy(scenario('day', 7, { instances: 1, hosts: 1, lengthMs: 9 * HOUR_MS }))
    const of = (detector: string): number => run.anomalies.filter(anomaly => anomaly.detector === detector).length
    expect(run.seriesDays).toBeGreaterThan(80)
    // The lower bound: what chance alone may add to a few series-days is not held against them.
    expect(rateFigure(of(ADAPTIVE), run.seriesDays, 0.001).ratioLow).toBeLessThanOrEqual(RATIO_MAX)
    expect(rateFigure(of(NOVELTY), run.watchedDays, 0.1).ratioLow).toBeLessThanOrEqual(RATIO_MAX)
    expect(of(MULTIVARIATE)).toBe(0)
    expect(of(ABSENCE)).toBe(0)
    expect(run.incidents).toEqual([])
  })

  it('is counted with exact bounds', () => {
    // Garwood's table: 0 events 0 to 2.996, 1 event 0.051 to 4.744, 10 events 5.425 to 16.962 (95 % one-sided each).
    for (const [count, low, high] of [
      [0, 0, 2.996],
      [1, 0.051, 4.744],
      [10, 5.425, 16.962]
    ] as const) {
      const { ratioLow, ratioHigh } = rateFigure(count, 1, 1)
      expect(ratioLow).toBeCloseTo(low, 3)
      expect(ratioHigh).toBeCloseTo(high, 3)
    }
  })
})
