// The telemetry history of ClickHouse, streamed in the order of event time, a page of rows at a time.
//
// Flow: `anomalies show`, `backtest` -> history -> requests (backtest-request.ts). Through the console of the instance that runs
// (an embedded engine has one owner), else straight from ClickHouse. Memory: one page. Nothing is written.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { LoadedConfig } from '../config/load.ts'
import { readInstance } from '../instance.ts'
import { serverReads } from '../roles/store-reads.ts'
import { openLogger } from '../self/logger.ts'
import { ENTITY_SQL } from '../store/entity-sql.ts'
import { systemClock } from '../system.ts'
import { type HistoryRequest, type PointRow, requestBuilder } from './backtest-request.ts'
import { openClient } from './client.ts'

/** One reading statement of at most 10,000 rows (store-reads.ts). */
export interface History {
  sql<Row = Record<string, unknown>>(statement: string): Promise<Row[]>
  close(): Promise<void>
}

/** @throws AppError `not_found` when nothing was ever stored there, `usage`, `timeout`, `store_unavailable` */
export async function openHistory(loaded: LoadedConfig): Promise<History> {
  const { config } = loaded
  const embedded = config.store.url === undefined
  const running = readInstance(config.dataDir) !== undefined
  if (running || (embedded && !existsSync(join(config.dataDir, 'clickhouse')))) {
    try {
      const client = openClient(loaded)
      return { sql: query => client.post('/api/sql', { query }), close: async () => undefined }
    } catch (error) {
      // A process without a console beside a server: that one answers everybody.
      if (embedded) throw error
    }
  }
  const reads = await serverReads({ config, clock: systemClock, logger: openLogger({ level: 'warn', role: 'cli' }) })
  return { sql: async <Row>(statement: string) => (await reads.sql(statement)) as Row[], close: () => reads.close() }
}

export interface HistoryQuery {
  fromMs: number
  /** Not included. */
  toMs: number
  /** One without an instance means all of its instances. */
  entity?: string | undefined
  metrics?: readonly string[] | undefined
  environment: string
}

const PAGE_ROWS = 10_000
const SLICE_MS_MIN = 1_000
const SLICE_MS_FIRST = 60_000
const SLICE_MS_MAX = 3_600_000
/** Made anew from requests and errors by the replay itself. */
const REMADE = ['homeostat.span.error_ratio', 'homeostat.edge.error_ratio']

/**
 * Requests over [fromMs, toMs) in order of event time, with the time that has been read through.
 * @param pageRows rows of one statement
 */
export async function* historyRequests(
  { sql }: Pick<History, 'sql'>,
  query: HistoryQuery,
  pageRows: number = PAGE_ROWS
): AsyncGenerator<{ requests: HistoryRequest[]; throughMs: number }> {
  const builder = requestBuilder(query.environment)
  let sliceMs = SLICE_MS_FIRST
  for (let fromMs = query.fromMs; fromMs < query.toMs; ) {
    const toMs = Math.min(fromMs + sliceMs, query.toMs)
    let rowsCount = 0
    const others = query.entity === undefined ? [] : await heardOthers(sql, fromMs, toMs)
    let after: { timeNs: string; pointKey: string } | undefined
    for (;;) {
      const rows = await sql<PointRow & { pointKey: string | number }>(pageSql({ ...query, fromMs, toMs }, after, pageRows))
      const own = rows.flatMap(row => builder.take(row))
      if (rows.length < pageRows) own.push(...builder.finish()) // No moment lies in two slices.
      rowsCount += rows.length
      const last = rows.at(-1)
      const throughMs = rows.length < pageRows ? toMs : Number(last!.timeNs) / 1e6
      const before = others.findIndex(({ atMs }) => atMs > throughMs)
      const requests = merged(own, others.splice(0, before < 0 ? others.length : before))
      yield { requests, throughMs }
      if (rows.length < pageRows) break
      after = { timeNs: String(last!.timeNs), pointKey: String(last!.pointKey) }
    }
    fromMs = rowsCount > 0 ? toMs : await nextPointMs(sql, toMs, query.toMs)
    // About half a page a slice: each page of a slice sorts the slice again.
    if (rowsCount > pageRows) sliceMs = Math.max(SLICE_MS_MIN, sliceMs / 2)
    else if (rowsCount < pageRows / 3) sliceMs = Math.min(SLICE_MS_MAX, sliceMs * 2)
  }
}

/** When the next point of anybody comes, so that months without telemetry cost one question; `toMs` when none comes. */
async function nextPointMs(sql: History['sql'], fromMs: number, toMs: number): Promise<number> {
  if (fromMs >= toMs) return toMs
  const tables = TABLES.map(([table]) => `SELECT minOrNull(TimeUnix) AS first FROM ${table} WHERE ${metricFilter({ fromMs, toMs })}`)
  const [row] = await sql<{ firstMs: number | string | null }>(
    `SELECT toUnixTimestamp64Milli(toDateTime64(min(first), 3)) AS firstMs FROM (${tables.join('\nUNION ALL\n')}) WHERE first IS NOT NULL HAVING count() > 0`
  )
  return row === undefined ? toMs : Math.max(fromMs, Number(row.firstMs))
}

/** Beats of everybody's telemetry, for a replay of one entity: without them its silence could be a hole in the history. */
async function heardOthers(sql: History['sql'], fromMs: number, toMs: number): Promise<HistoryRequest[]> {
  const filter = metricFilter({ fromMs, toMs })
  const tables = TABLES.map(([table]) => `SELECT intDiv(toUnixTimestamp64Milli(toDateTime64(TimeUnix, 3)), ${BEAT_MS}) AS beat FROM ${table} WHERE ${filter}`)
  const rows = await sql<{ beat: number | string }>(`SELECT DISTINCT beat FROM (${tables.join('\nUNION ALL\n')}) ORDER BY beat LIMIT ${PAGE_ROWS}`)
  return rows.map(({ beat }) => ({ request: NOTHING, atMs: Math.max(fromMs, Number(beat) * BEAT_MS) }))
}
const BEAT_MS = 5_000
const NOTHING = new Uint8Array(0)

/** Both in order of time. */
function merged(own: HistoryRequest[], others: readonly HistoryRequest[]): HistoryRequest[] {
  return others.length === 0 ? own : [...own, ...others].sort((a, b) => a.atMs - b.atMs)
}

/** A text as a literal of ClickHouse. */
export function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

/** True where a row of a telemetry table is of `entity`. */
export function ofEntity(entity: string): string {
  const exact = `${ENTITY_SQL} = ${quoted(entity)}`
  return entity.includes('@') ? `(${exact})` : `(${exact} OR startsWith(${ENTITY_SQL}, ${quoted(`${entity}@`)}))`
}

const NANOSECONDS = (column: string): string => `toUnixTimestamp64Nano(toDateTime64(${column}, 9))`

/** Columns that only some kinds have, with what the others give. */
const DEFAULTS = {
  value: 'nan',
  count: 'toUInt64(0)',
  sum: 'nan',
  min: 'nan',
  max: 'nan',
  temporality: '0',
  monotonic: 'false',
  bounds: '[]::Array(Float64)',
  buckets: '[]::Array(UInt64)',
  scale: '0',
  zeroCount: 'toUInt64(0)',
  positiveOffset: '0',
  positive: '[]::Array(UInt64)',
  negativeOffset: '0',
  negative: '[]::Array(UInt64)',
  quantiles: '[]::Array(Float64)',
  quantileValues: '[]::Array(Float64)'
} as const
type Columns = Partial<Record<keyof typeof DEFAULTS, string>>

const DISTRIBUTION: Columns = { count: 'Count', sum: 'Sum', min: 'Min', max: 'Max', temporality: 'AggregationTemporality' }
const TABLES: readonly [table: string, kind: PointRow['kind'], columns: Columns][] = [
  ['otel_metrics_gauge', 'gauge', { value: 'Value' }],
  ['otel_metrics_sum', 'sum', { value: 'Value', temporality: 'AggregationTemporality', monotonic: 'IsMonotonic' }],
  ['otel_metrics_histogram', 'histogram', { ...DISTRIBUTION, bounds: 'ExplicitBounds', buckets: 'BucketCounts' }],
  [
    'otel_metrics_exponential_histogram',
    'exponential',
    {
      ...DISTRIBUTION,
      scale: 'Scale',
      zeroCount: 'ZeroCount',
      positiveOffset: 'PositiveOffset',
      positive: 'PositiveBucketCounts',
      negativeOffset: 'NegativeOffset',
      negative: 'NegativeBucketCounts'
    }
  ],
  ['otel_metrics_summary', 'summary', { count: 'Count', sum: 'Sum', quantiles: 'ValueAtQuantiles.Quantile', quantileValues: 'ValueAtQuantiles.Value' }]
]
export const METRIC_TABLES = TABLES.map(([table]) => table)

/** Conditions of a query on any of the metric tables. */
export function metricFilter({ fromMs, toMs, entity, metrics }: Pick<HistoryQuery, 'fromMs' | 'toMs' | 'entity' | 'metrics'>): string {
  const named = metrics === undefined ? `MetricName NOT IN (${REMADE.map(quoted).join(', ')})` : `MetricName IN (${metrics.map(quoted).join(', ')})`
  return `TimeUnix >= fromUnixTimestamp64Milli(${Math.floor(fromMs)}) AND TimeUnix < fromUnixTimestamp64Milli(${Math.ceil(toMs)}) AND bitAnd(Flags, 1) = 0 AND ${named}${entity === undefined ? '' : ` AND ${ofEntity(entity)}`}`
}

function pageSql(query: HistoryQuery, after: { timeNs: string; pointKey: string } | undefined, pageRows: number): string {
  const filter = metricFilter(query)
  const selects = TABLES.map(([table, kind, columns]) => {
    const own = Object.entries({ ...DEFAULTS, ...columns }).map(([name, expression]) => `${expression} AS ${name}`)
    return `SELECT '${kind}' AS kind, toString(cityHash64(ResourceAttributes)) AS resourceKey, ResourceAttributes AS resource, MetricName AS metric, MetricUnit AS unit, Attributes AS attributes,
${NANOSECONDS('StartTimeUnix')} AS startNs, ${NANOSECONDS('TimeUnix')} AS timeNs, cityHash64('${kind}', MetricName, Attributes, ResourceAttributes, ScopeName, StartTimeUnix) AS pointKey,
${own.join(', ')} FROM ${table} WHERE ${filter}`
  })
  const since = after === undefined ? '' : ` WHERE (timeNs, pointKey) > (${after.timeNs}, ${after.pointKey})`
  return `SELECT * FROM (${selects.join('\nUNION ALL\n')})${since} ORDER BY timeNs, pointKey LIMIT ${pageRows}`
}
