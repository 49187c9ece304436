// A disk that is really full, on a small tmpfs: refused and retriable, nothing acknowledged lost, no restart needed.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SqliteLedger } from '../../pipeline/ledger.ts'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { aValue, countingMeter, quietLogger } from '../support/log-tools.ts'

const METRICS = TOPICS.metrics.name

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-full-'))
})
afterEach(() => {
  spawnSync('umount', ['-l', dir])
  rmSync(dir, { recursive: true, force: true })
})

describe('on a full disk', () => {
  test('appends are refused as log_full, what was acknowledged is readable, and space makes the log go on', async ({ skip }) => {
    if (!mountTmpfs(dir)) return skip('a small tmpfs cannot be mounted here: needs Linux and root')
    const log = await openLog()
    const ledger = SqliteLedger.open({ file: join(dir, 'ledger.db') })
    ledger.transaction(rows => rows.put('step', 'before', { open: true }))
    const ballast = join(dir, 'ballast')
    const acknowledged: number[] = []
    for (const [round, ballastMib] of [5, 3, 2, 1].entries()) {
      writeFileSync(ballast, Buffer.alloc(ballastMib * 2 ** 20))
      const refusals = await fillUp(log, round % 2 === 0 ? 200_000 : 3_000, acknowledged)
      expect(refusals).toEqual(Array.from({ length: 5 }, () => 'log_full'))
      // What a refused append had written already is given back.
      if (round === 0) expect(segmentBytes()).toBe(acknowledged.length * 200_000)
      expect(() => fillLedger(ledger, round)).toThrow(expect.objectContaining({ code: 'log_full' }))
      await expectReadable(log, acknowledged)
      rmSync(ballast)
      await append(log, 50_000, acknowledged)
      ledger.transaction(rows => rows.put('step', `after-${round}`, { open: true }))
      await expectReadable(log, acknowledged)
    }
    expect(ledger.transaction(rows => rows.open('step', 10))).toHaveLength(5)
    ledger.close()
    await log.close()
    const again = await openLog()
    await expectReadable(again, acknowledged)
    await again.close()
  })
})

function openLog(): Promise<EmbeddedLog> {
  const ports = { clock: systemClock, logger: quietLogger, meter: countingMeter() }
  return EmbeddedLog.open({ ...ports, dir: join(dir, 'log'), bytesMax: 2 ** 30, groupCommitMs: 0 })
}

function segmentBytes(): number {
  const folder = join(dir, 'log', 'segments')
  return readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
}

function fillLedger(ledger: SqliteLedger, round: number): void {
  for (let i = 0; i < 2_000; i++) ledger.transaction(rows => rows.put('step', `full-${round}-${i}`, { open: false, pad: 'x'.repeat(2_000) }))
}

/** Appends until the disk is full, then a few times more; the codes of the refusals. */
async function fillUp(log: EmbeddedLog, sizeBytes: number, acknowledged: number[]): Promise<string[]> {
  const refusals: string[] = []
  for (let i = 0; refusals.length < 5 && i < 20_000; i++) {
    await append(log, sizeBytes, acknowledged).catch((error: { code: string }) => refusals.push(error.code))
  }
  return refusals
}

async function append(log: EmbeddedLog, sizeBytes: number, acknowledged: number[]): Promise<void> {
  const fill = acknowledged.length & 0xff
  const [position] = await log.append(METRICS, [{ key: 'k', value: aValue(sizeBytes, fill), partition: 0 }])
  expect(position!.offset).toBe(acknowledged.length)
  acknowledged.push(fill)
}

async function expectReadable(log: EmbeddedLog, acknowledged: readonly number[]): Promise<void> {
  const fills: number[] = []
  for (;;) {
    const records = await log.read({ topic: METRICS, partition: 0, offset: fills.length }, 500)
    if (records.length === 0) break
    for (const record of records) fills.push(record.value!.every(byte => byte === record.value![0]) ? record.value![0]! : -1)
  }
  expect(fills).toEqual(acknowledged)
}

function mountTmpfs(folder: string): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', folder]).status === 0
}
