// The store over HTTP passes the store's contract; and what only a server has: a password, and being away.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { readOnlyQuery } from '../../pipeline/store/read-only.ts'
import { systemClock } from '../../pipeline/system.ts'
import { clickhouseServer, type TestServer } from '../support/clickhouse-http.ts'
import { quietLogger } from '../support/log-tools.ts'
import { storeConfig } from '../support/store-tools.ts'
import { storeContract } from './store.ts'

const path = mkdtempSync(join(tmpdir(), 'homeostat-server-'))
let server: TestServer
let store: ClickHouseStore

const open = (password = 'secret'): Promise<ClickHouseStore> =>
  ClickHouseStore.open({ config: storeConfig({ url: server.url, password }), dataDir: path, clock: systemClock, logger: quietLogger })

beforeAll(async () => {
  server = await clickhouseServer(path)
  server.password = 'secret'
})
afterAll(async () => {
  await store?.close()
  await server.close()
  rmSync(path, { recursive: true, force: true })
})

storeContract('ClickHouse over HTTP', async () => {
  store = await open()
  const reopen = async (): Promise<ClickHouseStore> => {
    await store.close()
    store = await open()
    return store
  }
  return { store, reopen, close: async () => {} }
})

test('a wrong password is refused, not waited for', async () => {
  await expect(open('wrong')).rejects.toMatchObject({ code: 'store_refused' })
})

test('a server that is away is unavailable, and works again when it is back', async () => {
  server.down = true
  await expect(store.query('SELECT 1 AS one')).rejects.toMatchObject({ code: 'store_unavailable', retriable: true })
  await expect(store.insert('otel_logs', [{ Body: 'x' }], { token: 'away' })).rejects.toMatchObject({ code: 'store_unavailable' })
  server.down = false
  expect(await store.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
})

test('the read-only way reads and does not write', async () => {
  expect(await readOnlyQuery(store, 'SELECT count() >= 0 AS ok FROM otel_logs', { rowsMax: 10 })).toEqual([{ ok: 1 }])
  await expect(store.queryReadOnly('TRUNCATE TABLE otel_logs')).rejects.toMatchObject({ code: 'store_refused' })
})
