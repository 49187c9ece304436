// The store on the engine inside this process passes the store's contract; and what only it has: one owner a directory, kill -9.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestStore, type TestStore } from '../support/store-tools.ts'
import { storeContract } from './store.ts'

const WRITER = fileURLToPath(new URL('../support/store-writer.ts', import.meta.url))

const THREADS = fileURLToPath(new URL('../support/store-threads.ts', import.meta.url))

let opened: TestStore

beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())

storeContract('ClickHouse in this process', async () => ({ store: opened.store, reopen: () => opened.reopen(), close: async () => {} }))

test('a second process is told that the directory is in use', async () => {
  const child = writer(opened.dataDir)
  const [line] = await lines(child, 1)
  expect(line).toContain('store_unavailable')
  expect(line).toContain('another Homeostat process uses it')
})

test('rows and tokens survive kill -9, and the directory opens again at once', async () => {
  await opened.store.close()
  const child = writer(opened.dataDir)
  const acknowledged = await lines(child, 25)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const store = await opened.reopen()
  const [stored] = await store.query<{ rows: number }>(`SELECT uniqExact(Value) AS rows FROM otel_metrics_gauge WHERE MetricName = 'killed'`)
  expect(stored!.rows).toBeGreaterThanOrEqual(acknowledged.length)
  // What the dead process inserted last may be inserted again by its successor, under the same token.
  const last = Number(acknowledged.at(-1)!.split(' ')[1])
  await store.insert('otel_metrics_gauge', [{ MetricName: 'killed', TimeUnix: `${Math.floor(Date.now() / 1_000)}`, Value: -1 }], { token: `killed-${last}` })
  expect(await store.query(`SELECT 1 FROM otel_metrics_gauge WHERE MetricName = 'killed' AND Value = -1`)).toEqual([])
})

function writer(dataDir: string): ChildProcess {
  return spawn(process.execPath, [WRITER, dataDir], { stdio: ['ignore', 'pipe', 'ignore'] })
}

/** The first `count` lines of the child's output; fewer when it ends before. */
async function lines(child: ChildProcess, count: number): Promise<string[]> {
  const read: string[] = []
  for await (const line of createInterface({ input: child.stdout! })) {
    read.push(line)
    if (read.length >= count) break
  }
  return read
}

test('a thread that owned the engine, closed it or died, leaves the process sound and the directory free for the next thread', async () => {
  await opened.store.close()
  const child = spawn(process.execPath, [THREADS, opened.dataDir], { stdio: ['ignore', 'pipe', 'ignore'] })
  expect(await lines(child, 4)).toEqual(['opened', 'died', 'opened', 'closed'])
  const [code, signal] = child.exitCode === null && child.signalCode === null ? await once(child, 'exit') : [child.exitCode, child.signalCode]
  expect({ code, signal }).toEqual({ code: 0, signal: null })
  await opened.reopen()
})
