// The history of ClickHouse as it is replayed: what was sent comes back point for point, in order, and is judged as it was live.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openReplay } from '../../detectors/backtest/replay.ts'
import { type HistoryQuery, historyRequests } from '../../pipeline/cli/backtest-history.ts'
import type { HistoryRequest } from '../../pipeline/cli/backtest-request.ts'
import { openReader } from '../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../pipeline/otlp/writer.ts'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { metricRows } from '../../pipeline/store/rows/metric-rows.ts'
import { configSchema } from '../../schemas/config.ts'
import type { PointView } from '../../schemas/otlp.ts'
import { encodeOtlp } from '../support/otlp.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const START_MS = Date.parse('2026-03-01T14:00:00Z')
const SECONDS = 400
const nanos = (second: number): string => `${START_MS + second * 1_000}000000`
const resource = (instance: string) => ({
  attributes: Object.entries({
    'service.namespace': 'shop',
    'service.name': "o'rders",
    'service.instance.id': instance,
    'deployment.environment.name': 'test'
  }).map(([key, stringValue]) => ({ key, value: { stringValue } }))
})
const point = (second: number, more: object) => ({ timeUnixNano: nanos(second), startTimeUnixNano: nanos(0), ...more })

/** A request of every kind of metric at one second; a step of the gauge at 300 s. */
function sent(second: number, instance: string): Uint8Array {
  const wave = Math.sin(second) + Math.sin(second * 1.7)
  const metrics = [
    { name: 'queue.depth', unit: '{item}', gauge: { dataPoints: [point(second, { asDouble: 100 + 3 * wave + (second >= 300 ? 90 : 0) })] } },
    {
      name: 'jobs',
      unit: '{job}',
      sum: {
        aggregationTemporality: 2,
        isMonotonic: true,
        dataPoints: [1, 2].map(worker => point(second, { asInt: 50 * worker * second, attributes: [{ key: 'worker', value: { intValue: worker } }] }))
      }
    },
    {
      name: 'request.duration',
      unit: 's',
      histogram: {
        aggregationTemporality: 2,
        dataPoints: [
          point(second, {
            count: 10 * second,
            sum: 0.5 * second,
            min: 0.01,
            max: 0.9,
            explicitBounds: [0.05, 0.1, 0.5],
            bucketCounts: [4 * second, 3 * second, 2 * second, second]
          })
        ]
      }
    },
    {
      name: 'batch.size',
      unit: 'By',
      exponentialHistogram: {
        aggregationTemporality: 1,
        dataPoints: [
          point(second, {
            startTimeUnixNano: nanos(second - 1),
            count: 6,
            sum: 60,
            scale: 2,
            zeroCount: 1,
            positive: { offset: -3, bucketCounts: [1, 0, 2] },
            negative: { offset: 1, bucketCounts: [2] }
          })
        ]
      }
    },
    {
      name: 'pause',
      unit: 's',
      summary: {
        dataPoints: [
          point(second, {
            count: second,
            sum: second * 0.1,
            quantileValues: [
              { quantile: 0.5, value: 0.1 },
              { quantile: 0.99, value: 0.3 + wave / 100 }
            ]
          })
        ]
      }
    }
  ]
  return encodeOtlp('metrics', { resourceMetrics: [{ resource: resource(instance), scopeMetrics: [{ scope: { name: 's' }, metrics }] }] })
}

const requests = Array.from({ length: SECONDS }, (_, second) =>
  ['a', 'b'].map(instance => ({ request: sent(second + 1, instance), atMs: START_MS + (second + 1) * 1_000 }))
).flat()

let fixture: TestStore
const sql = <Row>(statement: string): Promise<Row[]> => readOnlyQuery(fixture.store, statement, { rowsMax: 10_000 }) as Promise<Row[]>
const query: HistoryQuery = { fromMs: START_MS, toMs: START_MS + (SECONDS + 60) * 1_000, environment: 'none' }

beforeAll(async () => {
  fixture = await openTestStore()
  const tables = new Map<string, Record<string, unknown>[]>()
  for (const { request } of requests) {
    for (const { table, row } of metricRows(request, { entity: '', environment: 'none' }, START_MS).rows) tables.set(table, [...(tables.get(table) ?? []), row])
  }
  // Another order than that of time: the query must bring it back.
  for (const [table, rows] of tables) await fixture.store.insert(table, rows.reverse(), { token: `history-${table}` })
})
afterAll(() => fixture.remove())

async function history(more: Partial<HistoryQuery> = {}, pageRows?: number): Promise<HistoryRequest[]> {
  const all: HistoryRequest[] = []
  for await (const page of historyRequests({ sql }, { ...query, ...more }, pageRows)) all.push(...page.requests)
  return all
}

/** What a reader sees of requests, point by point, sorted. */
function points(all: readonly { request: Uint8Array }[]): string[] {
  const reader = openReader({ fallback: { entity: 'unknown', environment: 'none' }, seed: 1 })
  const seen: string[] = []
  const sink = {
    point: (view: PointView) => {
      const {
        resource: of,
        kind,
        temporality,
        monotonic,
        timeMs,
        startMs,
        value,
        count,
        sum,
        min,
        max,
        scale,
        zeroCount,
        positiveOffset,
        negativeOffset
      } = view
      const lists = [
        view.bounds.slice(0, view.boundCount),
        view.buckets.slice(0, view.bucketCount),
        view.negativeBuckets.slice(0, view.negativeBucketCount),
        view.quantiles.slice(0, view.quantileCount),
        view.quantileValues.slice(0, view.quantileCount)
      ].map(list => [...list].join())
      const numbers =
        kind < 2 ? [value] : kind === 4 ? [count, sum] : [count, sum, min, max, ...(kind === 3 ? [scale, zeroCount, positiveOffset, negativeOffset] : [])]
      seen.push(
        JSON.stringify([
          view.name(),
          view.unit(),
          of.entity,
          of.environment,
          kind,
          temporality,
          monotonic,
          timeMs,
          startMs,
          numbers.map(String),
          lists,
          view.attributes()
        ])
      )
    }
  }
  for (const { request } of all) expect(reader.readMetrics(request, sink).rejected).toBe(0)
  return seen.sort()
}

const judged = (all: readonly HistoryRequest[]) => {
  const { detect, environment } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  const replay = openReplay({ config: detect, openReader, encodeDerived, environment })
  for (const request of all) replay.take(request)
  replay.finish(query.toMs)
  return { anomalies: replay.anomalies(), stats: replay.stats }
}

describe('history', () => {
  test('brings back every point of every kind, in the order of time', async () => {
    const back = await history()
    expect(points(back)).toEqual(points(requests))
    const times = back.map(({ atMs }) => atMs)
    expect(times).toEqual([...times].sort((a, b) => a - b))
  })

  test('loses nothing between pages, though many points have the same time', async () => {
    const range = { toMs: START_MS + 60_000 }
    expect(points(await history(range, 7))).toEqual(points(requests.filter(({ atMs }) => atMs < range.toMs)))
  })

  test('is judged as what was sent: the same anomalies, bit for bit, ids included', async () => {
    const live = judged(requests)
    expect(live.anomalies.filter(({ metric, status }) => metric === 'queue.depth' && status === 'open')).toHaveLength(2)
    const replayed = judged(await history())
    expect(replayed.anomalies).toHaveLength(live.anomalies.length)
    expect(new Set(replayed.anomalies.map(anomaly => JSON.stringify(anomaly)))).toEqual(new Set(live.anomalies.map(anomaly => JSON.stringify(anomaly))))
    expect(replayed.stats).toEqual(live.stats)
  })

  test('of one entity and metric holds nothing else, and beats of the others', async () => {
    const own = await history({ entity: "shop/o'rders@a", metrics: ['queue.depth'] })
    expect(points(own)).toHaveLength(SECONDS)
    expect(own.filter(({ request }) => request.length === 0).length).toBeGreaterThan(SECONDS / 6)
    expect(points(await history({ entity: "shop/o'rders" }))).toEqual(points(requests))
    expect(points(await history({ entity: 'shop/other' }))).toEqual([])
  })

  test('jumps over times without telemetry', async () => {
    let asked = 0
    const counted = <Row>(statement: string): Promise<Row[]> => {
      asked++
      return sql(statement)
    }
    const all: HistoryRequest[] = []
    const range = { fromMs: START_MS - 60 * 86_400_000, toMs: START_MS + 90 * 86_400_000, metrics: ['queue.depth'] }
    for await (const page of historyRequests({ sql: counted }, { ...query, ...range })) all.push(...page.requests)
    expect(points(all)).toHaveLength(2 * SECONDS)
    expect(asked).toBeLessThan(30)
  })

  test('is cut at the times that are asked for', async () => {
    const some = await history({ fromMs: START_MS + 10_000, toMs: START_MS + 20_000, metrics: ['queue.depth'] })
    expect(points(some)).toHaveLength(20)
  })
})
