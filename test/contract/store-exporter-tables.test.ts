// Tables that the Collector's ClickHouse exporter made before us: never altered, filled by name, read like our own. Three generations, and
// the JSON variant, which is refused in words. The shapes are those of test/data/clickhouse.

import { readFileSync } from 'node:fs'
import { createClient } from '@clickhouse/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { logRows } from '../../pipeline/store/rows/log-rows.ts'
import { metricRows } from '../../pipeline/store/rows/metric-rows.ts'
import { spanRows } from '../../pipeline/store/rows/span-rows.ts'
import type { TableRow } from '../../pipeline/store/rows/values.ts'
import { clickHouseSignals } from '../../pipeline/store/signals.ts'
import { systemClock } from '../../pipeline/system.ts'
import { readHistory } from '../../models/history.ts'
import type { Logger } from '../../schemas/ports.ts'
import { type ClickHouseProcess, startClickHouse } from '../support/clickhouse-process.ts'
import { quietLogger } from '../support/log-tools.ts'
import { encodeOtlp } from '../support/otlp.ts'
import { storeConfig } from '../support/store-tools.ts'

const DEFAULTS = { entity: '', environment: 'lab' }
/** A whole second: the third generation knows no finer time. */
const START_MS = Math.floor(Date.now() / 1_000) * 1_000 - 600_000
const atMs = (second: number): number => START_MS + second * 1_000
const nano = (second: number): string => `${atMs(second)}000000`

let server: ClickHouseProcess

beforeAll(async () => {
  server = await startClickHouse()
})
afterAll(() => server.stop())

/** A database with the exporter's tables of the fixture. */
async function madeByTheExporter(database: string, fixture: string): Promise<void> {
  const maker = createClient({ url: server.url })
  await maker.command({ query: `CREATE DATABASE ${database}` })
  await maker.close()
  const client = createClient({ url: server.url, database })
  const text = readFileSync(new URL(`../data/clickhouse/${fixture}.sql`, import.meta.url), 'utf8').replace(/^--.*$/gm, '')
  for (const query of text.split(/;\s*\n/).filter(each => each.trim() !== '')) await client.command({ query })
  await client.close()
}

function open(database: string, more: Parameters<typeof storeConfig>[0] = {}, logger: Logger = quietLogger): Promise<ClickHouseStore> {
  return ClickHouseStore.open({ config: storeConfig({ url: server.url, database, ...more }), dataDir: '', clock: systemClock, logger })
}

const shapes = (store: ClickHouseStore): Promise<unknown[]> =>
  store.query(`SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() AND name LIKE 'otel%' ORDER BY name`)

const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'orders' } }] }
const exemplars = [{ timeUnixNano: nano(1), asDouble: 1, filteredAttributes: [] }]
const METRICS = encodeOtlp('metrics', {
  resourceMetrics: [
    {
      resource,
      scopeMetrics: [
        {
          metrics: [
            { name: 'level', gauge: { dataPoints: [{ timeUnixNano: nano(1), asDouble: 4, exemplars }] } },
            {
              name: 'requests',
              sum: {
                aggregationTemporality: 2,
                isMonotonic: true,
                dataPoints: [1, 2].map(n => ({ timeUnixNano: nano(n * 10), startTimeUnixNano: nano(0), asInt: n * 100 }))
              }
            },
            { name: 'errors', sum: { aggregationTemporality: 1, isMonotonic: true, dataPoints: [{ timeUnixNano: nano(20), asInt: 7 }] } },
            {
              name: 'latency',
              histogram: {
                aggregationTemporality: 2,
                dataPoints: [1, 2].map(n => ({ timeUnixNano: nano(n * 10), startTimeUnixNano: nano(0), count: n * 10, sum: n * n }))
              }
            },
            {
              name: 'homeostat.span.duration',
              exponentialHistogram: {
                aggregationTemporality: 1,
                dataPoints: [{ timeUnixNano: nano(20), count: 4, sum: 2, scale: 0, positive: { offset: 0, bucketCounts: [4] } }]
              }
            },
            {
              name: 'homeostat.feature',
              gauge: { dataPoints: [{ timeUnixNano: nano(20), asDouble: 1, attributes: [{ key: 'entity', value: { stringValue: 'orders' } }] }] }
            }
          ]
        }
      ]
    }
  ]
})
const LOGS = encodeOtlp('logs', {
  resourceLogs: [
    { resource, scopeLogs: [{ logRecords: [{ timeUnixNano: nano(5), severityNumber: 17, severityText: 'ERROR', body: { stringValue: 'boom' } }] }] }
  ]
})
const SPANS = encodeOtlp('spans', {
  resourceSpans: [
    {
      resource,
      scopeSpans: [
        {
          spans: [
            {
              traceId: Buffer.alloc(16, 1),
              spanId: Buffer.alloc(8, 1),
              name: 'GET /',
              kind: 2,
              status: { code: 2 },
              startTimeUnixNano: nano(5),
              endTimeUnixNano: `${atMs(5) + 250}000000`
            }
          ]
        }
      ]
    }
  ]
})

async function fill(store: ClickHouseStore): Promise<void> {
  const rows: readonly TableRow[] = [metricRows(METRICS, DEFAULTS, 0), logRows(LOGS, DEFAULTS, 0), spanRows(SPANS, DEFAULTS, 0)].flatMap(
    ({ rows: made }) => made
  )
  for (const [index, { table, row }] of rows.entries()) await store.insert(table, [row], { token: `row-${index}` })
}

describe.each(['generation-1', 'generation-2', 'generation-3'])('%s', fixture => {
  const database = fixture.replace('-', '_')
  let store: ClickHouseStore
  let before: unknown[]
  const notices: string[] = []
  const logger: Logger = { ...quietLogger, warn: (_fields, message) => void notices.push(message), child: () => logger }

  beforeAll(async () => {
    await madeByTheExporter(database, fixture)
    const bare = await ClickHouseStore.open({
      config: storeConfig({ url: server.url, database }),
      dataDir: '',
      clock: systemClock,
      logger: quietLogger,
      migrate: false
    })
    before = await shapes(bare)
    await bare.close()
    store = await open(database, {}, logger)
    await fill(store)
  })
  afterAll(() => store.close())

  test('its tables are told from ours by generation, and stay exactly as they were, whatever the configured time to live', async () => {
    const tables = await store.telemetryTables()
    const generation = fixture.at(-1)!
    expect(tables).toHaveLength(7)
    expect(tables.map(each => each.generation)).toContain(generation)
    expect(tables.map(each => each.generation)).not.toContain('ours')
    const changed = await open(database, { telemetryTtlDays: 3 })
    expect((await changed.plan()).statements).toEqual([])
    await changed.close()
    expect(await shapes(store)).toEqual(before)
  })

  test('a person is told what that means, table by table', () => {
    expect(notices.filter(each => each.includes("made by the Collector's exporter"))).toHaveLength(7)
    expect(notices.join('\n')).toContain('ALTER TABLE otel_logs MODIFY SETTING non_replicated_deduplication_window')
    expect(notices.some(each => each === 'otel_logs has no EventName: these values are not stored')).toBe(fixture !== 'generation-3')
    expect(notices.some(each => each.startsWith('otel_metrics_histogram has no'))).toBe(fixture === 'generation-1')
  })

  test('signals are those of our own tables', async () => {
    const signals = clickHouseSignals(store)
    const series = (metric: string) => signals.series({ entity: 'orders', metric, fromMs: atMs(1), toMs: atMs(60) })
    expect(await series('level')).toEqual([{ atMs: atMs(1), value: 4 }])
    expect(await series('requests')).toEqual([
      { atMs: atMs(10), value: 10 },
      { atMs: atMs(20), value: 10 }
    ])
    expect(await series('errors')).toEqual([{ atMs: atMs(20), value: 7 }])
    expect(await series('latency')).toEqual([
      { atMs: atMs(10), value: 0.1 },
      { atMs: atMs(20), value: 0.3 }
    ])
    expect(await series('homeostat.span.duration')).toEqual([{ atMs: atMs(20), value: 0.5 }])
    expect(await signals.logs('orders', atMs(0), atMs(60), 10)).toEqual([{ atMs: atMs(5), severity: 'ERROR', body: 'boom' }])
    expect(await signals.spans('orders', atMs(0), atMs(60), 10)).toEqual([
      { atMs: atMs(5), name: 'GET /', kind: 'server', durationMs: 250, status: 'error', message: '' }
    ])
  })

  test('views, the lookup of traces and the history for training work on them', async () => {
    expect(await readOnlyQuery(store, 'SELECT count() AS rows FROM homeostat_scorecard', { rowsMax: 1 })).toEqual([{ rows: 10 }])
    expect(await store.query('SELECT uniqExact(TraceId) AS traces FROM otel_traces_trace_id_ts')).toEqual([{ traces: 1 }])
    expect((await readHistory(store, atMs(0))).rows.map(row => row.atMs)).toEqual([atMs(20)])
  })
})

test('tables with JSON attributes are refused by name, before anything is written into them', async () => {
  await madeByTheExporter('json_attributes', 'json')
  await expect(open('json_attributes')).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringMatching(/json_attributes.otel_logs keeps attributes as JSON.*otel_metrics_gauge.*set store.database/)
  })
})

test('our own tables need nothing said and nothing changed', async () => {
  const store = await open('own')
  const tables = await store.telemetryTables()
  expect(tables.map(({ generation, notices }) => ({ generation, notices }))).toEqual(tables.map(() => ({ generation: 'ours', notices: [] })))
  await fill(store)
  expect(await clickHouseSignals(store).series({ entity: 'orders', metric: 'requests', fromMs: atMs(1), toMs: atMs(60) })).toHaveLength(2)
  await store.close()
})
