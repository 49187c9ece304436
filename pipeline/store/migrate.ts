// The schema's way forward: schemas/clickhouse/NNNN_*.sql, applied once each, in order, with the checksum of their text.
//
// Every statement creates if absent, so a crash in the middle of a file is answered by applying the file again, and two processes that
// start together do no harm. Nothing here drops or rewrites: a file that was applied is never edited, the next file corrects it.
// Placeholders in the files: {database}, {telemetryTtlDays}, {recordsTtlDays}. The checksum is over the text before they are filled in.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { AppError, assert } from '../../schemas/errors.ts'
import type { Logger } from '../../schemas/ports.ts'

const FOLDER = new URL('../../schemas/clickhouse/', import.meta.url)

export interface Migration {
  version: number
  name: string
  checksum: string
  text: string
}

export interface MigrationOptions {
  database: string
  telemetryTtlDays: number
  recordsTtlDays: number
  /** Default: the files of schemas/clickhouse. */
  migrations?: readonly Migration[]
}

/** How statements reach ClickHouse. `query` answers [] when the database or the table does not exist yet. */
export interface MigrationRunner {
  command(sql: string): Promise<void>
  query<Row>(sql: string): Promise<Row[]>
}

/** The numbered files, in order. */
export function readMigrations(folder: URL = FOLDER): Migration[] {
  const files = readdirSync(folder)
    .filter(file => /^\d{4}_[a-z0-9_]+\.sql$/.test(file))
    .sort()
  return files.map(file => {
    const text = readFileSync(new URL(file, folder), 'utf8')
    return { version: Number(file.slice(0, 4)), name: file.slice(5, -4), checksum: createHash('sha256').update(text).digest('hex'), text }
  })
}

/** The statements of a file with its placeholders filled in. A statement ends with `;` at the end of a line. */
export function migrationStatements(migration: Migration, options: MigrationOptions): string[] {
  const values: Readonly<Record<string, string>> = {
    database: quoteIdentifier(options.database),
    telemetryTtlDays: String(options.telemetryTtlDays),
    recordsTtlDays: String(options.recordsTtlDays)
  }
  const text = migration.text
    .split('\n')
    .filter(line => !line.startsWith('--'))
    .join('\n')
    .replace(/\{([a-zA-Z]+)\}/g, (_, name: string) => {
      assert(values[name] !== undefined, `migration ${migration.name} uses the unknown placeholder {${name}}`)
      return values[name]
    })
  return text
    .split(/;[ \t]*(?:\n|$)/)
    .map(statement => statement.trim())
    .filter(statement => statement !== '')
}

/**
 * What `migrate` would apply now, in order.
 * @throws AppError `migration_changed` when an applied file has another checksum
 */
export async function planMigrations(runner: MigrationRunner, options: MigrationOptions): Promise<Migration[]> {
  const applied = await runner.query<{ Version: number; Name: string; Checksum: string }>(
    `SELECT Version, any(Name) AS Name, argMin(Checksum, AppliedAt) AS Checksum FROM ${quoteIdentifier(options.database)}.homeostat_migrations GROUP BY Version`
  )
  const known = new Map(applied.map(row => [Number(row.Version), row]))
  const pending: Migration[] = []
  for (const migration of options.migrations ?? readMigrations()) {
    const row = known.get(migration.version)
    if (!row) pending.push(migration)
    else if (row.Checksum !== migration.checksum) {
      throw new AppError(
        'migration_changed',
        `schemas/clickhouse/${String(migration.version).padStart(4, '0')}_${migration.name}.sql was applied to ${options.database} as another text; restore it and put the change into a new file`,
        { details: { version: migration.version, applied: row.Checksum, now: migration.checksum } }
      )
    }
  }
  return pending
}

/** Brings the schema up to date and the TTLs to what the configuration says. Returns what was applied. Sends no DDL when nothing is due. */
export async function migrate(runner: MigrationRunner, options: MigrationOptions & { logger: Logger }): Promise<Migration[]> {
  const pending = await planMigrations(runner, options)
  const database = quoteIdentifier(options.database)
  if (pending.length > 0) {
    await runner.command(`CREATE DATABASE IF NOT EXISTS ${database}`)
    await runner.command(
      `CREATE TABLE IF NOT EXISTS ${database}.homeostat_migrations (Version UInt32, Name String, Checksum String, AppliedAt DateTime64(9) DEFAULT now64(9)) ENGINE = MergeTree ORDER BY Version`
    )
  }
  for (const migration of pending) {
    for (const statement of migrationStatements(migration, options)) await runner.command(statement)
    await runner.command(
      `INSERT INTO ${database}.homeostat_migrations (Version, Name, Checksum) VALUES (${migration.version}, '${migration.name}', '${migration.checksum}')`
    )
    options.logger.info({ version: migration.version, migration: migration.name }, 'migration applied')
  }
  await applyTtls(runner, options)
  return pending
}

/** Tables whose TTL differs from the configuration get the new one; rows beyond it go with the next merges, not at once. */
async function applyTtls(runner: MigrationRunner, options: MigrationOptions & { logger: Logger }): Promise<void> {
  const database = quoteIdentifier(options.database)
  const tables = await runner.query<{ name: string; engine_full: string }>(
    `SELECT name, engine_full FROM system.tables WHERE database = '${options.database}' AND engine_full LIKE '% TTL %' AND (name LIKE 'otel\\_%' OR name LIKE 'homeostat\\_%')`
  )
  for (const { name, engine_full } of tables) {
    const ttl = /TTL (toDateTime\(\w+\) \+ toIntervalDay\()(\d+)\)/.exec(engine_full)
    if (!ttl) continue // Made by someone else (the Collector) with a TTL of its own: not ours to change.
    const telemetry = name.startsWith('otel_') || name === 'homeostat_flushes'
    const days = telemetry ? options.telemetryTtlDays : options.recordsTtlDays
    if (Number(ttl[2]) === days) continue
    await runner.command(`ALTER TABLE ${database}.${name} MODIFY TTL ${ttl[1]}${days}) SETTINGS materialize_ttl_after_modify = 0`)
    options.logger.info({ table: name, days }, 'time to live changed')
  }
}

/** A database or table name in backticks. @throws AppError `config_invalid` when it is no plain identifier */
export function quoteIdentifier(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) {
    throw new AppError('config_invalid', `store.database: "${name}" is not a plain identifier (letters, digits, _)`)
  }
  return `\`${name}\``
}
