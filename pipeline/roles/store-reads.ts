// Reads of ClickHouse by connections of this thread: to the server of store.url, or as the store role that owns the embedded engine.
//
// They write nothing and bring no schema up to date, that is the store's.

import type { Config } from '../../schemas/config.ts'
import type { Clock, Logger, SignalQuery, Signals } from '../../schemas/ports.ts'
import { ClickHouseStore } from '../store/clickhouse-store.ts'
import { readOnlyQuery } from '../store/read-only.ts'
import { clickHouseSignals } from '../store/signals.ts'
import { withPasswords } from '../store/store-secrets.ts'
import type { StoreReads } from './hosted-reads.ts'
import { openPatiently } from './patience.ts'

/** Rows that `homeostat sql` and the console get at most. */
const SQL_ROWS_MAX = 10_000
/** The embedded engine of a killed predecessor holds its lock for a moment. A server is waited for, for as long as it is away. */
const EMBEDDED_WAIT_MS_MAX = 30_000

/** The other end of `hostedReads`: what the store role answers. */
export function readMethods(store: ClickHouseStore) {
  const { query, signals, sql } = readsOf(store)
  return {
    query: (request: { sql: string; parameters?: Record<string, unknown> }) => query(request.sql, request.parameters),
    readOnly: sql,
    series: (request: SignalQuery) => signals.series(request),
    logs: (parameters: Parameters<Signals['logs']>) => signals.logs(...parameters),
    spans: (parameters: Parameters<Signals['spans']>) => signals.spans(...parameters)
  }
}

/**
 * Reads from the server of store.url.
 * @throws AppError `store_refused` | `config_invalid` for what waiting does not mend, `store_unavailable` when `stop` aborts the wait
 */
export async function serverReads(options: { config: Config; clock: Clock; logger: Logger; stop?: AbortSignal | undefined }): Promise<StoreReads> {
  const store = await openStorePatiently({ ...options, migrate: false })
  return { ...readsOf(store), close: () => store.close() }
}

/** Opens ClickHouse as the configuration names it; what may pass by itself is waited for. */
export function openStorePatiently(options: {
  config: Config
  clock: Clock
  logger: Logger
  /** False: the schema is the store role's business. */
  migrate?: boolean
  stop?: AbortSignal | undefined
}): Promise<ClickHouseStore> {
  const { config, clock, logger, migrate, stop } = options
  const open = (): Promise<ClickHouseStore> =>
    ClickHouseStore.open({
      config: withPasswords(config.store, process.env),
      dataDir: config.dataDir,
      clock,
      logger,
      ...(migrate === undefined ? {} : { migrate })
    })
  return openPatiently(open, { what: 'ClickHouse', clock, logger, stop, ...(config.store.url === undefined && { waitMsMax: EMBEDDED_WAIT_MS_MAX }) })
}

function readsOf(store: ClickHouseStore): Omit<StoreReads, 'close'> {
  return {
    query: (sql, parameters) => store.query(sql, parameters),
    signals: clickHouseSignals(store),
    sql: statement => readOnlyQuery(store, statement, { rowsMax: SQL_ROWS_MAX })
  }
}
