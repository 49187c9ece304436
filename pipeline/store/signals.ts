// Raw signals from the telemetry tables, for verification and evidence: what was measured, never what was concluded.
//
// Reads only, so nothing to restore after a crash. Freshness is that of the store role (batchInterval and an insert behind the log).
// Columns are read by name with casts, so tables that the Collector's exporter made (whole-second times in its newer releases) work too; what
// an older release calls otherwise, or does not have, is asked for in its place, once it is known which columns there are.

import type { LogLine, SignalQuery, Signals, SpanLine, Store } from '../../schemas/ports.ts'
import { ENTITY_MATCHES_SQL, ENVIRONMENT_MATCHES_SQL, serviceNames } from './entity-sql.ts'
import { type StoredPoint, seriesValues } from './series-values.ts'

/** How far before the window the point is looked for that a counter's first difference needs; exporters send at least each minute. */
const LOOKBACK_MS = 120_000
/** Points of one answer. An hour of ten attribute sets at one a second; checks look at minutes. */
const POINTS_MAX = 50_000

/** What detect adds to the identity of a series that it made from a distribution; no telemetry row carries it. */
const STATISTIC_ATTRIBUTE = 'stat'

const AT_MS = (column: string): string => `toFloat64(toUnixTimestamp64Micro(toDateTime64(${column}, 9))) / 1000`

const FILTER = `MetricName = {metric:String}
  AND TimeUnix >= fromUnixTimestamp64Milli({fromMs:Int64}) AND TimeUnix <= fromUnixTimestamp64Milli({toMs:Int64})
  AND bitAnd(Flags, 1) = 0
  AND arrayAll((name, value) -> Attributes[name] = value, {names:Array(String)}, {values:Array(String)})
  AND ${ENTITY_MATCHES_SQL} AND ${ENVIRONMENT_MATCHES_SQL}`

/** Columns by table, as far as they are not what our own tables have. */
type Columns = ReadonlyMap<string, ReadonlySet<string>>
type HasColumn = (name: string) => boolean

/** One SELECT a table, all with the same columns. */
function points(
  table: string,
  kind: StoredPoint['kind'],
  found: Columns,
  columns: { value?: string; count?: string; temporality: string; monotonic?: string }
): string {
  const has: HasColumn = name => found.get(table)?.has(name) ?? true
  const service = has('ServiceName') ? 'ServiceName' : "ResourceAttributes['service.name']"
  return `SELECT '${kind}' AS kind, toString(cityHash64(Attributes, ResourceAttributes, ScopeName)) AS series, ${AT_MS('TimeUnix')} AS atMs,
    ${AT_MS('StartTimeUnix')} AS startMs, toFloat64(${columns.value ?? '0'}) AS value, toFloat64(${columns.count ?? '0'}) AS count,
    toFloat64(${columns.count === undefined ? '0' : 'Sum'}) AS sum, toInt32(${temporality(columns.temporality, has)}) AS temporality, toBool(${columns.monotonic ?? 'false'}) AS monotonic
    FROM ${table} WHERE ${service} IN {services:Array(String)} AND ${FILTER}`
}

/** Where a table does not say: delta for what Homeostat derives, cumulative (the SDKs' default) for the rest. */
function temporality(column: string, has: HasColumn): string {
  if (column !== 'AggregationTemporality' || has(column)) return column
  return has('AggTemp') ? 'AggTemp' : `if(startsWith(MetricName, 'homeostat.'), 1, ${CUMULATIVE})`
}
const CUMULATIVE = '2'

function seriesSql(found: Columns): string {
  const distribution = { count: 'Count', temporality: 'AggregationTemporality' }
  const tables = [
    points('otel_metrics_gauge', 'gauge', found, { value: 'Value', temporality: '0' }),
    points('otel_metrics_sum', 'sum', found, { value: 'Value', temporality: 'AggregationTemporality', monotonic: 'IsMonotonic' }),
    points('otel_metrics_histogram', 'distribution', found, distribution),
    points('otel_metrics_exponential_histogram', 'distribution', found, distribution),
    // A summary counts from the start of its process.
    points('otel_metrics_summary', 'distribution', found, { count: 'Count', temporality: CUMULATIVE })
  ]
  return `SELECT * FROM (\n${tables.join('\nUNION ALL\n')}\n) ORDER BY atMs DESC LIMIT ${POINTS_MAX}`
}

const COLUMNS_SQL = `SELECT table, groupArray(name) AS names FROM system.columns
WHERE database = currentDatabase() AND startsWith(table, 'otel_metrics_') GROUP BY table`

const LOGS_SQL = `SELECT ${AT_MS('Timestamp')} AS atMs, if(SeverityText != '', SeverityText, toString(SeverityNumber)) AS severity, Body AS body
FROM otel_logs
WHERE toStartOfFiveMinutes(Timestamp) >= toStartOfFiveMinutes(fromUnixTimestamp64Milli({fromMs:Int64}))
  AND Timestamp >= fromUnixTimestamp64Milli({fromMs:Int64}) AND Timestamp <= fromUnixTimestamp64Milli({toMs:Int64})
  AND ServiceName IN {services:Array(String)} AND ${ENTITY_MATCHES_SQL} AND ${ENVIRONMENT_MATCHES_SQL}
ORDER BY Timestamp DESC LIMIT {rowsMax:UInt32}`

const SPANS_SQL = `SELECT ${AT_MS('Timestamp')} AS atMs, SpanName AS name, lower(SpanKind) AS kind, toFloat64(Duration) / 1e6 AS durationMs,
  lower(StatusCode) AS status, StatusMessage AS message
FROM otel_traces
WHERE ServiceName IN {services:Array(String)}
  AND Timestamp >= fromUnixTimestamp64Milli({fromMs:Int64}) AND Timestamp <= fromUnixTimestamp64Milli({toMs:Int64})
  AND ${ENTITY_MATCHES_SQL} AND ${ENVIRONMENT_MATCHES_SQL}
ORDER BY Timestamp DESC LIMIT {rowsMax:UInt32}`

/**
 * Signals read from `store`. A metric's values are those of `seriesValues`; where several series match (attributes left open), the points
 * of all of them. Logs and spans: the newest `rowsMax`, oldest first; span kinds and statuses in lower case (`server`, `error`).
 * @throws AppError `store_unavailable`, `store_refused`: no answer is not "no data"
 */
export function clickHouseSignals(store: Pick<Store, 'query'>): Signals {
  const lines = async <Line>(sql: string, ...[entity, fromMs, toMs, rowsMax, environment = '']: Parameters<Signals['logs']>): Promise<Line[]> => {
    const window = { fromMs: Math.floor(fromMs), toMs: Math.ceil(toMs), rowsMax }
    const rows = await store.query<Line>(sql, { entity, environment, services: serviceNames(entity), ...window })
    return rows.reverse()
  }
  let asked: Promise<string> | undefined
  /** Tables do not change while we run, so it is asked once; an answer that did not come is asked for again. */
  const sql = (): Promise<string> => {
    asked ??= store.query<{ table: string; names: string[] }>(COLUMNS_SQL).then(
      rows => seriesSql(new Map(rows.map(({ table, names }) => [table, new Set(names)]))),
      error => {
        asked = undefined
        throw error
      }
    )
    return asked
  }
  return {
    async series({ entity, environment = '', metric, attributes = {}, fromMs, toMs }: SignalQuery) {
      const named = Object.entries(attributes).filter(([name]) => name !== STATISTIC_ATTRIBUTE)
      const rows = await store.query<StoredPoint>(await sql(), {
        entity,
        environment,
        metric,
        services: serviceNames(entity),
        names: named.map(([name]) => name),
        values: named.map(([, value]) => value),
        fromMs: Math.floor(fromMs - LOOKBACK_MS),
        toMs: Math.ceil(toMs)
      })
      return seriesValues(rows.reverse(), fromMs)
    },
    logs: (...asked) => lines<LogLine>(LOGS_SQL, ...asked),
    spans: (...asked) => lines<SpanLine>(SPANS_SQL, ...asked)
  }
}
