import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LearnedDetector } from '../../../detectors/score/model-hook.ts'
import { anomalySchema } from '../../../schemas/anomaly.ts'
import { POINT_KIND, type PointView, TEMPORALITY } from '../../../schemas/otlp.ts'
import { aCounter, aDelta, aHistogram, aPoint, aScorer, chance, type FedScorer, START_MS } from './builders.ts'

const at = (second: number): number => START_MS + second * 1_000
const MEMORY = { name: 'process.memory.usage', unit: 'By' }
const MB = 1e6

/** Feeds one point a second, made by `point`. */
function everySecond(fed: FedScorer, from: number, to: number, point: (second: number) => PointView | PointView[]): void {
  for (let second = from; second < to; second++) fed.feed([point(second)].flat(), at(second))
}

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
    for (const second of [1, 2, 2, 3, 1, 3, 4]) fed.feed([aPoint({ timeMs: at(second), value: second })], at(9))
    expect(fed.scorer.stats).toMatchObject({ points: 7, scored: 4, duplicate: 2, late: 1 })
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
      fed.scorer.advance(at(second + 2), undefined)
      const { anomalies, derived: told } = fed.scorer.take()
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

describe('scorer: state', () => {
  /** A busy minute and a half of four entities with all kinds of points; errors begin at 70 s. */
  function traffic(seed: number): PointView[][] {
    const { gaussian, uniform } = chance(seed)
    const totals = new Map<string, number>()
    const seconds: PointView[][] = []
    for (let second = 0; second < 100; second++) {
      const points: PointView[] = []
      for (const entity of ['a', 'b', 'c@1', 'c@2']) {
        const broken = entity === 'b' && second >= 70
        const total = (totals.get(entity) ?? 0) + 10 + (broken ? 500 : 0)
        totals.set(entity, total)
        points.push(
          aPoint({ entity, ...MEMORY, timeMs: at(second), value: 60 * MB + MB * gaussian() + (broken ? 200 * MB : 0) }),
          aCounter({ entity, name: 'io.errors', timeMs: at(second), value: total }),
          aHistogram([0.01, 0.02, 0.03, 0.04, broken ? 3 : 0.05], { entity, timeMs: at(second), startMs: at(second - 1) }),
          aDelta({ entity, name: 'homeostat.span.errors', timeMs: at(second), startMs: at(second - 1) + 0.001, value: broken ? 9 : uniform() < 0.02 ? 1 : 0 }),
          aDelta({ entity, name: 'homeostat.span.requests', timeMs: at(second), startMs: at(second - 1) + 0.001, value: 10 })
        )
      }
      seconds.push(points)
    }
    return seconds
  }
  const SETTINGS = { window: '1s', lateness: '1s', warmupPoints: 30, rules: [{ name: 'mem', metric: 'process.memory.usage', above: 100 * MB, for: '3s' }] }

  it('gives the same verdicts from a checkpoint taken at any second as without one', () => {
    const seconds = traffic(4)
    const whole = aScorer(SETTINGS)
    for (const [second, points] of seconds.entries()) whole.feed(points, at(second))
    expect(whole.opened().length).toBeGreaterThanOrEqual(4)
    for (const cut of [0, 1, 29, 30, 69, 71, 72, 73, 75, 90]) {
      const first = aScorer(SETTINGS)
      const saved = new Map<string, Uint8Array>()
      for (const [second, points] of seconds.slice(0, cut).entries()) {
        first.feed(points, at(second))
        // Several incremental saves, as the worker writes them.
        if (second % 10 === 3) for (const [name, bytes] of first.scorer.takeDirty()) saved.set(name, bytes)
      }
      for (const [name, bytes] of first.scorer.takeDirty()) saved.set(name, bytes)
      const second = aScorer(SETTINGS, { parts: saved })
      for (const [index, points] of seconds.slice(cut).entries()) second.feed(points, at(cut + index))
      expect([...first.anomalies, ...second.anomalies], `cut ${cut}`).toEqual(whole.anomalies)
    }
  })

  it('does not depend on the order of series within a second', () => {
    const seconds = traffic(5)
    const verdicts = (shuffle: (points: PointView[], second: number) => PointView[]) => {
      const fed = aScorer(SETTINGS)
      for (const [second, points] of seconds.entries()) fed.feed(shuffle([...points], second), at(second))
      return fed.anomalies.map(anomaly => `${anomaly.id} ${anomaly.status} ${anomaly.score}`).sort()
    }
    const inOrder = verdicts(points => points)
    expect(inOrder.length).toBeGreaterThan(0)
    expect(verdicts(points => points.reverse())).toEqual(inOrder)
    const { uniform } = chance(8)
    expect(
      verdicts(points =>
        points
          .map(point => [uniform(), point] as const)
          .sort((a, b) => a[0] - b[0])
          .map(([, point]) => point)
      )
    ).toEqual(inOrder)
  })

  it('changes nothing when every point is delivered twice', () => {
    const seconds = traffic(6)
    const once = aScorer(SETTINGS)
    const twice = aScorer(SETTINGS)
    for (const [second, points] of seconds.entries()) {
      once.feed(points, at(second))
      twice.feed([...points, ...points], at(second))
    }
    expect(twice.anomalies).toEqual(once.anomalies)
    expect(twice.scorer.stats.scored).toBe(once.scorer.stats.scored)
  })

  it('gives the ids again when the state is lost and the log is read with other keys', () => {
    const seconds = traffic(7)
    const rekeyed = (point: PointView): PointView => ({ ...point, keyLow: point.keyLow ^ 0x5bd1e995, keyHigh: point.keyHigh ^ 0x1b873593 })
    const first = aScorer(SETTINGS)
    const second = aScorer(SETTINGS)
    for (const [index, points] of seconds.entries()) {
      first.feed(points, at(index))
      second.feed(points.map(rekeyed), at(index))
    }
    expect(second.anomalies).toEqual(first.anomalies)
    expect(first.anomalies.length).toBeGreaterThan(0)
  })
})
