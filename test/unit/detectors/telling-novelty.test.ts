// What of a novelty is told: nothing while its channels are not ready, less of a young series, a single row as a note only.

import { describe, expect, it } from 'vitest'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import { explainSeries } from '../../../detectors/score/explain.ts'
import { aPoint, aScorer, at, chance } from './builders.ts'

const MINUTE_S = 60

/** Novelties that opened, of a series a minute that does as `value` says. */
function novelties(minutes: number, value: (minute: number, noise: number) => number): Anomaly[] {
  const fed = aScorer()
  const dice = chance(1)
  for (let minute = 0; minute < minutes; minute++) {
    fed.feed([aPoint({ unit: '', timeMs: at(minute * MINUTE_S), value: value(minute, dice.gaussian()) })], at(minute * MINUTE_S))
  }
  return fed.anomalies.filter(({ detector, status }) => detector === 'novelty' && status === 'open')
}

const spikeAt = (row: number, height: number) => (minute: number, noise: number) => 50 + 5 * noise + (minute === row ? height : 0)

describe('a novelty', () => {
  it('is not told before all that looks for it is ready', () => {
    expect(novelties(360, spikeAt(300, 1_000))).toEqual([])
  })

  it('of a young series is called less rare than the row was, by how much likelier records are', () => {
    const fed = aScorer()
    const dice = chance(1)
    for (let minute = 0; minute <= 400; minute++) {
      const value = spikeAt(400, 1_000)(minute, dice.gaussian())
      fed.feed([aPoint({ unit: '', timeMs: at(minute * MINUTE_S), value })], at(minute * MINUTE_S))
    }
    const row = explainSeries(fed.scorer, 'shop/orders@orders-1')[0]!.rich!
    const told = fed.anomalies.at(-1)!
    expect(told).toMatchObject({ detector: 'novelty', status: 'open', samples: 401 })
    expect(told.score).toBeCloseTo(row.score - Math.log10(1_000 / 401), 6)
  })

  it('of a single row is a note, however far out', () => {
    const [spike] = novelties(1_210, spikeAt(1_200, 1e6))
    // Rarer than detect.falseAlarmsPerSeriesDay, from where several strange rows are a warning.
    expect(spike!.score).toBeGreaterThan(3)
    expect(spike).toMatchObject({ metric: 'queue.depth', severity: 'info' })
  })
})
