// Who owns an entity, as its own telemetry says: resource attributes of the last hour, in ClickHouse.

import type { Clock } from '../../schemas/ports.ts'
import { ENTITY_MATCHES_SQL, ENVIRONMENT_MATCHES_SQL, serviceNames } from '../store/entity-sql.ts'
import type { StoreReads } from './hosted-reads.ts'

const LOOKBACK_MS = 3_600_000 // What has been silent for longer is told by the configuration, or by nobody.
/** Every signal, since a service may send only one of them. */
const TABLES: readonly (readonly [table: string, time: string])[] = [
  ['otel_metrics_gauge', 'TimeUnix'],
  ['otel_metrics_sum', 'TimeUnix'],
  ['otel_metrics_histogram', 'TimeUnix'],
  ['otel_logs', 'Timestamp'],
  ['otel_traces', 'Timestamp']
]

const SQL = TABLES.map(
  ([table, time]) => `SELECT arrayFirst(value -> value != '', arrayMap(name -> ResourceAttributes[name], {attributes:Array(String)})) AS owner,
    toFloat64(toUnixTimestamp64Milli(toDateTime64(${time}, 9))) AS atMs
  FROM ${table} WHERE ServiceName IN {services:Array(String)} AND ${time} >= fromUnixTimestamp64Milli({fromMs:Int64})
    AND ${ENTITY_MATCHES_SQL} AND ${ENVIRONMENT_MATCHES_SQL} AND owner != ''
  ORDER BY ${time} DESC LIMIT 1`
).join('\nUNION ALL\n')

/** @returns the owner that the newest telemetry of the entity names; of its whole service when the entity itself says nothing */
export function telemetryOwner({ query }: Pick<StoreReads, 'query'>, attributes: readonly string[], clock: Clock) {
  const ask = async (entity: string, environment: string): Promise<string | undefined> => {
    const parameters = { attributes, entity, environment, services: serviceNames(entity), fromMs: clock.nowMs() - LOOKBACK_MS }
    const [newest] = await query<{ owner: string }>(`SELECT owner FROM (${SQL}) ORDER BY atMs DESC LIMIT 1`, parameters)
    return newest?.owner
  }
  return async (entity: string, environment: string): Promise<string | undefined> => {
    if (attributes.length === 0 || entity === '') return undefined
    const at = entity.indexOf('@')
    return (await ask(entity, environment)) ?? (at > 0 ? ask(entity.slice(0, at), environment) : undefined)
  }
}
