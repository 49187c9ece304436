import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { POINT_KIND, type PointView, TEMPORALITY } from '../../../schemas/otlp.ts'
import { aDelta, aHistogram, aPoint, aScorer, at, everySecond, type FedScorer } from './builders.ts'

describe('scorer: windows of delta sums', () => {
  const derived = (second: number, shard: number, value: number, name = 'homeostat.span.requests'): PointView =>
    aDelta({ name, timeMs: at(second + 10), startMs: at(second) + shard / 1_000, value, attributes: { operation: 'GET /' } })
  const last = (fed: FedScorer): number => fed.scorer.table.page(0).f32[22]!

  it('adds the shards of one window up and drops what is redelivered', () => {
    const fed = aScorer()
    fed.feed([derived(0, 0, 30), derived(0, 3, 20), derived(0, 3, 20), derived(0, 1, 50)], at(12))
    fed.feed([derived(0, 0, 30)], at(16))
    expect(fed.scorer.stats).toMatchObject({ duplicate: 2, scored: 0 })
    fed.feed([derived(10, 0, 10)], at(22))
    fed.feed([], at(60))
    expect(fed.scorer.stats.scored).toBe(2)
    fed.feed([derived(0, 1, 50)], at(61))
    expect(fed.scorer.stats).toMatchObject({ late: 1, scored: 2 })
    expect(last(fed)).toBe(1)
  })

  it('scores the sum of the shards as a rate', () => {
    const fed = aScorer()
    fed.feed([derived(0, 0, 30), derived(0, 3, 20), derived(0, 1, 50)], at(12))
    fed.feed([], at(60))
    expect(last(fed)).toBe(10)
  })

  it('lets the order of shards and of points not matter', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }), order => {
        const points = [derived(0, 0, 1), derived(0, 1, 2), derived(0, 2, 4), derived(10, 0, 8), derived(10, 1, 16), derived(10, 2, 32)]
        const fed = aScorer()
        fed.feed(
          order.map(index => points[index]!),
          at(20)
        )
        fed.feed([], at(60))
        expect(fed.scorer.stats).toMatchObject({ scored: 2, duplicate: 0, late: 0 })
        expect(last(fed)).toBeCloseTo(5.6, 5)
      })
    )
  })

  it('counts windows without points as zero while the entity is heard, and as unknown while it is silent', () => {
    const fed = aScorer()
    fed.feed([derived(0, 0, 30)], at(12))
    for (let second = 12; second < 60; second++) fed.feed([aPoint({ timeMs: at(second) })], at(second))
    expect(last(fed)).toBe(0)
    const scored = fed.scorer.stats.scored
    fed.feed([], at(1_000))
    expect(fed.scorer.stats.scored).toBe(scored)
  })

  it('scores a delta over more than a window at once, by its own length', () => {
    const fed = aScorer()
    fed.feed([aDelta({ startMs: at(0), timeMs: at(60), value: 600 })], at(60))
    expect(last(fed)).toBe(10)
  })

  it('finds a service whose requests begin to fail, by rate and by ratio', () => {
    const fed = aScorer({ window: '1s', lateness: '1s' })
    const ratios: number[] = []
    for (let second = 0; second < 120; second++) {
      const points = [0, 1].flatMap(shard => {
        const span = { startMs: at(second) + shard / 1_000, timeMs: at(second + 1), attributes: { operation: 'POST /pay' } }
        return [aDelta({ ...span, name: 'homeostat.span.requests', value: 5 }), aDelta({ ...span, name: 'homeostat.span.errors', value: second < 100 ? 0 : 3 })]
      })
      fed.scorer.begin(at(second + 2))
      for (const point of points) fed.scorer.point(point)
      fed.scorer.close(at(second + 2))
      const anomalies = fed.scorer.take()
      const told = fed.scorer.takeDerived()
      fed.anomalies.push(...anomalies)
      for (const point of told) {
        expect(point).toMatchObject({
          name: 'homeostat.span.error_ratio',
          attributes: { operation: 'POST /pay' },
          entity: { namespace: 'shop', service: 'orders', instance: 'orders-1' }
        })
        if (point.data.kind === 'gauge') ratios.push(point.data.value)
      }
    }
    expect(fed.opened().map(anomaly => [anomaly.metric, anomaly.signal, anomaly.severity])).toEqual([['homeostat.span.errors', 'span', 'critical']])
    expect(Math.abs(fed.opened()[0]!.sinceMs - at(100))).toBeLessThanOrEqual(1_000)
    expect(ratios.length).toBeGreaterThan(100)
    expect(ratios[0]).toBe(0)
    expect(ratios.at(-1)).toBeCloseTo(0.6, 5)
  })

  it('makes no ratio of a lone error among few requests', () => {
    const ratioOf = (requests: number, errors: number): number | undefined => {
      const fed = aScorer()
      fed.scorer.begin(at(30))
      fed.scorer.point(derived(0, 0, requests))
      fed.scorer.point(derived(0, 0, errors, 'homeostat.span.errors'))
      fed.scorer.close(at(60))
      const [point] = fed.scorer.takeDerived()
      return point?.data.kind === 'gauge' ? Number(point.data.value.toFixed(6)) : undefined
    }
    expect([ratioOf(12, 0), ratioOf(12, 1), ratioOf(12, 3), ratioOf(25, 1), ratioOf(4, 4)]).toEqual([0, undefined, 0.25, 0.04, undefined])
  })

  it('treats an error that a well-known sender never logged as zero so far: its burst needs no warm-up', () => {
    const fed = aScorer({ window: '1s', lateness: '1s' })
    const template = (second: number): PointView =>
      aDelta({
        name: 'homeostat.log.template',
        timeMs: at(second + 1),
        startMs: at(second),
        value: 20,
        attributes: { severity: 'ERROR', template: 'abc', pattern: 'cannot reach <ip>' }
      })
    everySecond(fed, 0, 120, second => aPoint({ timeMs: at(second), value: 1 }))
    everySecond(fed, 120, 130, second => [aPoint({ timeMs: at(second), value: 1 }), template(second - 2)])
    expect(fed.opened().map(anomaly => [anomaly.metric, anomaly.signal])).toEqual([['homeostat.log.template', 'log']])
    expect(fed.opened()[0]!.reason).toContain('cannot reach <ip>')
  })
})

describe('scorer: histograms', () => {
  const fast = Array.from({ length: 20 }, (_, i) => 0.02 + i / 1_000)
  const slow = fast.map(value => value + 0.4)

  it('judges mean and p95 of delta histograms', () => {
    const fed = aScorer({ window: '1s', lateness: '1s' })
    everySecond(fed, 1, 120, second => aHistogram(second < 100 ? fast : slow, { timeMs: at(second), startMs: at(second - 1) }))
    expect(
      fed
        .opened()
        .map(anomaly => anomaly.attributes['stat'])
        .sort()
    ).toEqual(['mean', 'p95'])
    for (const anomaly of fed.opened()) expect(Math.abs(anomaly.sinceMs - at(99.5))).toBeLessThanOrEqual(1_000)
    expect(fed.opened().find(anomaly => anomaly.attributes['stat'] === 'p95')!.reason).toMatch(
      /^p95 of http\.server\.request\.duration of shop\/orders@orders-1 is \d+ ms, /
    )
  })

  it('gives cumulative histograms the same verdicts as delta ones, resets included', () => {
    const delta = aScorer({ window: '1s', lateness: '1s' })
    const cumulative = aScorer({ window: '1s', lateness: '1s' })
    let all: number[] = []
    for (let second = 0; second < 130; second++) {
      const values = second < 100 ? fast : slow
      all = second === 50 ? [] : [...all, ...values]
      const startMs = second < 50 ? at(-1) : at(50)
      if (second !== 50 && second !== 51 && second > 0) delta.feed([aHistogram(values, { timeMs: at(second), startMs: at(second - 1) })], at(second))
      cumulative.feed([aHistogram(all, { timeMs: at(second), startMs, temporality: TEMPORALITY.cumulative })], at(second))
    }
    const told = (fed: FedScorer) => fed.opened().map(anomaly => [anomaly.attributes['stat'], anomaly.sinceMs, anomaly.observed!.toFixed(6)])
    expect(told(cumulative)).toEqual(told(delta))
    expect(told(cumulative).length).toBe(2)
  })

  it('takes the windows of two shards in any order', () => {
    const shard = (second: number, number: number, values: number[]): PointView =>
      aHistogram(values, { name: 'homeostat.span.duration', timeMs: at(second + 10), startMs: at(second) + number / 1_000 })
    const points = [shard(0, 0, fast), shard(0, 1, slow), shard(10, 0, slow), shard(10, 1, fast)]
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), order => {
        const fed = aScorer()
        fed.feed(
          order.map(index => points[index]!),
          at(20)
        )
        fed.feed([], at(60))
        expect(fed.scorer.stats).toMatchObject({ scored: 4, late: 0, duplicate: 0 })
      })
    )
  })

  it('merges exponential histograms of two shards, also at different scales', () => {
    const fed = aScorer({ window: '1s', lateness: '1s' })
    const point = (second: number, shard: number, scale: number, offset: number, counts: number[]): PointView =>
      aPoint({
        kind: POINT_KIND.exponentialHistogram,
        temporality: TEMPORALITY.delta,
        name: 'homeostat.span.duration',
        unit: 's',
        timeMs: at(second + 1),
        startMs: at(second) + shard / 1_000,
        count: counts.reduce((a, b) => a + b),
        sum: 1,
        scale,
        positiveOffset: offset,
        buckets: Float64Array.from(counts),
        bucketCount: counts.length
      })
    // 90 values near 1/16 s, 10 near 1 s: the p95 lies among the latter.
    fed.feed([point(0, 0, 4, -64, [90]), point(0, 1, 2, 0, [10]), point(0, 1, 2, 0, [10])], at(1))
    fed.feed([], at(60))
    const { table, stats } = fed.scorer
    expect(stats.duplicate).toBe(1)
    const p95 = [0, 1, 2]
      .map(series => [table.descriptorOf(series).stat, table.page(series).f32[series * 32 + 22]!] as const)
      .find(([stat]) => stat === 'p95')![1]
    expect(p95).toBeGreaterThan(1)
    expect(p95).toBeLessThan(1.3)
  })
})
