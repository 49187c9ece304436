// The Store port on ClickHouse: a server, or the engine embedded in this process; one code path above the connections.
//
// Promises: an insert that resolved is readable at once and survives kill -9; the same token inserts once, also after a restart
// (`non_replicated_deduplication_window` of the tables). Records tables are fsynced, telemetry tables are not: after a power cut the
// last seconds of telemetry may be missing here while the log still has them.
// Formats: 64-bit integers are numbers when safe, else decimal text; DateTime64 goes in as epoch text (`seconds.fraction`, ten digits
// before the point) or as 'YYYY-MM-DD hh:mm:ss.n' in UTC, and comes out as ISO text in UTC with nine digits, which Date.parse reads;
// NaN and null in a Float64 column are both NaN.

import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger, Store } from '../../schemas/ports.ts'
import { type Clients, embeddedClients, READ_ONLY_ROWS_MAX, serverClients } from './clickhouse-clients.ts'
import { checkSchema, type MigrationOptions, type MigrationRunner, type MigrationState, migrate, planSchema, type SchemaPlan } from './migrate.ts'
import { quoteIdentifier } from './migration-sql.ts'
import { type CompactResult, resultRows } from './result-rows.ts'
import type { Row } from './rows/values.ts'
import { clickhouseCode, storeError } from './store-error.ts'
import { refuseUnusable, rowAdapter, type TelemetryTable, telemetryTables } from './telemetry-tables.ts'

export interface OpenOptions {
  /** With the password resolved. */
  config: Config['store']
  dataDir: string
  clock: Clock
  logger: Logger
  /** False: the schema is used as it is found, without a look. Default: applied, or checked where `config.migrate` is false. */
  migrate?: boolean
}

/** The store as the store role has it: reads go as the user that writes, not as the reader with its limits. */
export interface WriterStore extends Store {
  /** On a cluster: waits until this replica has every row of the table that any replica has acknowledged. Else nothing. */
  synchronize(table: string): Promise<void>
}

export interface ReadOnlyResult {
  columns: { name: string; type: string }[]
  rows: Record<string, unknown>[]
}

const UNKNOWN_TABLE = 60
const UNKNOWN_DATABASE = 81

export class ClickHouseStore implements Store {
  readonly database: string
  readonly #clients: Clients
  readonly #options: OpenOptions
  readonly #running = new Set<Promise<unknown>>()
  /** For tables whose columns are not quite ours. */
  readonly #adapters = new Map<string, (row: Readonly<Row>) => Row>()
  #closing: Promise<void> | undefined

  /**
   * Connects, and brings the schema up to date (or only checks it, as `config.migrate` says).
   * @throws AppError `store_unavailable`, `migration_changed`, `schema_behind`, `config_invalid`
   */
  static async open(options: OpenOptions): Promise<ClickHouseStore> {
    const begunMs = options.clock.monotonicMs()
    quoteIdentifier(options.config.database)
    const clients = options.config.url === undefined ? await embeddedClients(options.dataDir, options.config.database) : serverClients(options.config)
    const store = new ClickHouseStore(clients, options)
    try {
      if (options.migrate !== false) await store.#prepare()
    } catch (error) {
      await store.close()
      throw error
    }
    options.logger.debug({ database: store.database, embedded: options.config.url === undefined, tookMs: options.clock.monotonicMs() - begunMs }, 'store open')
    return store
  }

  private constructor(clients: Clients, options: OpenOptions) {
    this.#clients = clients
    this.#options = options
    this.database = options.config.database
  }

  async #prepare(): Promise<void> {
    const { config, logger } = this.#options
    const found = await this.telemetryTables() // Refuses what cannot be used before anything is made beside it.
    const applied = config.migrate ? await this.migrate() : []
    if (!config.migrate) await checkSchema(this.#runner(this.#clients.write, this.#clients.writerRead), this.#migrationOptions())
    for (const table of applied.length === 0 ? found : await this.telemetryTables()) {
      for (const notice of table.notices) logger.warn({ table: table.table, generation: table.generation }, notice)
    }
  }

  /** Applies what is due. @throws AppError `migration_changed`, `store_refused`, `store_unavailable` */
  migrate(): Promise<MigrationState[]> {
    return migrate(this.#adminRunner(), { ...this.#migrationOptions(), logger: this.#options.logger })
  }

  /**
   * The telemetry tables as they are. From then on inserts fit them: the exporter's other names and types.
   * @throws AppError `config_invalid` when one of them cannot be written
   */
  async telemetryTables(): Promise<TelemetryTable[]> {
    const tables = await telemetryTables(this.#runner(this.#clients.write, this.#clients.writerRead), this.database)
    refuseUnusable(tables, this.database)
    for (const table of tables) {
      const adapter = rowAdapter(table)
      if (adapter) this.#adapters.set(table.table, adapter)
    }
    return tables
  }

  async insert(table: string, rows: readonly Readonly<Record<string, unknown>>[], options: { token: string }): Promise<void> {
    if (rows.length === 0) return
    const adapter = this.#adapters.get(table)
    await this.#run(`insert into ${table}`, () =>
      this.#clients.write.insert({
        table: this.#name(table),
        values: adapter ? rows.map(adapter) : rows,
        format: 'JSONEachRow',
        clickhouse_settings: { insert_deduplication_token: options.token } as ClickHouseSettings
      })
    )
  }

  async query<Row = Record<string, unknown>>(sql: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<Row[]> {
    return resultRows<Row>(await this.#select(this.#clients.read, sql, parameters))
  }

  /** Runs one statement on the connection that cannot write; at most READ_ONLY_ROWS_MAX rows. See read-only.ts for what is let through. */
  async queryReadOnly(sql: string): Promise<ReadOnlyResult> {
    const result = await this.#select(this.#clients.readOnly, sql, {}, true)
    const rows = resultRows<Record<string, unknown>>({ meta: result.meta, data: result.data.slice(0, READ_ONLY_ROWS_MAX) })
    return { columns: result.meta, rows }
  }

  /** What `migrate` would do now; for `--plan`. */
  plan(): Promise<SchemaPlan> {
    return planSchema(this.#adminRunner(), this.#migrationOptions())
  }

  /** This store for the store role. Closing it closes nothing. */
  asWriter(): WriterStore {
    return {
      insert: (table, rows, options) => this.insert(table, rows, options),
      query: async <Row = Record<string, unknown>>(sql: string, parameters: Readonly<Record<string, unknown>> = {}) =>
        resultRows<Row>(await this.#select(this.#clients.writerRead, sql, parameters)),
      synchronize: async table => {
        if (this.#options.config.cluster === undefined) return
        await this.#run(`synchronizing ${table}`, () => this.#clients.write.command({ query: `SYSTEM SYNC REPLICA ${this.#name(table)}` }))
      },
      close: async () => {}
    }
  }

  /** Resolves when ClickHouse answers. @throws AppError `store_unavailable` */
  async ping(): Promise<void> {
    await this.query('SELECT 1 AS one')
  }

  /** Waits for running statements, then leaves. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      // The engine aborts for good when a connection closes under a running statement.
      while (this.#running.size > 0) await Promise.allSettled([...this.#running])
      await this.#clients.close()
    })()
    return this.#closing
  }

  async #select(client: ClickHouseClient, sql: string, parameters: Readonly<Record<string, unknown>>, readOnly = false): Promise<CompactResult> {
    return this.#run(
      'query',
      async () => {
        const result = await client.query({ query: sql, format: 'JSONCompact', query_params: { ...parameters } })
        return (await result.json()) as unknown as CompactResult
      },
      readOnly
    )
  }

  async #run<T>(what: string, work: () => Promise<T>, readOnly = false): Promise<T> {
    if (this.#closing) throw new AppError('store_unavailable', `${what}: the store is closed`)
    const running = work()
    this.#running.add(running)
    try {
      return await running
    } catch (cause) {
      throw storeError(what, cause, { readOnly })
    } finally {
      this.#running.delete(running)
    }
  }

  #migrationOptions(): MigrationOptions {
    const { database, telemetryTtlDays, recordsTtlDays, cluster } = this.#options.config
    return { database, telemetryTtlDays, recordsTtlDays, ...(cluster === undefined ? {} : { cluster }) }
  }

  #adminRunner(): MigrationRunner {
    return this.#runner(this.#clients.admin.command, this.#clients.admin.query)
  }

  #runner(commands: ClickHouseClient, queries: ClickHouseClient): MigrationRunner {
    return {
      command: async sql => {
        await this.#run('migration', () => commands.command({ query: sql }))
      },
      query: async <Row>(sql: string): Promise<Row[]> => {
        try {
          return resultRows<Row>(await this.#select(queries, sql, {}))
        } catch (error) {
          const code = error instanceof AppError ? clickhouseCode(error.cause) : undefined
          if (code === UNKNOWN_TABLE || code === UNKNOWN_DATABASE) return []
          throw error
        }
      }
    }
  }

  #name(table: string): string {
    return `${quoteIdentifier(this.database)}.${quoteIdentifier(table)}`
  }
}
