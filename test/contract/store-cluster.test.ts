// The schema for a cluster: without a second server here, at least the engine itself reads every statement, and understands engine and settings.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { bootstrapStatements, migrationStatements, readMigrations, ttlStatement } from '../../pipeline/store/migration-sql.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const OPTIONS = { database: 'homeostat', telemetryTtlDays: 7, recordsTtlDays: 400, cluster: '{cluster}' }
const STATEMENTS = [
  ...bootstrapStatements(OPTIONS),
  ...readMigrations().flatMap(migration => migrationStatements(migration, OPTIONS)),
  ttlStatement('otel_logs', 'toDateTime(Timestamp)', 3, OPTIONS)
]

let opened: TestStore

beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())

test('every statement parses as DDL for a cluster', async () => {
  for (const statement of STATEMENTS) {
    const [row] = await opened.store.query<{ formatted: string }>('SELECT formatQuery({statement:String}) AS formatted', { statement })
    expect(row!.formatted).toContain('ON CLUSTER `{cluster}`')
  }
})

test('the settings that replicated tables get exist', async () => {
  const named = new Set(STATEMENTS.flatMap(sql => [...(sql.split(/\bSETTINGS\b/)[1] ?? '').matchAll(/(\w+) = /g)].map(match => match[1]!)))
  named.delete('materialize_ttl_after_modify') // Of the statement, not of the table.
  const known = await opened.store.query<{ name: string }>('SELECT name FROM system.merge_tree_settings')
  expect([...named].filter(name => !known.some(each => each.name === name))).toEqual([])
  expect(named).toContain('replicated_deduplication_window_seconds')
})
