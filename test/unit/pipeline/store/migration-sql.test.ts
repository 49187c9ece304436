// One schema for one server and for a cluster: what the files become.

import { describe, expect, test } from 'vitest'
import { bootstrapStatements, type Migration, migrationStatements, readMigrations, ttlStatement } from '../../../../pipeline/store/migration-sql.ts'

const ONE_SERVER = { database: 'homeostat', telemetryTtlDays: 7, recordsTtlDays: 400 }
const CLUSTER = { ...ONE_SERVER, cluster: '{cluster}' }
const rendered = (text: string, options = CLUSTER): string =>
  migrationStatements({ version: 1, name: 'm', checksum: '', text } satisfies Migration, options)[0]!

describe('statements for a cluster', () => {
  test('are sent to every server, each table replicated by shard under a path of its name', () => {
    expect(rendered('CREATE TABLE IF NOT EXISTS {database}.t (\n  a Int8\n) ENGINE = MergeTree\nORDER BY a;')).toBe(
      "CREATE TABLE IF NOT EXISTS `homeostat`.t ON CLUSTER '{cluster}' (\n  a Int8\n) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/homeostat/t', '{replica}')\nORDER BY a"
    )
  })

  test('keep what an engine is told', () => {
    expect(rendered('CREATE TABLE IF NOT EXISTS {database}.t (a Int8) ENGINE = ReplacingMergeTree(Precedence) ORDER BY a;')).toContain(
      "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/homeostat/t', '{replica}', Precedence)"
    )
    expect(rendered('CREATE TABLE IF NOT EXISTS {database}.t (a Int8) ENGINE = AggregatingMergeTree ORDER BY a;')).toContain(
      "ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/homeostat/t', '{replica}')"
    )
  })

  test('remember insert tokens where replicated tables do, and for longer than an hour', () => {
    const sql = rendered('CREATE TABLE IF NOT EXISTS {database}.t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000;')
    expect(sql).toContain('SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = 604800')
    expect(sql).not.toContain('non_replicated')
  })

  test('views, the database and times to live go to every server too', () => {
    expect(rendered('CREATE VIEW IF NOT EXISTS {database}.v AS SELECT 1;')).toBe("CREATE VIEW IF NOT EXISTS `homeostat`.v ON CLUSTER '{cluster}' AS SELECT 1")
    expect(rendered('CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.v TO {database}.t AS SELECT 1;')).toBe(
      "CREATE MATERIALIZED VIEW IF NOT EXISTS `homeostat`.v ON CLUSTER '{cluster}' TO `homeostat`.t AS SELECT 1"
    )
    expect(rendered('DROP VIEW IF EXISTS {database}.v;')).toBe("DROP VIEW IF EXISTS `homeostat`.v ON CLUSTER '{cluster}'")
    expect(bootstrapStatements({ ...CLUSTER, cluster: 'prod' })).toEqual([
      "CREATE DATABASE IF NOT EXISTS `homeostat` ON CLUSTER 'prod'",
      expect.stringMatching(/homeostat_migrations ON CLUSTER 'prod' .*ReplicatedMergeTree\('\/clickhouse\/tables\/\{shard\}\/homeostat\/homeostat_migrations'/)
    ])
    expect(ttlStatement('otel_logs', 'toDateTime(Timestamp)', 3, CLUSTER)).toBe(
      "ALTER TABLE `homeostat`.otel_logs ON CLUSTER '{cluster}' MODIFY TTL toDateTime(Timestamp) + toIntervalDay(3) SETTINGS materialize_ttl_after_modify = 0"
    )
  })

  test('are the whole schema: no statement of any file stays on one server', () => {
    for (const migration of readMigrations()) {
      const local = migrationStatements(migration, ONE_SERVER)
      const spread = migrationStatements(migration, CLUSTER)
      expect(spread).toHaveLength(local.length)
      for (const [index, sql] of spread.entries()) {
        expect(sql).toContain("ON CLUSTER '{cluster}'")
        expect(sql.match(/ENGINE = (\w+)/)?.[1] ?? 'ReplicatedView').toMatch(/^Replicated/)
        expect(local[index]).not.toMatch(/CLUSTER|Replicated/)
      }
    }
  })

  test('a statement that is not written to be repeated is refused instead of being sent to one server only', () => {
    expect(() => rendered('DROP TABLE {database}.t;')).toThrow(/cannot be written for a cluster/)
  })
})
