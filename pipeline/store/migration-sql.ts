// From the numbered files of schemas/clickhouse to the statements that run: a pure function of their text and the configuration.
//
// Placeholders in the files: {database}, {telemetryTtlDays}, {recordsTtlDays}. The files are written for one server; for a cluster the same
// statements get ON CLUSTER and Replicated engines here, so that there is one schema and not two.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { AppError, assert } from '../../schemas/errors.ts'

const FOLDER = new URL('../../schemas/clickhouse/', import.meta.url)

export interface Migration {
  version: number
  name: string
  checksum: string
  text: string
}

/** What the statements depend on. */
export interface SchemaOptions {
  database: string
  telemetryTtlDays: number
  recordsTtlDays: number
  /** Name of the cluster, or a macro in braces; absent: one server. */
  cluster?: string
}

/** Tokens that a table remembers. The files say the same for one server, and it tells our tables from others' of the same name. */
export const DEDUPLICATION_WINDOW = 1_000
/** ClickHouse's own default forgets a token after an hour; a flush may be done again after a long outage. */
const DEDUPLICATION_SECONDS = 7 * 86_400

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

/** File of a migration, for messages. */
export function migrationFile({ version, name }: Pick<Migration, 'version' | 'name'>): string {
  return `schemas/clickhouse/${String(version).padStart(4, '0')}_${name}.sql`
}

/** The statements of a file with its placeholders filled in. A statement ends with `;` at the end of a line. */
export function migrationStatements(migration: Migration, options: SchemaOptions): string[] {
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
    .map(statement => onCluster(statement, options))
}

/** What must be there before the first migration: the database and the table that remembers migrations. */
export function bootstrapStatements(options: SchemaOptions): string[] {
  const database = quoteIdentifier(options.database)
  return [
    `CREATE DATABASE IF NOT EXISTS ${database}`,
    `CREATE TABLE IF NOT EXISTS ${database}.homeostat_migrations (Version UInt32, Name String, Checksum String, AppliedAt DateTime64(9) DEFAULT now64(9)) ENGINE = MergeTree ORDER BY Version`
  ].map(statement => onCluster(statement, options))
}

/** Remembers that a migration was applied. */
export function recordStatement(migration: Migration, options: SchemaOptions): string {
  return `INSERT INTO ${quoteIdentifier(options.database)}.homeostat_migrations (Version, Name, Checksum) VALUES (${migration.version}, '${migration.name}', '${migration.checksum}')`
}

/** Gives a table of ours another time to live; rows beyond it go with the next merges, not at once. */
export function ttlStatement(table: string, column: string, days: number, options: SchemaOptions): string {
  const statement = `ALTER TABLE ${quoteIdentifier(options.database)}.${table} MODIFY TTL ${column} + toIntervalDay(${days}) SETTINGS materialize_ttl_after_modify = 0`
  return onCluster(statement, options)
}

/**
 * The same statement for every server of the cluster. Tables are replicated under a path of their names, not of their UUIDs: a replica that
 * joins later and creates if absent finds the others.
 */
function onCluster(statement: string, { cluster, database }: SchemaOptions): string {
  if (cluster === undefined) return statement
  const head = /^(?:CREATE (?:DATABASE|TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS|DROP VIEW IF EXISTS|ALTER TABLE) (?:`\w+`\.(\w+)|`\w+`)/.exec(statement)
  assert(head !== null, `the statement cannot be written for a cluster: ${statement.slice(0, 80)}`)
  const path = `/clickhouse/tables/{shard}/${database}/${head[1]}`
  return `${head[0]} ON CLUSTER '${cluster}'${statement.slice(head[0].length)}`
    .replace(/\bENGINE = (\w*MergeTree)(?:\((\w+)\))?/, (_, engine: string, version: string | undefined) => {
      const replicated = [`'${path}'`, `'{replica}'`, ...(version === undefined ? [] : [version])]
      return `ENGINE = Replicated${engine}(${replicated.join(', ')})`
    })
    .replace(
      /\bnon_replicated_deduplication_window = (\d+)/,
      (_, window: string) => `replicated_deduplication_window = ${window}, replicated_deduplication_window_seconds = ${DEDUPLICATION_SECONDS}`
    )
}

/** A database or table name in backticks. @throws AppError `config_invalid` when it is no plain identifier */
export function quoteIdentifier(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) {
    throw new AppError('config_invalid', `store.database: "${name}" is not a plain identifier (letters, digits, _)`)
  }
  return `\`${name}\``
}
