// Migrations are applied once, in order, and never silently changed.

import { describe, expect, test } from 'vitest'
import { checkSchema, type MigrationRunner, migrate, planSchema } from '../../../../pipeline/store/migrate.ts'
import { type Migration, migrationStatements, quoteIdentifier, readMigrations } from '../../../../pipeline/store/migration-sql.ts'
import { quietLogger } from '../../../support/log-tools.ts'

const OPTIONS = { database: 'homeostat', telemetryTtlDays: 7, recordsTtlDays: 400 }
const OURS = 'SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000'
const aMigration = (version: number, text = `-- why; with a semicolon\nCREATE TABLE {database}.t${version} (a Int8);\n`): Migration => ({
  version,
  name: `m${version}`,
  checksum: `sum-${text}`,
  text
})

interface Fake extends MigrationRunner {
  commands: string[]
}
/** Remembers commands; knows what `applied` says was applied and the tables' TTLs. */
function aRunner(applied: Migration[] = [], tables: { name: string; engine_full: string }[] = []): Fake {
  const commands: string[] = []
  return {
    commands,
    command: async sql => void commands.push(sql),
    query: async <Row>(sql: string) =>
      (sql.includes('system.columns')
        ? []
        : sql.includes('homeostat_migrations')
          ? applied.map(each => ({ Version: each.version, Name: each.name, Checksum: each.checksum }))
          : tables) as Row[]
  }
}

/** Something new, or nothing but new columns of a table of ours; each may be sent again. */
const CREATES_OR_ADDS =
  /^(CREATE (TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS `homeostat`\.|ALTER TABLE `homeostat`\.homeostat_\w+(\n {4}ADD COLUMN IF NOT EXISTS .+,?)+$)/
const TAKES_AWAY = /\b(DROP|MODIFY|RENAME|UPDATE|DELETE|TRUNCATE|CLEAR)\b/

describe('migrations', () => {
  test('the plan has every file with its state, and every statement that would run, in order; and nothing runs', async () => {
    const migrations = [aMigration(1), aMigration(2), aMigration(3)]
    const runner = aRunner([migrations[0]!, aMigration(2, 'before'), aMigration(9)])
    const plan = await planSchema(runner, { ...OPTIONS, migrations })
    expect(plan.migrations.map(({ version, state }) => [version, state])).toEqual([
      [1, 'applied'],
      [2, 'changed'],
      [3, 'due'],
      [9, 'newer']
    ])
    expect(plan.statements.map(({ sql }) => sql.slice(0, 60))).toEqual(
      [
        'CREATE DATABASE IF NOT EXISTS `homeostat`',
        'CREATE TABLE IF NOT EXISTS `homeostat`.homeostat_migrations (',
        'CREATE TABLE `homeostat`.t3 (a Int8)',
        'INSERT INTO `homeostat`.homeostat_migrations (Version, Name, '
      ].map(sql => sql.slice(0, 60))
    )
    expect(runner.commands).toEqual([])
  })

  test('who may not change the schema is told that it is behind, and which command brings it forward', async () => {
    const migrations = [aMigration(1), aMigration(2)]
    await expect(checkSchema(aRunner([migrations[0]!]), { ...OPTIONS, migrations })).rejects.toMatchObject({
      code: 'schema_behind',
      message: expect.stringMatching(/lacks 1 of 2 migrations, from schemas\/clickhouse\/0002_m2.sql on.*homeostat migrate/)
    })
    await checkSchema(aRunner(migrations), { ...OPTIONS, migrations })
  })

  test('a file that was applied with another text is refused by name', async () => {
    const runner = aRunner([aMigration(1, 'before')])
    await expect(migrate(runner, { ...OPTIONS, migrations: [aMigration(1, 'after')], logger: quietLogger })).rejects.toMatchObject({
      code: 'migration_changed',
      message: expect.stringContaining('0001_m1.sql')
    })
    expect(runner.commands).toEqual([])
  })

  test('nothing due means no statement at all', async () => {
    const migrations = [aMigration(1)]
    const runner = aRunner(migrations)
    expect(await migrate(runner, { ...OPTIONS, migrations, logger: quietLogger })).toEqual([])
    expect(runner.commands).toEqual([])
  })

  test('a migration is recorded only after all of its statements', async () => {
    const runner = aRunner()
    const failing: MigrationRunner = {
      ...runner,
      command: async sql => {
        if (sql.includes('broken')) throw new Error('refused')
        await runner.command(sql)
      }
    }
    const migrations = [aMigration(1, 'CREATE TABLE {database}.fine (a Int8);\nCREATE broken;\n')]
    await expect(migrate(failing, { ...OPTIONS, migrations, logger: quietLogger })).rejects.toThrow('refused')
    expect(runner.commands.filter(sql => sql.startsWith('INSERT'))).toEqual([])
    await migrate(runner, { ...OPTIONS, migrations, logger: quietLogger })
    expect(runner.commands.at(-1)).toContain('INSERT INTO `homeostat`.homeostat_migrations')
  })

  test('a table whose TTL is not the configured one gets it; foreign TTLs are left alone', async () => {
    const runner = aRunner(
      [],
      [
        { name: 'otel_logs', engine_full: `MergeTree TTL toDateTime(Timestamp) + toIntervalDay(3) ${OURS}` },
        { name: 'otel_metrics_sum', engine_full: 'MergeTree TTL toDateTime(TimeUnix) + toIntervalDay(3) SETTINGS index_granularity = 8192' },
        { name: 'homeostat_outcomes', engine_full: 'MergeTree TTL toDateTime(Timestamp) + toIntervalDay(400) SETTINGS x' },
        { name: 'otel_traces', engine_full: 'MergeTree TTL toDate(Timestamp) + toIntervalDay(3) SETTINGS x' }
      ]
    )
    await migrate(runner, { ...OPTIONS, migrations: [], logger: quietLogger })
    expect(runner.commands).toEqual([
      'ALTER TABLE `homeostat`.otel_logs MODIFY TTL toDateTime(Timestamp) + toIntervalDay(7) SETTINGS materialize_ttl_after_modify = 0'
    ])
  })

  test('the files of the schema only ever create or add, fill every placeholder and are numbered without a gap', () => {
    const migrations = readMigrations()
    expect(migrations.map(each => each.version)).toEqual(migrations.map((_, index) => index + 1))
    for (const migration of migrations) {
      const statements = migrationStatements(migration, OPTIONS)
      for (const [index, statement] of statements.entries()) {
        // A view holds nothing: it may go when another definition of it comes with the next statement.
        const view = /^DROP VIEW IF EXISTS (`homeostat`\.homeostat_\w+)$/.exec(statement)?.[1]
        if (view !== undefined) {
          expect(statements[index + 1]).toMatch(`CREATE VIEW IF NOT EXISTS ${view} AS`)
          continue
        }
        expect(statement).toMatch(CREATES_OR_ADDS)
        expect(statement).not.toMatch(TAKES_AWAY)
        expect(statement).not.toMatch(/\{\w+\}/)
      }
    }
  })

  test('a database name that is no identifier never reaches a statement', () => {
    expect(() => quoteIdentifier('a`; DROP')).toThrow(expect.objectContaining({ code: 'config_invalid' }))
    expect(quoteIdentifier('otel')).toBe('`otel`')
  })
})
