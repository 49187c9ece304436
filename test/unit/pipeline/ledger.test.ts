import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { SqliteLedger } from '../../../pipeline/ledger.ts'
import type { LedgerKind, LedgerRows } from '../../../schemas/ports.ts'
import { virtualClock } from '../../support/virtual-clock.ts'

const DAY_MS = 86_400_000
let dir: string
let clock: ReturnType<typeof virtualClock>
let ledger: SqliteLedger
const open = (): SqliteLedger => SqliteLedger.open({ file: join(dir, 'a', 'ledger.db'), clock })
const get = (kind: LedgerKind, key: string) => ledger.transaction(rows => rows.get(kind, key))
const put = (kind: LedgerKind, key: string, row: Record<string, unknown>) => ledger.transaction(rows => rows.put(kind, key, row))

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-ledger-'))
  clock = virtualClock(1_800_000_000_000)
  ledger = open()
})
afterEach(() => {
  ledger.close()
  rmSync(dir, { recursive: true, force: true })
})

test('a row comes back as it was put, kinds do not share keys, and the last put wins', () => {
  const row = { state: 'begun', open: true, attempt: 2, nested: { list: [1, null, 'ä'] } }
  put('step', 'k', row)
  expect(get('step', 'k')).toEqual(row)
  expect(get('command', 'k')).toBeUndefined()
  put('step', 'k', { state: 'applied', open: false })
  expect(get('step', 'k')).toEqual({ state: 'applied', open: false })
})

test('a transaction that throws keeps none of its rows', () => {
  expect(() =>
    ledger.transaction(rows => {
      rows.put('step', 'a', { open: true })
      rows.put('nonce', 'n', {})
      throw new Error('no')
    })
  ).toThrow('no')
  expect(get('step', 'a')).toBeUndefined()
  expect(get('nonce', 'n')).toBeUndefined()
  put('step', 'a', { open: true })
  expect(get('step', 'a')).toEqual({ open: true })
})

test('open rows are listed in the order they began, terminal rows are not, and the list is bounded', () => {
  for (const key of ['c', 'a', 'b']) put('command', key, { key, open: true })
  put('command', 'a', { key: 'a', open: true, state: 'begun' })
  put('command', 'b', { key: 'b', open: false })
  put('step', 's', { key: 's', open: true })
  const open = (rowsMax: number) => ledger.transaction(rows => rows.open('command', rowsMax).map(row => row.key))
  expect(open(10)).toEqual(['c', 'a'])
  expect(open(1)).toEqual(['c'])
  expect(ledger.transaction(rows => [rows.openCount('command'), rows.openCount('step'), rows.openCount('fence')])).toEqual([2, 1, 0])
})

test('rows survive closing and opening again, and closing twice is safe', () => {
  put('fence', 'target', { fence: 7 })
  ledger.close()
  ledger.close()
  ledger = open()
  expect(get('fence', 'target')).toEqual({ fence: 7 })
})

test('a process killed inside a transaction leaves nothing of it, and everything of the one before', () => {
  ledger.close()
  const module = fileURLToPath(new URL('../../../pipeline/ledger.ts', import.meta.url))
  const program = `
    const { SqliteLedger } = await import(${JSON.stringify(module)})
    const ledger = SqliteLedger.open({ file: ${JSON.stringify(join(dir, 'a', 'ledger.db'))} })
    ledger.transaction(rows => rows.put('step', 'before', { open: true }))
    ledger.transaction(rows => { rows.put('step', 'torn', { open: true }); process.kill(process.pid, 'SIGKILL') })`
  const { signal } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program])
  expect(signal).toBe('SIGKILL')
  ledger = open()
  expect(get('step', 'before')).toEqual({ open: true })
  expect(get('step', 'torn')).toBeUndefined()
})

test('a second process cannot open the ledger while the first lives', () => {
  const module = fileURLToPath(new URL('../../../pipeline/ledger.ts', import.meta.url))
  const program = `
    const { SqliteLedger } = await import(${JSON.stringify(module)})
    try { SqliteLedger.open({ file: ${JSON.stringify(join(dir, 'a', 'ledger.db'))}, busyTimeoutMs: 50 }) } catch (error) { console.log(error.code, error.message) }`
  const run = () => spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program], { encoding: 'utf8' }).stdout
  put('step', 'ours', { open: true })
  expect(run()).toContain('log_unavailable')
  ledger.close()
  expect(run()).toBe('')
})

test('work that waits, and a transaction inside a transaction, are bugs', () => {
  expect(() => ledger.transaction(async (rows: LedgerRows) => rows.put('step', 'a', {}))).toThrow(expect.objectContaining({ code: 'bug' }))
  expect(() => ledger.transaction(() => ledger.transaction(() => {}))).toThrow(expect.objectContaining({ code: 'bug' }))
  expect(get('step', 'a')).toBeUndefined()
})

test('terminal rows go after thirty days, nonces a day after their expiry; open rows and fences stay', async () => {
  put('command', 'done', { open: false })
  put('command', 'open', { open: true })
  put('fence', 'target', { fence: 1 })
  put('nonce', 'short', { expiresAtMs: clock.nowMs() + 60_000 })
  put('nonce', 'unknown', {})
  await clock.advance(DAY_MS + 30_000)
  expect(get('nonce', 'short')).toBeDefined()
  await clock.advance(2 * 3_600_000)
  ledger.transaction(() => {})
  expect(get('nonce', 'short')).toBeUndefined()
  expect(get('nonce', 'unknown')).toBeDefined()
  await clock.advance(30 * DAY_MS)
  ledger.transaction(() => {})
  expect(get('command', 'done')).toBeUndefined()
  expect(get('nonce', 'unknown')).toBeUndefined()
  expect(get('command', 'open')).toBeDefined()
  expect(get('fence', 'target')).toBeDefined()
})

test('a clock set back an hour does not make a used nonce new', async () => {
  put('nonce', 'n', { expiresAtMs: clock.nowMs() + 60_000 })
  await clock.advance(3_600_000 * 12)
  ledger.transaction(() => {})
  clock.setWallMs(clock.nowMs() - 3_600_000 * 12)
  expect(get('nonce', 'n')).toBeDefined()
})
