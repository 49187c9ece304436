// Reads of ClickHouse for the roles that need them: act for its checks, console for people, train for history.
//
// Where the store role is hosted by this process every read goes through it, because an embedded engine has one owner. Elsewhere they go
// to the server of store.url (store-reads.ts).

import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Signals, Store } from '../../schemas/ports.ts'
import type { RoleHost } from '../hosting/role-host.ts'
import type { RoleSet } from './select.ts'

export interface StoreReads {
  query: Store['query']
  signals: Signals
  /** One statement of a user, read-only. @throws AppError `usage`, `store_refused`, `store_unavailable` */
  sql(statement: string): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

/**
 * Whether the store role runs in a process of its own beside this one (decision 0002). Alone, and with a server, it has no native engine
 * that could take the process down and nobody to keep waiting.
 */
export function hostsStore(config: Pick<Config, 'store'>, roles: RoleSet): boolean {
  return roles.has('store') && (config.store.url === undefined || roles.size > 1)
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
