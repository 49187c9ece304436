// Users and grants: the real engine, run with exactly the grants that `homeostat migrate --grants` prints, lets each user do its work and no more.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@clickhouse/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { grantOptions } from '../../pipeline/cli/migrate.ts'
import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { type Grantee, grantStatements, grantsOf, READER_LIMITS } from '../../pipeline/store/grants.ts'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { clickHouseSignals } from '../../pipeline/store/signals.ts'
import { storeWorker } from '../../pipeline/store/store-worker.ts'
import { systemClock } from '../../pipeline/system.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type ClickHouseProcess, startClickHouse } from '../support/clickhouse-process.ts'
import { countingMeter, eventually, quietLogger } from '../support/log-tools.ts'
import { memoryLog } from '../support/memory-log.ts'
import { aLogsRequest, aMetricsRequest, aSpansRequest } from '../support/otlp.ts'
import { storeConfig } from '../support/store-tools.ts'

const path = mkdtempSync(join(tmpdir(), 'homeostat-grants-'))
const DATABASE = 'homeostat'
const NOW_MS = Date.now()

afterAll(() => rmSync(path, { recursive: true, force: true }))

/** The data directory, served to somebody who has the rights of `grantee`. */
function servedTo(grantee: Grantee, work: () => void): void {
  describe(grantee, () => {
    beforeAll(async () => {
      const limits = grantee === 'reader' ? { limits: READER_LIMITS } : {}
      server = await startClickHouse({ path, rights: { grants: grantsOf(grantee, { database: DATABASE }), ...limits } })
    })
    afterAll(() => server.stop())
    work()
  })
}
let server: ClickHouseProcess
const open = (more: Parameters<typeof storeConfig>[0] = {}): Promise<ClickHouseStore> =>
  ClickHouseStore.open({ config: storeConfig({ url: server.url, ...more }), dataDir: path, clock: systemClock, logger: quietLogger })

/** ClickHouse's answer to a bare statement: its error's number, or undefined when it was done. */
async function refusalOf(sql: string): Promise<string | undefined> {
  const client = createClient({ url: server.url, log: { level: 127 } as never })
  try {
    await client.command({ query: sql })
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  } finally {
    await client.close()
  }
}
const ACCESS_DENIED = '497'

servedTo('admin', () => {
  test('makes the tables and views, and changes their times to live', async () => {
    const store = await open()
    await store.close()
    const changed = await open({ telemetryTtlDays: 9_000 })
    expect((await changed.plan()).statements).toEqual([])
    expect((await changed.plan()).migrations.every(({ state }) => state === 'applied')).toBe(true)
    await changed.close()
  })

  test.each([
    'INSERT INTO homeostat.otel_logs (Body) VALUES (1)',
    'DROP TABLE homeostat.otel_logs',
    'TRUNCATE TABLE homeostat.homeostat_outcomes',
    'CREATE USER x'
  ])('is refused: %s', async sql => expect(await refusalOf(sql)).toBe(ACCESS_DENIED))
})

servedTo('writer', () => {
  test('the store role does all of its work', async () => {
    const store = await open({ migrate: false, telemetryTtlDays: 9_000 })
    const log = memoryLog({ nowMs: () => NOW_MS })
    const config = { batchRowsMax: 5_000, batchInterval: 20 }
    const options = { log, store: store.asWriter(), config, clock: systemClock, logger: quietLogger, meter: countingMeter(), environments: ['lab'] }
    const worker = storeWorker(options)
    await worker.start()
    await log.append(TOPICS.metrics.name, [{ key: 'a', value: aMetricsRequest({ services: ['a'], atMs: NOW_MS }) }])
    await log.append(TOPICS.logs.name, [{ key: 'a', value: aLogsRequest({ services: ['a'], atMs: NOW_MS }) }])
    await log.append(TOPICS.spans.name, [{ key: 'a', value: aSpansRequest({ services: ['a'], traces: 2, atMs: NOW_MS }) }])
    await eventually('all offsets', async () => (await log.groups()).reduce((sum, each) => sum + each.committed, 0) === 3)
    await worker.close()
    // A second life reads the journal of the first.
    const second = storeWorker(options)
    await second.start()
    await second.close()
    await store.close()
  })

  test.each([
    'SELECT * FROM homeostat.otel_logs',
    'SELECT Body FROM homeostat.otel_logs',
    'SELECT SpanName FROM homeostat.otel_traces',
    'SELECT * FROM homeostat.homeostat_outcomes',
    'ALTER TABLE homeostat.otel_logs MODIFY TTL toDateTime(Timestamp) + toIntervalDay(1)',
    'ALTER TABLE homeostat.homeostat_outcomes DELETE WHERE 1',
    'DELETE FROM homeostat.homeostat_outcomes WHERE 1',
    'TRUNCATE TABLE homeostat.homeostat_outcomes',
    'DROP TABLE homeostat.otel_logs',
    'CREATE TABLE homeostat.mine (a Int8) ENGINE = MergeTree ORDER BY a',
    "INSERT INTO homeostat.homeostat_migrations (Version, Name, Checksum) VALUES (9, 'x', 'y')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"
  ])('is refused: %s', async sql => expect(await refusalOf(sql)).toBe(ACCESS_DENIED))
})

servedTo('reader', () => {
  test('reads signals, records, views and the dictionary of columns', async () => {
    const store = await open({ migrate: false })
    const signals = clickHouseSignals(store)
    expect(await signals.logs('a', NOW_MS - 60_000, NOW_MS + 60_000, 10)).toHaveLength(1)
    expect(await store.query('SELECT count() AS rows FROM homeostat_scorecard')).toEqual([{ rows: 10 }])
    expect(await readOnlyQuery(store, 'SELECT count() AS spans FROM otel_traces', { rowsMax: 1 })).toEqual([{ spans: 2 }])
    expect(await store.query('SELECT count() AS traces FROM otel_traces_trace_id_ts')).toEqual([{ traces: 2 }])
    await store.close()
  })

  test.each([
    "INSERT INTO homeostat.otel_logs (Body) VALUES ('x')",
    'TRUNCATE TABLE homeostat.otel_logs',
    'ALTER TABLE homeostat.otel_logs DELETE WHERE 1',
    'DROP VIEW homeostat.homeostat_scorecard',
    'CREATE TEMPORARY TABLE t (a Int8)',
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"
  ])('is refused: %s', async sql => expect(await refusalOf(sql)).toBe(ACCESS_DENIED))

  test('cannot lift its limits above their maximum', async () => {
    expect(await refusalOf('SELECT 1 SETTINGS max_execution_time = 600')).toBeUndefined()
    expect(await refusalOf('SELECT 1 SETTINGS max_execution_time = 601')).toBe('452')
    expect(await refusalOf('SELECT 1 SETTINGS max_memory_usage = 0')).toBe('452')
    expect(await refusalOf('SELECT number FROM numbers(1000001)')).toBe('396')
  })
})

describe('the printed statements', () => {
  const config = storeConfig()

  test('parse in the engine, on one server and on a cluster', async () => {
    const store = await ClickHouseStore.open({ config, dataDir: mkdtempSync(join(path, 'parse-')), clock: systemClock, logger: quietLogger, migrate: false })
    for (const cluster of [undefined, '{cluster}']) {
      for (const statement of grantStatements({ ...grantOptions(config), cluster })) {
        await expect(store.query('SELECT formatQuery({statement:String}) AS formatted', { statement })).resolves.toHaveLength(1)
      }
    }
    await store.close()
  })

  test('are those of infra/clickhouse/users.sql', () => {
    const text = `${grantStatements(grantOptions(config)).join(';\n')};\n`
    expect(readFileSync(new URL('../../infra/clickhouse/users.sql', import.meta.url), 'utf8').replace(/^--.*\n/gm, '')).toBe(text)
  })

  test('never hold a password', () => {
    const text = grantStatements(grantOptions({ ...config, username: 'w', password: 'hunter2', reader: { username: 'r', password: 'hunter3' } })).join()
    expect(text).not.toMatch(/hunter/)
    expect(text).toMatch(/USER IF NOT EXISTS `w` IDENTIFIED WITH sha256_hash BY '[0-9a-f]{64}'/)
  })
})
