// The otel_* tables as they are found: ours, or those that some release of the Collector's ClickHouse exporter made before us.
//
// The exporter's tables came in several generations under the same names. They are never altered. Rows are inserted by column name, so what
// a table does not have is left out (and said once); what it calls otherwise is renamed here. Read at start; a table does not change later.
// Generations: 1 (to early 2024): `AggTemp`, early ones without ServiceName; 2 (to 2026): times in nanoseconds, TimestampTime in logs;
// 3: metric times in whole seconds, logs by five minutes; json: attributes of type JSON, which are neither written nor read here.

import { AppError } from '../../schemas/errors.ts'
import { DEDUPLICATION_WINDOW } from './migration-sql.ts'
import type { Row } from './rows/values.ts'

export type Generation = 'ours' | '1' | '2' | '3' | 'json'

export interface TelemetryTable {
  table: string
  generation: Generation
  /** Column → type, of the columns that an insert may name. */
  columns: ReadonlyMap<string, string>
  /** For people: what differs and what it means. Empty for our own tables. */
  notices: string[]
  /** Why nothing can be written into it, or undefined. */
  unusable: string | undefined
}

const METRIC = [
  ...['ResourceAttributes', 'ResourceSchemaUrl', 'ScopeName', 'ScopeVersion', 'ScopeAttributes', 'ScopeDroppedAttrCount', 'ScopeSchemaUrl', 'ServiceName'],
  ...['MetricName', 'MetricDescription', 'MetricUnit', 'Attributes', 'StartTimeUnix', 'TimeUnix', 'Flags']
]
const NUMBER = [...METRIC, 'Value']
const DISTRIBUTION = [...METRIC, 'Count', 'Sum', 'Min', 'Max', 'AggregationTemporality']
const SPAN = [
  ...['Timestamp', 'TraceId', 'SpanId', 'ParentSpanId', 'TraceState', 'SpanName', 'SpanKind', 'ServiceName', 'ResourceAttributes', 'ScopeName'],
  ...['ScopeVersion', 'SpanAttributes', 'Duration', 'StatusCode', 'StatusMessage', 'Events.Timestamp', 'Links.TraceId']
]
const LOG = [
  ...['Timestamp', 'TraceId', 'SpanId', 'TraceFlags', 'SeverityText', 'SeverityNumber', 'ServiceName', 'Body', 'ResourceSchemaUrl', 'ResourceAttributes'],
  ...['ScopeSchemaUrl', 'ScopeName', 'ScopeVersion', 'ScopeAttributes', 'LogAttributes', 'EventName']
]
/** What our rows say, by table. */
const WRITTEN: Readonly<Record<string, readonly string[]>> = {
  otel_metrics_gauge: NUMBER,
  otel_metrics_sum: [...NUMBER, 'AggregationTemporality', 'IsMonotonic'],
  otel_metrics_histogram: [...DISTRIBUTION, 'BucketCounts', 'ExplicitBounds'],
  otel_metrics_exponential_histogram: [...DISTRIBUTION, 'Scale', 'ZeroCount', 'PositiveBucketCounts', 'NegativeBucketCounts'],
  otel_metrics_summary: [...METRIC, 'Count', 'Sum', 'ValueAtQuantiles.Quantile'],
  otel_logs: LOG,
  otel_traces: SPAN
}
/** Without these a row says nothing; a table that lacks one is no table of the exporter's. */
const ESSENTIAL = [
  'TimeUnix',
  'Timestamp',
  'MetricName',
  'Value',
  'Count',
  'Sum',
  'Attributes',
  'ResourceAttributes',
  'Body',
  'TraceId',
  'SpanName',
  'Duration'
]
/** Names that a column had before. */
const FORMER: Readonly<Record<string, string>> = { AggregationTemporality: 'AggTemp' }

/** The telemetry tables that exist in the database, in order of their names. */
export async function telemetryTables(runner: { query<Row>(sql: string): Promise<Row[]> }, database: string): Promise<TelemetryTable[]> {
  const names = Object.keys(WRITTEN).map(name => `'${name}'`)
  const where = `database = '${database}' AND`
  const tables = await runner.query<{ name: string; engine_full: string }>(
    `SELECT name, engine_full FROM system.tables WHERE ${where} name IN (${names.join(', ')}) ORDER BY name`
  )
  const columns = await runner.query<{ table: string; name: string; type: string }>(
    `SELECT table, name, type FROM system.columns WHERE ${where} table IN (${names.join(', ')}) AND default_kind NOT IN ('ALIAS', 'MATERIALIZED')`
  )
  const own = ownTables(tables)
  return tables.map(({ name, engine_full }) => {
    const types = new Map(columns.filter(({ table }) => table === name).map(column => [column.name, column.type]))
    return describe(name, own.has(name), engine_full, types)
  })
}

/**
 * Of the given tables, those that were made here: the exporter writes its TTLs in the same words as we do, but ours remember insert tokens.
 * The lookup of traces belongs to whom otel_traces belongs to.
 */
export function ownTables(tables: readonly { name: string; engine_full: string }[]): Set<string> {
  const window = new RegExp(`\\b(non_)?replicated_deduplication_window = ${DEDUPLICATION_WINDOW}\\b`)
  const own = new Set(tables.filter(({ name, engine_full }) => name.startsWith('homeostat_') || window.test(engine_full)).map(({ name }) => name))
  if (own.has('otel_traces')) own.add('otel_traces_trace_id_ts')
  return own
}

/** @throws AppError `config_invalid` when a table exists that nothing can be written into */
export function refuseUnusable(tables: readonly TelemetryTable[], database: string): void {
  const unusable = tables.filter(table => table.unusable !== undefined)
  if (unusable.length === 0) return
  const reasons = unusable.map(({ table, unusable: reason }) => `${database}.${table} ${reason}`)
  throw new AppError('config_invalid', `${reasons.join('; ')}: set store.database to another database, Homeostat makes its own tables there`)
}

/** How our rows become rows of this table; undefined when they are already. The row given is not changed. */
export function rowAdapter({ columns }: TelemetryTable): ((row: Readonly<Row>) => Row) | undefined {
  const renamed = Object.entries(FORMER).filter(([name, former]) => !columns.has(name) && columns.has(former))
  const seconds = [...columns].filter(([, type]) => /^DateTime(\('[^']*'\))?$/.test(type)).map(([name]) => name)
  const secondLists = [...columns].filter(([, type]) => /^Array\(DateTime(\('[^']*'\))?\)$/.test(type)).map(([name]) => name)
  if (renamed.length + seconds.length + secondLists.length === 0) return undefined
  return row => {
    const adapted: Row = { ...row }
    for (const [name, former] of renamed) {
      adapted[former] = row[name]
      delete adapted[name]
    }
    for (const name of seconds) adapted[name] = wholeSeconds(row[name])
    for (const name of secondLists) if (Array.isArray(row[name])) adapted[name] = row[name].map(wholeSeconds)
    return adapted
  }
}

/** DateTime refuses a fraction. Times of rows are epoch text with one, see rows/values.ts. */
function wholeSeconds(value: unknown): unknown {
  return typeof value === 'string' ? value.split('.', 1)[0] : value
}

function describe(table: string, ours: boolean, engine: string, columns: ReadonlyMap<string, string>): TelemetryTable {
  const json = /^(JSON|Object)\b/.test(columns.get('ResourceAttributes') ?? '')
  const has = (name: string): boolean => columns.has(name) || columns.has(FORMER[name] ?? '')
  const missing = WRITTEN[table]!.filter(name => !has(name))
  const essential = missing.filter(name => ESSENTIAL.includes(name))
  const generation = ours ? 'ours' : json ? 'json' : generationOf(columns)
  const unusable = json
    ? 'keeps attributes as JSON (the exporter with `json` on), which Homeostat does not write'
    : essential.length > 0
      ? `has no ${essential.join(', ')}`
      : undefined
  const notices: string[] = []
  if (unusable) notices.push(`${table} ${unusable}: it cannot be used`)
  else if (!ours) notices.push(...foreignNotices(table, generation, missing, engine))
  return { table, generation, columns, notices, unusable }
}

function foreignNotices(table: string, generation: Generation, missing: readonly string[], engine: string): string[] {
  const notices = [`${table} was made by the Collector's exporter (generation ${generation}): its columns, order and time to live stay as they are`]
  if (missing.length > 0) notices.push(`${table} has no ${missing.join(', ')}: these values are not stored`)
  if (!/\bReplicated|deduplication_window = [1-9]/.test(engine)) {
    notices.push(
      `${table} does not remember insert tokens: after a crash of the store role some rows may stand there twice. To rule that out: ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = ${FOREIGN_WINDOW}`
    )
  }
  return notices
}

const FOREIGN_WINDOW = 10_000 // Not ours (DEDUPLICATION_WINDOW): the table stays known as the exporter's.

function generationOf(columns: ReadonlyMap<string, string>): Generation {
  const type = (name: string): string => columns.get(name) ?? ''
  if (columns.has('MetricName')) {
    if (columns.has('AggTemp') || !columns.has('ServiceName')) return '1'
    return type('TimeUnix').startsWith('DateTime64') ? '2' : '3'
  }
  if (columns.has('Body')) return columns.has('TimestampTime') ? '2' : type('TraceFlags') === 'UInt32' ? '1' : '3'
  return type('Duration') === 'Int64' ? '1' : '2'
}
