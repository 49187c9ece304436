import { describe, expect, it } from 'vitest'
import type { LearnedDetector } from '../../../detectors/score/model-hook.ts'
import { anomalySchema } from '../../../schemas/anomaly.ts'
import { POINT_KIND, type PointView } from '../../../schemas/otlp.ts'
import { aCounter, aPoint, aScorer, at, chance, everySecond } from './builders.ts'

const MEMORY = { name: 'process.memory.usage', unit: 'By' }
const MB = 1e6

describe('scorer: values', () => {
  it('tells a leaking process with numbers, onset and a sentence that a person can read', () => {
    const fed = aScorer()
    const { gaussian } = chance(1)
    everySecond(fed, 0, 150, second => aPoint({ ...MEMORY, timeMs: at(second), value: 60 * MB + MB * gaussian() + Math.max(0, second - 119) * 10 * MB }))
    const [anomaly, ...others] = fed.opened()
    expect(others).toEqual([])
    expect(anomalySchema.safeParse(anomaly).success).toBe(true)
    expect(anomaly).toMatchObject({
      detector: 'adaptive',
      direction: 'above',
      metric: 'process.memory.usage',
      entity: 'shop/orders@orders-1',
      service: 'orders',
      unit: 'By'
    })
    expect(anomaly!.sinceMs).toBeGreaterThanOrEqual(at(118))
    expect(anomaly!.sinceMs).toBeLessThanOrEqual(at(122))
    expect(anomaly!.observedAtMs).toBeLessThanOrEqual(at(130))
    expect(anomaly!.observed!).toBeGreaterThan(anomaly!.upper!)
    expect(anomaly!.score).toBeGreaterThan(anomaly!.threshold)
    expect(anomaly!.reason).toMatch(
      /^process\.memory\.usage of shop\/orders@orders-1 is \d+ MB, 1\.\d times the expected 6\d(\.\d)? MB \(normal: .* to \d+(\.\d)? MB\), since 08:02:\d\d UTC; /
    )
  })

  it('closes with the same id and worsens with the same id', () => {
    const fed = aScorer()
    const value = (second: number): number => (second < 100 || second >= 140 ? 0.02 : second < 120 ? 0.07 : 3)
    everySecond(fed, 0, 160, second => aPoint({ name: 'job.duration', unit: 's', timeMs: at(second), value: value(second) }))
    expect(fed.anomalies.map(anomaly => [anomaly.status, anomaly.severity])).toEqual([
      ['open', 'critical'],
      ['close', 'critical']
    ])
    expect(new Set(fed.anomalies.map(anomaly => anomaly.id)).size).toBe(1)
    expect(fed.closed()[0]!.reason).toContain('is back at 20 ms')

    const worsening = aScorer()
    const rising = (second: number): number => (second < 100 ? 100 : second < 110 ? 145 : 900)
    everySecond(worsening, 0, 120, second => aPoint({ name: 'queue.depth', timeMs: at(second), value: rising(second) + (second % 7) * 2 }))
    expect(worsening.anomalies.map(anomaly => [anomaly.status, anomaly.severity])).toEqual([
      ['open', 'warning'],
      ['update', 'critical']
    ])
    expect(new Set(worsening.anomalies.map(anomaly => anomaly.id)).size).toBe(1)
  })

  it('does not score a point twice or out of order, and counts it', () => {
    const fed = aScorer()
    everySecond(fed, 1, 11, second => aPoint({ timeMs: at(second), value: second }))
    for (const second of [10, 3, 11, 11]) fed.feed([aPoint({ timeMs: at(second), value: second })], at(11))
    expect(fed.scorer.stats).toMatchObject({ points: 14, scored: 11, duplicate: 2, late: 1 })
  })

  it('takes the word of the user for what hurts, and how much of it', () => {
    const drop = (overrides: Record<string, unknown>): string[] => {
      const fed = aScorer(overrides)
      const { gaussian } = chance(6)
      everySecond(fed, 0, 130, second => aPoint({ name: 'cache.size', unit: '', timeMs: at(second), value: 100 + gaussian() - (second >= 100 ? 30 : 0) }))
      return fed.opened().map(({ direction, severity }) => `${direction} ${severity}`)
    }
    expect(drop({})).toEqual(['below info'])
    expect(drop({ metrics: [{ metric: '^cache\\.', direction: 'above' }] })).toEqual([])
    expect(
      drop({
        metrics: [
          { metric: '^cache\\.', deviationMin: 40 },
          { metric: 'size', deviationMin: 1 }
        ]
      })
    ).toEqual([])
    expect(drop({ metrics: [{ metric: '^cache\\.', deviationMinRelative: 0.5 }] })).toEqual([])
    expect(() => drop({ metrics: [{ metric: '(' }] })).toThrow(/detect\.metrics: \( is not a regular expression/)
  })

  it('refuses points from the future, without a time, without a value, and ignored metrics', () => {
    const fed = aScorer({ ignore: ['^noisy\\.'] })
    fed.feed([aPoint({ timeMs: at(3_600) }), aPoint({ timeMs: 0 }), aPoint({ noRecordedValue: true, value: Number.NaN }), aPoint({ value: Number.NaN })], at(0))
    everySecond(fed, 0, 100, second => aPoint({ name: 'noisy.gauge', timeMs: at(second), value: second < 90 ? 0 : 1e6 }))
    expect(fed.scorer.stats).toMatchObject({ future: 2, unusable: 2, scored: 0, anomalies: 0 })
  })

  it('reads non-monotonic cumulative sums as gauges', () => {
    const fed = aScorer()
    everySecond(fed, 0, 10, second => aCounter({ monotonic: false, timeMs: at(second), value: 50 - second }))
    expect(fed.scorer.stats.scored).toBe(10)
  })

  it('judges each quantile of a summary', () => {
    const fed = aScorer()
    const quantiles = Float64Array.of(0.5, 0.99)
    const summary = (second: number): PointView =>
      aPoint({
        kind: POINT_KIND.summary,
        name: 'rpc.duration',
        unit: 's',
        timeMs: at(second),
        count: 10,
        quantileCount: 2,
        quantiles,
        quantileValues: Float64Array.of(0.01, second < 100 ? 0.05 : 2)
      })
    everySecond(fed, 0, 110, summary)
    expect(fed.opened().map(anomaly => anomaly.attributes)).toEqual([{ stat: 'p99' }])
  })
})

describe('scorer: counters', () => {
  it('judges the rate and not the count', () => {
    const fed = aScorer()
    let count = 0
    everySecond(fed, 0, 130, second => {
      count += second < 120 ? 10 : 200
      return aCounter({ name: 'io.errors', unit: '{error}', timeMs: at(second), value: count })
    })
    const [anomaly] = fed.opened()
    expect(anomaly).toMatchObject({ observed: 200, direction: 'above' })
    expect(anomaly!.reason).toContain('is 200 errors/s, 20 times the expected 10 errors/s')
    expect(Math.abs(anomaly!.sinceMs - at(119.5))).toBeLessThanOrEqual(1_000)
  })

  it('survives resets by decrease and by a new start time without a rate', () => {
    const fed = aScorer()
    let count = 0
    everySecond(fed, 0, 300, second => {
      if (second % 100 === 99) count = 0
      count += 10
      return aCounter({ timeMs: at(second), startMs: at(Math.floor((second + 1) / 100) * 100 - 1), value: count + (second >= 200 ? 5_000 : 0) })
    })
    expect(fed.anomalies).toEqual([])
    expect(fed.scorer.stats.scored).toBe(300 - 1 - 3)
  })

  it('takes the gap of a sleeping sender as one interval', () => {
    const fed = aScorer()
    let count = 0
    for (let second = 0; second < 200; second += second === 120 ? 60 : 1) {
      count += second > 120 && second <= 180 ? 600 : 10
      fed.feed([aCounter({ timeMs: at(second), value: count })], at(second))
    }
    expect(fed.anomalies).toEqual([])
  })
})

describe('scorer: rules and models', () => {
  it('holds a static rule for its duration and leaves it only beyond recovery', () => {
    const rule = {
      name: 'deep-queue',
      metric: 'queue.depth',
      match: { queue: 'mail', service: 'orders' },
      above: 100,
      recover: 50,
      for: '5s',
      severity: 'critical'
    }
    const fed = aScorer({ rules: [rule], warmupPoints: 1_000 })
    const depth = (second: number): number => (second >= 10 && second < 13 ? 500 : second >= 20 && second < 30 ? 500 : second >= 30 && second < 40 ? 80 : 10)
    everySecond(fed, 0, 60, second => [
      aPoint({ timeMs: at(second), value: depth(second), attributes: { queue: 'mail' } }),
      aPoint({ timeMs: at(second), value: 1e6, attributes: { queue: 'other' } })
    ])
    expect(fed.anomalies.map(anomaly => [anomaly.status, anomaly.detector, anomaly.severity, anomaly.sinceMs, anomaly.observedAtMs])).toEqual([
      ['open', 'rule:deep-queue', 'critical', at(20), at(25)],
      ['close', 'rule:deep-queue', 'critical', at(20), at(40)]
    ])
    expect(fed.opened()[0]!.reason).toContain('above the 100 items of rule deep-queue')
  })

  it('shows each window of an entity to the models and tells in shadow what they say', () => {
    const seen: { toMs: number; keys: string[] }[] = []
    const model: LearnedDetector = {
      name: 'failure',
      version: '1',
      shadow: true,
      threshold: 0.8,
      claim: 'fails within 5 min',
      onEntityWindow(window) {
        seen.push({ toMs: window.toMs, keys: [...window.values.keys()] })
        return window.values.get('queue.depth|value')!.value > 50 ? 0.9 : 0.1
      }
    }
    const fed = aScorer({}, { models: () => [model] })
    everySecond(fed, 0, 60, second => [
      aPoint({ timeMs: at(second), value: second >= 20 && second < 40 ? 60 : 10 }),
      aCounter({ timeMs: at(second), value: second * 3 })
    ])
    expect(seen.map(window => window.toMs)).toEqual([10, 20, 30, 40, 50].map(at))
    expect(seen[1]!.keys.sort()).toEqual(['queue.depth|value', 'requests|rate'])
    expect(
      fed.anomalies
        .filter(anomaly => anomaly.detector === 'model:failure')
        .map(anomaly => [anomaly.status, anomaly.shadow, anomaly.sinceMs, anomaly.observedAtMs])
    ).toEqual([
      ['open', true, at(30), at(30)],
      ['close', true, at(30), at(50)]
    ])
  })
})
