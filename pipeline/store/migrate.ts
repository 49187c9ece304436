// The schema's way forward: schemas/clickhouse/NNNN_*.sql, applied once each, in order, with the checksum of their text.
//
// Every statement creates if absent, so a crash in the middle of a file is answered by applying the file again, and two processes that
// start together do no harm. Nothing here drops or rewrites data: a file that was applied is never edited, the next file corrects it. What
// is altered: a view may get another definition, tables of records get columns, and tables that were made here another time to live; tables
// that the Collector's exporter made are left as they are.

import { AppError } from '../../schemas/errors.ts'
import type { Logger } from '../../schemas/ports.ts'
import {
  bootstrapStatements,
  type Migration,
  migrationFile,
  migrationStatements,
  quoteIdentifier,
  readMigrations,
  recordStatement,
  type SchemaOptions,
  ttlStatement
} from './migration-sql.ts'
import { ownTables, telemetryTables } from './telemetry-tables.ts'

export interface MigrationOptions extends SchemaOptions {
  /** Default: the files of schemas/clickhouse. */
  migrations?: readonly Migration[]
}

/** How statements reach ClickHouse. `query` answers [] when the database or the table does not exist yet. */
export interface MigrationRunner {
  command(sql: string): Promise<void>
  query<Row>(sql: string): Promise<Row[]>
}

export interface MigrationState {
  version: number
  name: string
  /** SHA-256 of the file as it is now. */
  checksum: string
  /** `changed`: applied, but as another text. `newer`: applied by a later version of this program; there is no such file here. */
  state: 'applied' | 'due' | 'changed' | 'newer'
}

export interface SchemaPlan {
  migrations: MigrationState[]
  /** Everything that would run, in order, and what for. */
  statements: { reason: string; sql: string }[]
  /** What a person should know: tables of the Collector's exporter, and what they cannot hold. */
  notices: string[]
}

/** What `migrate` would do now. Changes nothing, and shows a changed file instead of refusing it. */
export async function planSchema(runner: MigrationRunner, options: MigrationOptions): Promise<SchemaPlan> {
  const migrations = await migrationStates(runner, options)
  const files = new Map((options.migrations ?? readMigrations()).map(file => [file.version, file]))
  const due = migrations.filter(({ state }) => state === 'due').map(({ version }) => files.get(version)!)
  const statements = due.length === 0 ? [] : bootstrapStatements(options).map(sql => ({ reason: 'bootstrap', sql }))
  for (const migration of due) {
    for (const sql of [...migrationStatements(migration, options), recordStatement(migration, options)])
      statements.push({ reason: migrationFile(migration), sql })
  }
  for (const { table, days, sql } of await dueTtls(runner, options)) statements.push({ reason: `time to live of ${table}: ${days} days`, sql })
  const notices = (await telemetryTables(runner, options.database)).flatMap(table => table.notices)
  return { migrations, statements, notices }
}

/**
 * Brings the schema up to date and the TTLs to what the configuration says. Returns what was applied. Sends no DDL when nothing is due.
 * @throws AppError `migration_changed` when an applied file has another checksum
 */
export async function migrate(runner: MigrationRunner, options: MigrationOptions & { logger: Logger }): Promise<MigrationState[]> {
  const states = await migrationStates(runner, options)
  refuseChanged(states, options)
  const due = states.filter(({ state }) => state === 'due')
  if (due.length > 0) for (const sql of bootstrapStatements(options)) await runner.command(sql)
  const files = options.migrations ?? readMigrations()
  for (const { version, name } of due) {
    const migration = files.find(file => file.version === version)!
    for (const statement of migrationStatements(migration, options)) await runner.command(statement)
    await runner.command(recordStatement(migration, options))
    options.logger.info({ version, migration: name }, 'migration applied')
  }
  for (const { table, days, sql } of await dueTtls(runner, options)) {
    await runner.command(sql)
    options.logger.info({ table, days }, 'time to live changed')
  }
  return due
}

/**
 * For a process that may not change the schema: is it what this version needs?
 * @throws AppError `schema_behind`, `migration_changed`
 */
export async function checkSchema(runner: MigrationRunner, options: MigrationOptions): Promise<void> {
  const states = await migrationStates(runner, options)
  refuseChanged(states, options)
  const due = states.filter(({ state }) => state === 'due')
  if (due.length === 0) return
  const first = migrationFile(due[0]!)
  throw new AppError(
    'schema_behind',
    `the database ${options.database} lacks ${due.length} of ${states.length} migrations, from ${first} on, and store.migrate is false: run \`homeostat migrate\``
  )
}

async function migrationStates(runner: MigrationRunner, options: MigrationOptions): Promise<MigrationState[]> {
  const rows = await runner.query<{ Version: number; Name: string; Checksum: string }>(
    `SELECT Version, any(Name) AS Name, argMin(Checksum, AppliedAt) AS Checksum FROM ${quoteIdentifier(options.database)}.homeostat_migrations GROUP BY Version ORDER BY Version`
  )
  const applied = new Map(rows.map(row => [Number(row.Version), row]))
  const states: MigrationState[] = (options.migrations ?? readMigrations()).map(({ version, name, checksum }) => {
    const known = applied.get(version)
    return { version, name, checksum, state: known === undefined ? 'due' : known.Checksum === checksum ? 'applied' : 'changed' }
  })
  const named = new Set(states.map(({ version }) => version))
  const newer = [...applied].filter(([version]) => !named.has(version))
  return [...states, ...newer.map(([version, row]) => ({ version, name: row.Name, checksum: row.Checksum, state: 'newer' as const }))]
}

function refuseChanged(states: readonly MigrationState[], { database }: SchemaOptions): void {
  const changed = states.find(({ state }) => state === 'changed')
  if (!changed) return
  throw new AppError(
    'migration_changed',
    `${migrationFile(changed)} was applied to ${database} as another text; restore it and put the change into a new file`,
    { details: { version: changed.version, now: changed.checksum } }
  )
}

/** Tables made here whose TTL differs from the configuration. */
async function dueTtls(runner: MigrationRunner, options: SchemaOptions): Promise<{ table: string; days: number; sql: string }[]> {
  const tables = await runner.query<{ name: string; engine_full: string }>(
    `SELECT name, engine_full FROM system.tables WHERE database = '${options.database}' AND engine_full LIKE '% TTL %' AND (name LIKE 'otel\\_%' OR name LIKE 'homeostat\\_%') ORDER BY name`
  )
  const own = ownTables(tables)
  return tables.flatMap(({ name, engine_full }) => {
    const ttl = /TTL (toDateTime\(\w+\)) \+ toIntervalDay\((\d+)\)/.exec(engine_full)
    if (!ttl || !own.has(name)) return []
    const telemetry = name.startsWith('otel_') || name === 'homeostat_flushes'
    const days = telemetry ? options.telemetryTtlDays : options.recordsTtlDays
    return Number(ttl[2]) === days ? [] : [{ table: name, days, sql: ttlStatement(name, ttl[1]!, days, options) }]
  })
}
