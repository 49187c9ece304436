// Replay and evaluation: the same anomalies as live, the same twice; what counts as true, and what a false alarm costs.

import { describe, expect, it } from 'vitest'
import { evaluate, type Label } from '../../../detectors/backtest/evaluate.ts'
import { openReplay, type ReplayedRequest } from '../../../detectors/backtest/replay.ts'
import { seriesId } from '../../../detectors/score/telling.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import type { Anomaly } from '../../../schemas/anomaly.ts'
import type { DerivedPoint } from '../../../schemas/otlp.ts'
import { encodeOtlp } from '../../support/otlp.ts'
import { at, chance, detectConfig } from './builders.ts'

const ENTITY = 'shop/orders@orders-1'
const RESOURCE = {
  attributes: ['shop', 'orders', 'orders-1'].map((stringValue, index) => ({
    key: ['service.namespace', 'service.name', 'service.instance.id'][index],
    value: { stringValue }
  }))
}

const aGauge = (second: number, value: number, name = 'queue.depth'): ReplayedRequest => ({
  atMs: at(second),
  request: encodeOtlp('metrics', {
    resourceMetrics: [
      {
        resource: RESOURCE,
        scopeMetrics: [{ metrics: [{ name, unit: '{item}', gauge: { dataPoints: [{ timeUnixNano: `${at(second)}000000`, asDouble: value }] } }] }]
      }
    ]
  })
})

/** Two hours at 1 s with an hour's silence in the middle and a step of a minute at 3000 s. */
function aHistory(): ReplayedRequest[] {
  const { gaussian } = chance(7)
  const requests: ReplayedRequest[] = []
  for (let second = 0; second < 3_600; second++) requests.push(aGauge(second, 100 + 3 * gaussian() + (second >= 3_000 && second < 3_060 ? 80 : 0)))
  return requests
}

function replayed(requests: readonly ReplayedRequest[], toMs: number, watch?: ReadonlySet<string>) {
  const replay = openReplay({ config: detectConfig(), openReader, encodeDerived, environment: 'test', ...(watch && { watch }) })
  for (const request of requests) replay.take(request)
  replay.finish(toMs)
  return { replay, anomalies: replay.anomalies() }
}

describe('a replay', () => {
  it('finds the step, when it was, and gives the same anomalies the second time', () => {
    const { anomalies, replay } = replayed(aHistory(), at(3_600))
    expect(anomalies.map(({ status, entity, environment }) => [status, entity, environment])).toEqual([
      ['open', ENTITY, 'test'],
      ['close', ENTITY, 'test']
    ])
    expect(anomalies[0]!.sinceMs).toBe(at(3_000))
    expect(anomalies[0]!.detectedAtMs).toBe(at(3_002))
    expect(replayed(aHistory(), at(3_600)).anomalies).toEqual(anomalies)
    expect(replay.stats).toMatchObject({ points: 3_600, scored: 3_600, series: 1 })
    // An hour less the warm-up of a minute, counted by minutes.
    expect(replay.stats.seriesDays * 1_440).toBeGreaterThanOrEqual(58)
    expect(replay.stats.seriesDays * 1_440).toBeLessThanOrEqual(60)
  })

  it('tells an absence at its time, though nothing arrives any more, and counts no series as judged meanwhile', () => {
    const requests = aHistory().filter(({ atMs }) => atMs < at(600))
    const other = Array.from({ length: 1_200 }, (_, second) => aGauge(second, 1, 'clock')).map(request => ({ ...request, request: renamed(request.request) }))
    const all = [...requests, ...other].sort((a, b) => a.atMs - b.atMs)
    const { anomalies, replay } = replayed(all, at(1_200))
    expect(anomalies).toMatchObject([{ detector: 'absence', entity: ENTITY, status: 'open' }])
    expect(anomalies[0]!.detectedAtMs).toBeGreaterThan(at(625))
    expect(anomalies[0]!.detectedAtMs).toBeLessThan(at(640))
    expect(replay.stats.seriesDays * 1_440).toBeLessThan(9 + 19 + 3)
  })

  it('takes a silence of everything for a gap in the history, not for absences', () => {
    const requests = aHistory().map((request, second) => (second < 1_200 ? request : { ...aGauge(second + 3_600, 100) }))
    expect(replayed(requests, at(7_300)).anomalies.filter(({ detector }) => detector === 'absence')).toEqual([])
  })

  it('hears others without their points: then a silence is an absence', () => {
    const own = aHistory().slice(0, 600)
    const others = Array.from({ length: 60 }, (_, index) => ({ atMs: at(600 + 10 * index), request: new Uint8Array(0) }))
    expect(replayed([...own, ...others], at(1_200)).anomalies).toMatchObject([{ detector: 'absence', status: 'open' }])
    expect(replayed(own, at(1_200)).anomalies).toEqual([])
  })

  it('judges derived points after the lateness, however many shards told them', () => {
    const derived = (second: number, count: number): ReplayedRequest => {
      const points: DerivedPoint[] = [0, 1].map(shard => ({
        entity: { namespace: 'shop', service: 'orders', instance: 'orders-1', environment: 'test' },
        name: 'homeostat.span.requests',
        unit: '{request}',
        timeMs: at(second),
        startMs: at(second - 10) + shard / 1_000,
        attributes: { operation: 'GET /' },
        data: { kind: 'deltaSum', value: count / 2 }
      }))
      return { request: encodeDerived(points)[0]!.request, atMs: at(second), derived: { entity: ENTITY, environment: 'test' } }
    }
    const requests = Array.from({ length: 120 }, (_, index) => derived((index + 1) * 10, index < 100 ? 300 : 0.1))
    const { anomalies } = replayed(requests, at(1_300))
    expect(anomalies.filter(({ detector }) => detector === 'adaptive')).toMatchObject([
      { metric: 'homeostat.span.requests', direction: 'below', expected: expect.closeTo(30, 0) }
    ])
  })

  it('keeps the values of a watched series as they were judged', () => {
    const id = seriesId({ entity: ENTITY, environment: 'test' } as never, { name: 'queue.depth', stat: '' } as never, {})
    const { replay } = replayed([aGauge(0, 5), aGauge(1, 7), aGauge(2, 6)], at(10), new Set([id]))
    expect(replay.watched(id)).toEqual({ unit: '{item}', rate: false, values: [5, 7, 6].map((value, second) => ({ atMs: at(second), value })) })
    expect(replay.watched('other')).toBeUndefined()
  })
})

/** The same request of another service, whose name has as many letters. */
function renamed(request: Uint8Array): Uint8Array {
  return Uint8Array.from(Buffer.from(Buffer.from(request).toString('latin1').replaceAll('orders', 'clocks'), 'latin1'))
}

describe('an evaluation', () => {
  const alarm = (second: number, more: Partial<Anomaly> = {}): Anomaly =>
    ({
      id: `${second}`,
      status: 'open',
      shadow: false,
      entity: ENTITY,
      metric: 'queue.depth',
      detectedAtMs: at(second),
      sinceMs: at(second - 3),
      ...more
    }) as Anomaly
  const label = (from: number, to: number, more: Partial<Label> = {}): Label => ({
    entities: [ENTITY],
    startMs: at(from),
    endMs: at(to),
    name: `${from}`,
    ...more
  })
  const settings = { seriesDays: 2, graceMs: 10_000 }

  it('gives precision, recall, delays and the rate of false alarms', () => {
    const anomalies = [alarm(104), alarm(130), alarm(206), alarm(400), alarm(500, { status: 'close' }), alarm(501, { shadow: true })]
    const found = evaluate(anomalies, [label(100, 150), label(200, 250), label(300, 350)], settings)
    expect(found).toMatchObject({
      precision: 3 / 4,
      recall: 2 / 3,
      delayMedianMs: 4_000,
      delayP90Ms: 6_000,
      trueAlarms: 3,
      falseAlarms: 1,
      falseAlarmsPerSeriesDay: 0.5
    })
    expect(found.labels.map(({ delayMs, alarms }) => [delayMs, alarms])).toEqual([
      [4_000, 2],
      [6_000, 1],
      [null, 0]
    ])
  })

  it('does not count an alarm before the label, nor after its grace, nor of another entity or metric', () => {
    const covered = (one: Anomaly, one_: Label): boolean | null => evaluate([one], [one_], settings).alarms[0]!.isTrue
    expect(covered(alarm(99), label(100, 150))).toBe(false)
    expect(covered(alarm(159), label(100, 150))).toBe(true)
    expect(covered(alarm(161), label(100, 150))).toBe(false)
    expect(covered(alarm(120, { entity: 'shop/orders@orders-2' }), label(100, 150))).toBe(false)
    expect(covered(alarm(120, { entity: 'shop/orders@orders-2' }), label(100, 150, { entities: ['shop/orders'] }))).toBe(true)
    expect(covered(alarm(120, { entity: 'shop/orders-db@1' }), label(100, 150, { entities: ['shop/orders'] }))).toBe(false)
    expect(covered(alarm(120), label(100, 150, { metric: 'other' }))).toBe(false)
  })

  it('says unknown where nothing can be said', () => {
    expect(evaluate([alarm(1)], undefined, settings)).toMatchObject({
      precision: null,
      recall: null,
      delayMedianMs: null,
      alarms: [{ isTrue: null }],
      falseAlarmsPerSeriesDay: 0.5
    })
    expect(evaluate([], [label(1, 2)], { seriesDays: 0, graceMs: 0 })).toMatchObject({
      precision: null,
      recall: 0,
      delayMedianMs: null,
      falseAlarmsPerSeriesDay: null
    })
  })
})
