// Connections to ClickHouse: the same client class over HTTP to a server, or over chdb to the engine inside this process.
//
// Three of them at least, because chdb runs the statements of one connection one after another: inserts, reads and the read-only
// statements of users do not wait for each other. In chdb, settings given with a statement stay with its connection, so each
// connection has one purpose and the read-only one is locked once, for good.
// One process owns a data directory: chdb holds a lock on its `status` file, which the kernel drops with the process, so a
// directory left by kill -9 opens again at once.

import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { type ClickHouseClient, ClickHouseLogLevel, type ClickHouseSettings, createClient } from '@clickhouse/client'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { quoteIdentifier } from './migration-sql.ts'

export interface Clients {
  write: ClickHouseClient
  /** Reads as the user that writes, without the limits of readers: the journal, and how tables look. */
  writerRead: ClickHouseClient
  read: ClickHouseClient
  /** Makes tables, and asks what is there, as the user that may. */
  admin: { command: ClickHouseClient; query: ClickHouseClient }
  /** Refuses every statement that writes, whatever it says. */
  readOnly: ClickHouseClient
  close(): Promise<void>
}

/** The reading settings that both kinds of connection share: exact 64-bit integers, NaN as text, ISO times in UTC. */
const READ_SETTINGS = {
  output_format_json_quote_64bit_integers: 1,
  output_format_json_quote_denormals: 1,
  date_time_output_format: 'iso',
  session_timezone: 'UTC'
} as const satisfies ClickHouseSettings

const WRITE_SETTINGS = {
  session_timezone: 'UTC',
  insert_deduplicate: 1,
  // JSON has no NaN, only null: in a Float64 column it is to stay NaN, not to become the default 0.
  input_format_null_as_default: 0,
  // A batch may span many days (old logs); the TTL clears what is too old, an error would block the batch for ever.
  max_partitions_per_insert_block: 0,
  // Our batches are small: parsing them on one thread takes a quarter less CPU (13 instead of 18 µs a row, 2 cores) and less memory.
  input_format_parallel_parsing: 0,
  // A column of a newer version is not a reason to refuse the row.
  input_format_skip_unknown_fields: 1
} as const

/** Most rows of a read-only statement of a user; it is cut there, not refused. */
export const READ_ONLY_ROWS_MAX = 100_000
const READ_ONLY_SECONDS_MAX = 30 // A person waits for it, and on a laptop it shares two cores with detection.
const MEMORY_BYTES_MAX = 2 ** 30 // Per statement. A group by over a day of metrics needed 80 MB; a mistake must not take the process down.

const READ_ONLY_SETTINGS = {
  ...READ_SETTINGS,
  max_execution_time: READ_ONLY_SECONDS_MAX,
  max_result_rows: String(READ_ONLY_ROWS_MAX),
  result_overflow_mode: 'break',
  max_memory_usage: String(MEMORY_BYTES_MAX)
} as const satisfies ClickHouseSettings

/** The client's own log: what failed is in the error that we throw. */
const SILENT = { level: ClickHouseLogLevel.OFF } as const

const REQUEST_TIMEOUT_MS = 60_000 // Longer than any statement of ours; a server that is silent for so long is down.

const DDL_TIMEOUT_MS = 300_000 // A statement for a whole cluster waits for its slowest server; the servers themselves give up after 180 s.

/** Connects to the server of `config.url`. Nothing is sent yet. */
export function serverClients(config: Config['store']): Clients {
  const { url, database, username, password, reader, admin } = config
  const writer = { username, password }
  const open = (user: { username: string; password?: string | undefined }, clickhouse_settings: ClickHouseSettings, more: object): ClickHouseClient =>
    createClient({
      url: url!,
      username: user.username,
      password: user.password ?? '',
      request_timeout: REQUEST_TIMEOUT_MS,
      max_open_connections: 4,
      application: 'homeostat',
      log: SILENT,
      clickhouse_settings,
      ...more
    })
  // No default database where writing or making tables: it may not be there yet, and these statements name theirs.
  const write = open(writer, { ...WRITE_SETTINGS, wait_end_of_query: 1 } as unknown as ClickHouseSettings, {})
  const writerRead = open(writer, READ_SETTINGS, { database })
  const ddl = open(admin ?? writer, { ...READ_SETTINGS, wait_end_of_query: 1 }, { request_timeout: DDL_TIMEOUT_MS })
  const read = open(reader ?? writer, { ...READ_SETTINGS, max_memory_usage: String(MEMORY_BYTES_MAX) }, { database })
  const readOnly = open(reader ?? writer, { ...READ_ONLY_SETTINGS, readonly: '1' }, { database })
  return {
    write,
    writerRead,
    read,
    admin: { command: ddl, query: ddl },
    readOnly,
    close: async () => {
      await Promise.all([write, writerRead, ddl, read, readOnly].map(each => each.close()))
    }
  }
}

/** Mark cache of the embedded engine: its default of 5 GiB is meant for servers. */
const MARK_CACHE_BYTES = 64 * 2 ** 20

/**
 * Opens the engine inside this process on `<dataDir>/clickhouse`, made when absent.
 * Measured on 2 cores: 150 ms to the first answer, 90 MB above Node with the library loaded; 20 rows in 5 ms, 5000 in 45 ms.
 * @throws AppError `store_unavailable` when another process owns the directory or it cannot be read
 */
export async function embeddedClients(dataDir: string, database: string): Promise<Clients> {
  const path = resolve(dataDir, 'clickhouse')
  mkdirSync(path, { recursive: true })
  // Loaded here and not above: the library is 500 MB on disk, and who uses a server needs none of it.
  if (!isMainThread) keepLibraryLoaded()
  const { Session, drainPending } = await import('chdb')
  const { createChdbConnection } = await import('chdb/connection')
  const client = (clickhouse_settings?: ClickHouseSettings): ClickHouseClient =>
    createClient({ connection: createChdbConnection({ path }), log: SILENT, ...(clickhouse_settings ? { clickhouse_settings } : {}) } as never)
  try {
    // The first session sets the engine's own limits, which the client's connections cannot.
    const engine = new Session(path, { connectionArgs: [`--mark_cache_size=${MARK_CACHE_BYTES}`] } as never)
    const write = client(WRITE_SETTINGS as unknown as ClickHouseSettings)
    const read = client(READ_SETTINGS)
    const readOnly = client()
    const name = quoteIdentifier(database)
    await write.command({ query: `CREATE DATABASE IF NOT EXISTS ${name}` })
    for (const each of [write, read, readOnly]) await each.command({ query: `USE ${name}` })
    const locked = Object.entries({ ...READ_ONLY_SETTINGS, readonly: 1 }).map(
      ([setting, value]) => `${setting} = ${typeof value === 'number' ? value : `'${value}'`}`
    )
    await readOnly.command({ query: `SET ${locked.join(', ')}` })
    return {
      write,
      writerRead: read,
      read,
      admin: { command: write, query: read },
      readOnly,
      close: async () => {
        for (const each of [write, read, readOnly]) await each.close()
        engine.close()
        await drainPending()
      }
    }
  } catch (cause) {
    throw new AppError(
      'store_unavailable',
      `the embedded ClickHouse cannot open ${path}: another Homeostat process uses it (stop that one, or query it through its console), or the directory is not readable`,
      { cause }
    )
  }
}

const RTLD_NODELETE: Readonly<Record<string, number>> = { linux: 0x1000, darwin: 0x80 }

/**
 * Opens the engine's library so that it stays until the process ends. Node unloads a library with the last thread that required it, and
 * this one has threads of its own, which then run code that is gone: every end of a worker thread was a segmentation fault (chdb 3.4.0).
 */
function keepLibraryLoaded(): void {
  const require = createRequire(import.meta.url)
  const { optionalDependencies } = require('chdb/package.json') as { optionalDependencies: Record<string, string> }
  const name = Object.keys(optionalDependencies).find(each => each.includes(`${process.platform}-${process.arch}`))
  if (name === undefined) return // The import that follows says that the platform is not supported.
  const file = createRequire(require.resolve('chdb')).resolve(`${name}/chdb_node.node`)
  process.dlopen({ exports: {} } as NodeJS.Module, file, constants.dlopen.RTLD_LAZY | (RTLD_NODELETE[process.platform] ?? 0))
}
