// What the benchmark measures is what the pipeline runs: the same code with the same settings gives the same scores.

import { describe, expect, it } from 'vitest'
import { FALSE_ALARMS_PER_DAY } from '../../../detectors/score/multivariate/calibration.ts'
import { RICH_FALSE_ALARMS_PER_DAY, richThreshold } from '../../../detectors/score/rich/alarm.ts'
import { configSchema } from '../../../schemas/config.ts'
import type { Series } from '../../bench/nab/corpus.ts'
import { everyRichScore, richScores } from '../../bench/nab/detect.ts'
import { scoresThroughIntake } from '../../bench/nab/through-intake.ts'
import { chance, START_MS } from './builders.ts'

const DAY_ROWS = 288
const ROW_MS = 300_000
const ROWS = 14 * DAY_ROWS

/** Two weeks in NAB's format: a daily cycle with noise; then a spike, a day without its cycle, a gap of two hours, a level that stays. */
function plantedSeries(seed: number): Series {
  const { gaussian } = chance(seed)
  const rows = Array.from({ length: ROWS }, (_, row) => row).filter(row => row < 11 * DAY_ROWS || row >= 11 * DAY_ROWS + 24)
  const valueAt = (row: number): number => {
    const day = Math.floor(row / DAY_ROWS)
    const cycle = day === 9 ? 0 : 20 * Math.sin((2 * Math.PI * row) / DAY_ROWS)
    const spike = row === 7 * DAY_ROWS + 100 ? 90 : 0
    return 60 + cycle + spike + (day >= 12 ? 40 : 0) + 3 * gaussian()
  }
  const timesMs = Float64Array.from(rows, row => START_MS + row * ROW_MS)
  return { path: 'planted/series.csv', folder: 'planted', stamps: Array.from(timesMs, String), timesMs, values: Float64Array.from(rows, valueAt) }
}

it('the rates that the benchmarks ship are the defaults of the configuration', () => {
  const { detect } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  expect(detect.novelty.falseAlarmsPerSeriesDay).toBe(RICH_FALSE_ALARMS_PER_DAY)
  expect(detect.multivariate.falseAlarmsPerEntityDay).toBe(FALSE_ALARMS_PER_DAY)
})

describe('the rich tier', () => {
  it('scores each point that came through the intake as the benchmark does, bit for bit', async () => {
    const series = plantedSeries(5)
    const threshold = richThreshold(RICH_FALSE_ALARMS_PER_DAY)
    const expected = everyRichScore(series, threshold)
    const seen = await scoresThroughIntake(series)
    const unequal = Array.from(seen.keys()).filter(row => !Object.is(seen[row], expected[row]))
    expect(unequal.map(row => [row, seen[row], expected[row]])).toEqual([])
    // The comparison says something: there were alarms, and many different scores.
    expect(new Set(expected).size).toBeGreaterThan(1_000)
    expect(richScores(series, threshold).filter(score => score >= threshold).length).toBeGreaterThanOrEqual(3)
  })
})
