// Reads of ClickHouse for the roles that need them: act for its checks, console for people, train for history.
//
// In the process of the store role every read goes through that role, because an embedded engine has one owner. Elsewhere they go to
// the server of store.url by connections of this process: they write nothing and bring no schema up to date, that is the store's.

import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger, SignalQuery, Signals, Store } from '../../schemas/ports.ts'
import type { RoleHost } from '../hosting/role-host.ts'
import { ClickHouseStore } from '../store/clickhouse-store.ts'
import { readOnlyQuery } from '../store/read-only.ts'
import { clickHouseSignals } from '../store/signals.ts'
import { withPasswords } from '../store/store-secrets.ts'
import { openPatiently } from './patience.ts'

/** Rows that `homeostat sql` and the console get at most. */
const SQL_ROWS_MAX = 10_000
/** The embedded engine of a killed predecessor holds its lock for a moment. A server is waited for, for as long as it is away. */
const EMBEDDED_WAIT_MS_MAX = 30_000

export interface StoreReads {
  query: Store['query']
  signals: Signals
  /** One statement of a user, read-only. @throws AppError `usage`, `store_refused`, `store_unavailable` */
  sql(statement: string): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

/** Reads by the store role of this process, whichever life it is in. */
export function hostedReads(storeRole: () => RoleHost | undefined): StoreReads {
  const call = <Result>(method: string, parameters: unknown): Promise<Result> =>
    storeRole()?.call<Result>(method, parameters) ?? Promise.reject(new AppError('timeout', 'ClickHouse is being opened: try again in a moment'))
  return {
    query: (sql, parameters) => call('query', { sql, parameters }),
    signals: {
      series: query => call('series', query),
      logs: (...parameters) => call('logs', parameters),
      spans: (...parameters) => call('spans', parameters)
    },
    sql: statement => call('readOnly', statement),
    close: async () => undefined
  }
}

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
