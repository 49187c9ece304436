// Who may do what in ClickHouse: three users, each with the least it needs, as SQL for `homeostat migrate --grants`.
//
// admin makes and alters tables, and reads no telemetry that it does not need to make views; writer inserts, and reads its own journal;
// reader selects, within limits. A pure function of the configuration; a test runs the engine with these very grants. Passwords are
// never written: their SHA-256 stands there, or a word in its place that ClickHouse refuses until somebody replaces it.

import { createHash } from 'node:crypto'
import { quoteIdentifier } from './migration-sql.ts'

/** Tables that the store role fills, beside the telemetry tables. */
const RECORD_TABLES = [
  'anomalies',
  'incidents',
  'decisions',
  'commands',
  'outcomes',
  'checks',
  'anchors',
  'control',
  'canaries',
  'models',
  'edges',
  'entities',
  'flushes'
].map(name => `homeostat_${name}`)
const TELEMETRY_TABLES = [
  ...['otel_metrics_gauge', 'otel_metrics_sum', 'otel_metrics_histogram', 'otel_metrics_exponential_histogram', 'otel_metrics_summary'],
  ...['otel_logs', 'otel_traces']
]
const LOOKUP = 'otel_traces_trace_id_ts'
const ENGINES = ['MergeTree', 'ReplacingMergeTree', 'AggregatingMergeTree']

export type Grantee = 'admin' | 'writer' | 'reader'

export interface GrantOptions {
  database: string
  cluster?: string | undefined
  users: Readonly<Record<Grantee, { username: string; password?: string | undefined }>>
}

/** What a reader may use up a statement. A client may ask for more, up to `max`; not for 0, which to ClickHouse is no limit at all. */
export const READER_LIMITS = {
  max_execution_time: { value: 30, max: 600 },
  max_memory_usage: { value: 2 ** 30, max: 4 * 2 ** 30 },
  max_result_rows: { value: 1_000_000, max: 10_000_000 }, // Training reads the longest: a year of incidents and hours of features.
  max_threads: { value: 4, max: 16 }
} as const

const PROFILE = 'homeostat_reader'
const PASSWORD_MISSING = 'PUT_THE_SHA256_OF_THE_PASSWORD_HERE'

/** What each may do, as the text between GRANT and TO. */
export function grantsOf(grantee: Grantee, { database, cluster }: Pick<GrantOptions, 'database' | 'cluster'>): string[] {
  const at = (table: string): string => `${quoteIdentifier(database)}.${table}`
  if (grantee === 'reader') return [`SELECT ON ${at('*')}`]
  if (grantee === 'writer') {
    return [
      ...[...TELEMETRY_TABLES, ...RECORD_TABLES].map(table => `INSERT ON ${at(table)}`),
      // Where an interrupted flush goes on, and whether the schema is new enough.
      `SELECT ON ${at('homeostat_flushes')}`,
      `SELECT ON ${at('homeostat_migrations')}`,
      // The materialized view behind otel_traces, on servers where views run with the rights of who inserts.
      `SELECT(TraceId, Timestamp) ON ${at('otel_traces')}`,
      `INSERT, SELECT ON ${at(LOOKUP)}`,
      ...(cluster === undefined ? [] : [`SYSTEM SYNC REPLICA ON ${at('homeostat_flushes')}`])
    ]
  }
  const engines = cluster === undefined ? ENGINES : ENGINES.map(engine => `Replicated${engine}`)
  return [
    `CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TTL, ALTER ADD COLUMN, SELECT ON ${at('*')}`,
    `INSERT ON ${at('homeostat_migrations')}`,
    `INSERT ON ${at(LOOKUP)}`,
    ...engines.map(engine => `TABLE ENGINE ON ${engine}`),
    ...(cluster === undefined ? [] : ['CLUSTER ON *.*'])
  ]
}

/** The statements, in order; each may be run again. They need a user that may manage users. */
export function grantStatements(options: GrantOptions): string[] {
  const on = options.cluster === undefined ? '' : ` ON CLUSTER '${options.cluster}'`
  const limits = Object.entries(READER_LIMITS).map(([setting, { value, max }]) => `${setting} = ${value} MIN 1 MAX ${max}`)
  const statements = [`CREATE SETTINGS PROFILE IF NOT EXISTS ${quoteIdentifier(PROFILE)}${on} SETTINGS ${limits.join(', ')}`]
  for (const grantee of ['admin', 'writer', 'reader'] as const) {
    const { username, password } = options.users[grantee]
    const user = quoteIdentifier(username)
    const hash = password ? createHash('sha256').update(password).digest('hex') : PASSWORD_MISSING
    const profile = grantee === 'reader' ? ` SETTINGS PROFILE ${quoteIdentifier(PROFILE)}` : ''
    statements.push(`CREATE USER IF NOT EXISTS ${user}${on} IDENTIFIED WITH sha256_hash BY '${hash}'${profile}`)
    for (const grant of grantsOf(grantee, options)) statements.push(`GRANT${on} ${grant} TO ${user}`)
  }
  return statements
}
