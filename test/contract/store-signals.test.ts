// Raw signals from real tables: rows written from OTLP are found again by entity, metric, attributes and time.

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ENTITY_SQL, serviceNames } from '../../pipeline/store/entity-sql.ts'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { logRows } from '../../pipeline/store/rows/log-rows.ts'
import { metricRows, type SignalRows } from '../../pipeline/store/rows/metric-rows.ts'
import { spanRows } from '../../pipeline/store/rows/span-rows.ts'
import { clickHouseSignals } from '../../pipeline/store/signals.ts'
import { ENTITY_ATTRIBUTES, entityIdentity } from '../../schemas/entity.ts'
import type { Signals } from '../../schemas/ports.ts'
import { encodeOtlp } from '../support/otlp.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const DEFAULTS = { entity: '', environment: 'lab' }
const START_MS = Date.now() - 600_000
const atMs = (second: number): number => START_MS + second * 1_000
const nano = (second: number): string => `${atMs(second)}000000`

let opened: TestStore
let signals: Signals
let inserts = 0

beforeAll(async () => {
  opened = await openTestStore()
  signals = clickHouseSignals(opened.store)
})
afterAll(() => opened.remove())

async function insert({ rows }: Pick<SignalRows, 'rows'>): Promise<void> {
  for (const { table, row } of rows) await opened.store.insert(table, [row], { token: `signals-${++inserts}` })
}
const resource = (attributes: Record<string, string>): object => ({
  attributes: Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } }))
})
const insertMetric = (identity: Record<string, string>, metric: object): Promise<void> =>
  insert(metricRows(encodeOtlp('metrics', { resourceMetrics: [{ resource: resource(identity), scopeMetrics: [{ metrics: [metric] }] }] }), DEFAULTS, START_MS))
const attributes = (pairs: Record<string, string>): object[] => Object.entries(pairs).map(([key, stringValue]) => ({ key, value: { stringValue } }))

describe('series', () => {
  test("a gauge of one entity, in the window only, and not another instance's", async () => {
    const gauge = (value: number): object => ({
      name: 'queue.size',
      gauge: { dataPoints: [1, 2, 3].map(n => ({ timeUnixNano: nano(n), asDouble: value * n })) }
    })
    await insertMetric({ 'service.name': 'worker', 'service.instance.id': 'worker-1' }, gauge(10))
    await insertMetric({ 'service.name': 'worker', 'service.instance.id': 'worker-2' }, gauge(100))
    expect(await signals.series({ entity: 'worker@worker-1', metric: 'queue.size', fromMs: atMs(2), toMs: atMs(3) })).toEqual([
      { atMs: atMs(2), value: 20 },
      { atMs: atMs(3), value: 30 }
    ])
    expect((await signals.series({ entity: 'worker', metric: 'queue.size', fromMs: atMs(3), toMs: atMs(9) })).map(({ value }) => value).sort()).toEqual([
      30, 300
    ])
    expect(await signals.series({ entity: 'work', metric: 'queue.size', fromMs: atMs(0), toMs: atMs(9) })).toEqual([])
    expect(await signals.series({ entity: 'worker@worker-1', metric: 'nothing', fromMs: atMs(0), toMs: atMs(9) })).toEqual([])
  })

  test('what detection names its statistic is no attribute of the telemetry', async () => {
    await insertMetric(
      { 'service.name': 'mill', 'service.instance.id': 'mill-1' },
      {
        name: 'grind.duration',
        histogram: { aggregationTemporality: 1, dataPoints: [{ timeUnixNano: nano(1), count: 2, sum: 5, attributes: attributes({ grain: 'rye' }) }] }
      }
    )
    const query = { entity: 'mill', metric: 'grind.duration', fromMs: atMs(0), toMs: atMs(9) }
    expect(await signals.series({ ...query, attributes: { grain: 'rye', stat: 'p95' } })).toEqual([{ atMs: atMs(1), value: 2.5 }])
    expect(await signals.series({ ...query, attributes: { grain: 'oat', stat: 'p95' } })).toEqual([])
  })

  test('a counter is a rate by attribute set, and a restarted process is another series', async () => {
    const sum = (values: [second: number, route: string, value: number][], startS: number): object => ({
      name: 'requests',
      sum: {
        dataPoints: values.map(([second, route, asInt]) => ({
          timeUnixNano: nano(second),
          startTimeUnixNano: nano(startS),
          asInt,
          attributes: attributes({ route })
        })),
        aggregationTemporality: 2,
        isMonotonic: true
      }
    })
    const identity = (id: string): Record<string, string> => ({ 'service.name': 'gateway', 'host.name': 'h', 'service.instance.id': id })
    await insertMetric(
      identity('0b7e5b3a-9c5f-4f0e-8f7a-1f2e3d4c5b6a'),
      sum(
        [
          [10, '/a', 100],
          [20, '/a', 200],
          [10, '/b', 50],
          [20, '/b', 60]
        ],
        0
      )
    )
    await insertMetric(identity('1b7e5b3a-9c5f-4f0e-8f7a-1f2e3d4c5b6a'), sum([[30, '/a', 40]], 25))
    const a = await signals.series({ entity: 'gateway@h', metric: 'requests', attributes: { route: '/a' }, fromMs: atMs(15), toMs: atMs(40) })
    expect(a).toEqual([
      { atMs: atMs(20), value: 10 },
      { atMs: atMs(30), value: 8 }
    ])
    expect(await signals.series({ entity: 'gateway@h', metric: 'requests', fromMs: atMs(15), toMs: atMs(40) })).toHaveLength(3)
    expect(await signals.series({ entity: 'gateway@h', metric: 'requests', attributes: { route: '/c' }, fromMs: atMs(0), toMs: atMs(40) })).toEqual([])
  })

  test('delta sums are values; histograms of both kinds are means', async () => {
    const point = (second: number, more: object): object => ({ timeUnixNano: nano(second), ...more })
    const identity = { 'service.namespace': 'shop', 'service.name': 'payments' }
    await insertMetric(identity, { name: 'homeostat.span.errors', sum: { dataPoints: [point(1, { asInt: 3 })], aggregationTemporality: 1, isMonotonic: true } })
    await insertMetric(identity, {
      name: 'explicit',
      histogram: { dataPoints: [point(1, { count: 2, sum: 4 }), point(2, { count: 6, sum: 24 })], aggregationTemporality: 2 }
    })
    const exponential = { dataPoints: [point(1, { count: 4, sum: 2, scale: 3, positive: { offset: 1, bucketCounts: [4] } })], aggregationTemporality: 1 }
    await insertMetric(identity, { name: 'homeostat.span.duration', exponentialHistogram: exponential })
    const series = async (metric: string): Promise<number[]> =>
      (await signals.series({ entity: 'shop/payments', metric, fromMs: atMs(0), toMs: atMs(9) })).map(each => each.value)
    expect(await series('homeostat.span.errors')).toEqual([3])
    expect(await series('explicit')).toEqual([5])
    expect(await series('homeostat.span.duration')).toEqual([0.5])
  })

  test('a point flagged as without a value is no sample', async () => {
    await insertMetric(
      { 'service.name': 'flags' },
      {
        name: 'g',
        gauge: {
          dataPoints: [
            { timeUnixNano: nano(1), flags: 1 },
            { timeUnixNano: nano(2), asInt: 0 }
          ]
        }
      }
    )
    expect(await signals.series({ entity: 'flags', metric: 'g', fromMs: atMs(0), toMs: atMs(9) })).toEqual([{ atMs: atMs(2), value: 0 }])
  })
})

describe('an entity that lives in two environments', () => {
  const identity = (environment: string): Record<string, string> => ({
    'service.name': 'twin',
    'service.instance.id': 'twin-1',
    ...(environment && { 'deployment.environment.name': environment })
  })
  const inEnvironment = (environment?: string) => ({
    entity: 'twin@twin-1',
    metric: 'size',
    fromMs: atMs(0),
    toMs: atMs(9),
    ...(environment && { environment })
  })

  beforeAll(async () => {
    for (const [index, environment] of ['east', 'west', ''].entries()) {
      await insertMetric(identity(environment), { name: 'size', gauge: { dataPoints: [{ timeUnixNano: nano(1 + index), asDouble: index }] } })
      const logRecords = [{ timeUnixNano: nano(1 + index), body: { stringValue: environment || 'unnamed' } }]
      const request = encodeOtlp('logs', { resourceLogs: [{ resource: resource(identity(environment)), scopeLogs: [{ logRecords }] }] })
      await insert(logRows(request, DEFAULTS, START_MS))
    }
  })

  test('is read in the one that is asked for, with telemetry that names none', async () => {
    expect((await signals.series(inEnvironment('east'))).map(({ value }) => value)).toEqual([0, 2])
    expect((await signals.series(inEnvironment('west'))).map(({ value }) => value)).toEqual([1, 2])
    expect((await signals.logs('twin@twin-1', atMs(0), atMs(9), 9, 'west')).map(({ body }) => body)).toEqual(['west', 'unnamed'])
  })

  test('is read in all of them when none is asked for', async () => {
    expect((await signals.series(inEnvironment())).map(({ value }) => value).sort()).toEqual([0, 1, 2])
    expect(await signals.logs('twin@twin-1', atMs(0), atMs(9), 9)).toHaveLength(3)
  })
})

describe('logs and spans', () => {
  test('the newest lines of an entity, oldest first, and no more than asked', async () => {
    const record = (second: number, text: string, more: object = {}): object => ({
      timeUnixNano: nano(second),
      body: { stringValue: text },
      severityNumber: 17,
      ...more
    })
    const logRecords = [record(1, 'one'), record(2, 'two', { severityText: 'ERROR' }), record(3, 'three')]
    await insert(
      logRows(encodeOtlp('logs', { resourceLogs: [{ resource: resource({ 'host.name': 'web-7' }), scopeLogs: [{ logRecords }] }] }), DEFAULTS, START_MS)
    )
    expect(await signals.logs('@web-7', atMs(0), atMs(9), 2)).toEqual([
      { atMs: atMs(2), severity: 'ERROR', body: 'two' },
      { atMs: atMs(3), severity: '17', body: 'three' }
    ])
    expect(await signals.logs('@web-8', atMs(0), atMs(9), 2)).toEqual([])
  })

  test('spans with kind, status and duration', async () => {
    const span = {
      traceId: Buffer.alloc(16, 1),
      spanId: Buffer.alloc(8, 1),
      name: 'GET /',
      kind: 2,
      status: { code: 2, message: 'no' },
      startTimeUnixNano: nano(1),
      endTimeUnixNano: `${atMs(1) + 5}000000`
    }
    const request = encodeOtlp('spans', { resourceSpans: [{ resource: resource({ 'service.name': 'orders' }), scopeSpans: [{ spans: [span] }] }] })
    await insert(spanRows(request, DEFAULTS, START_MS))
    expect(await signals.spans('orders', atMs(0), atMs(9), 10)).toEqual([
      { atMs: atMs(1), name: 'GET /', kind: 'server', durationMs: 5, status: 'error', message: 'no' }
    ])
  })
})

describe('the entity in SQL', () => {
  const text = fc.constantFrom('', 'a', 'shop', 'orders', 'x/y', 'a@b', 'orders-1', '0b7e5b3a-9c5f-4f0e-8f7a-1f2e3d4c5b6a', '0B7E5B3A9C5F4F0E8F7A1F2E3D4C5B6A')
  const resources = fc.array(fc.record(Object.fromEntries(ENTITY_ATTRIBUTES.map(name => [name, fc.option(text, { nil: undefined })]))), {
    minLength: 1,
    maxLength: 200
  })

  test('is the entity that the detectors compute, for any resource; and its row is found by its service name', async () => {
    await fc.assert(
      fc.asyncProperty(resources, async made => {
        const maps = made.map(one => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined)) as Record<string, string>)
        const rows = await opened.store.query<{ entity: string }>(
          `SELECT ${ENTITY_SQL} AS entity FROM (SELECT arrayJoin({maps:Array(Map(String, String))}) AS ResourceAttributes)`,
          { maps }
        )
        const expected = maps.map(map => entityIdentity(name => map[name], DEFAULTS).entity)
        expect(rows.map(row => row.entity)).toEqual(expected)
        for (const [index, map] of maps.entries()) expect(serviceNames(expected[index]!)).toContain(map['service.name'] ?? '')
      }),
      { numRuns: 20, seed: 7 }
    )
  })
})

describe('SQL of people', () => {
  test('reads tables, views and system tables, at most the rows asked for', async () => {
    expect(await readOnlyQuery(opened.store, 'SELECT number FROM numbers(10);', { rowsMax: 3 })).toEqual([{ number: 0 }, { number: 1 }, { number: 2 }])
    expect(await readOnlyQuery(opened.store, 'SELECT count() AS n FROM homeostat_scorecard', { rowsMax: 3 })).toEqual([{ n: 10 }])
    expect((await readOnlyQuery(opened.store, 'SHOW TABLES', { rowsMax: 100 })).length).toBeGreaterThan(20)
    expect((await readOnlyQuery(opened.store, 'DESCRIBE otel_logs', { rowsMax: 100 }))[0]).toMatchObject({ name: 'Timestamp', type: 'DateTime64(9)' })
    expect((await readOnlyQuery(opened.store, 'SELECT number FROM numbers(10000000)', { rowsMax: 1e9 })).length).toBeLessThanOrEqual(100_000)
  })

  test.each([
    ['writing', 'TRUNCATE TABLE otel_logs'],
    ['a file', "SELECT * FROM file('/etc/hostname', 'LineAsString')"],
    ['the network', "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"],
    ['undoing the lock', 'SET readonly = 0'],
    ['undoing the lock in the statement', 'SELECT 1 SETTINGS readonly = 0'],
    ['lifting a limit', 'SELECT 1 SETTINGS max_memory_usage = 0']
  ])('the connection itself refuses %s', async (_, sql) => {
    await expect(opened.store.queryReadOnly(sql)).rejects.toMatchObject({ code: 'store_refused' })
  })

  test('a read-only statement leaves the writing connection as it was', async () => {
    await readOnlyQuery(opened.store, 'SELECT 1', { rowsMax: 1 })
    await insertMetric({ 'service.name': 'after' }, { name: 'g', gauge: { dataPoints: [{ timeUnixNano: nano(1), asInt: 1 }] } })
    expect(await signals.series({ entity: 'after', metric: 'g', fromMs: atMs(0), toMs: atMs(9) })).toHaveLength(1)
  })
})
