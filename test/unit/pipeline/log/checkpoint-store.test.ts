import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkpointStore } from '../../../../pipeline/log/checkpoint-store.ts'
import { EmbeddedLog } from '../../../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import type { Checkpoint, Log } from '../../../../schemas/ports.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { aValue, countingMeter, quietLogger } from '../../../support/log-tools.ts'
import { memoryLog } from '../../../support/memory-log.ts'

let dir: string
let log: EmbeddedLog
const open = (): Promise<EmbeddedLog> =>
  EmbeddedLog.open({ dir, clock: systemClock, logger: quietLogger, meter: countingMeter(), bytesMax: 2 ** 30, groupCommitMs: 0 })

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-checkpoint-'))
  log = await open()
})
afterEach(async () => {
  await log.close()
  rmSync(dir, { recursive: true, force: true })
})

const aCheckpoint = (parts: Record<string, Uint8Array>, more: Partial<Checkpoint> = {}): Checkpoint => ({
  version: 1,
  positions: [{ topic: TOPICS.metrics.name, partition: 2, offset: 17 }],
  parts: new Map(Object.entries(parts)),
  ...more
})
const sizes = (checkpoint: Checkpoint | undefined): unknown =>
  checkpoint && Object.fromEntries([...checkpoint.parts].map(([name, bytes]) => [name, [bytes.length, bytes[0]]]))

test('what was saved is loaded again, bit for bit, also by another process', async () => {
  const random = new Uint8Array(2_500_000).map((_, i) => (i * 7919) >>> 3)
  await checkpointStore(log, { chunkBytesMax: 300_000 }).save('detect-2', aCheckpoint({ table: random, empty: new Uint8Array(0), 'a/b': aValue(3, 5) }))
  await log.close()
  log = await open()
  const loaded = await checkpointStore(log, {}).load('detect-2')
  expect(loaded?.version).toBe(1)
  expect(loaded?.positions).toEqual([{ topic: TOPICS.metrics.name, partition: 2, offset: 17 }])
  expect([...loaded!.parts.keys()].sort()).toEqual(['a/b', 'empty', 'table'])
  expect(Buffer.compare(loaded!.parts.get('table')!, random)).toBe(0)
  expect(await checkpointStore(log, {}).load('detect-3')).toBeUndefined()
})

test('parts that are not named stay, and are not written again', async () => {
  const store = checkpointStore(log, {})
  await store.save('d', aCheckpoint({ big: aValue(4_000_000, 1), small: aValue(10, 1) }))
  const before = await endOfParts(log)
  await store.save('d', aCheckpoint({ small: aValue(11, 2) }, { positions: [] }))
  expect((await endOfParts(log)) - before).toBe(2) // The part and the tombstone of its old slot.
  expect(sizes(await checkpointStore(log, {}).load('d'))).toEqual({ big: [4_000_000, 1], small: [11, 2] })
})

test('another version starts afresh: parts of two formats never mix', async () => {
  const store = checkpointStore(log, {})
  await store.save('d', aCheckpoint({ old: aValue(5, 1), both: aValue(5, 1) }))
  await store.save('d', aCheckpoint({ both: aValue(6, 2) }, { version: 2 }))
  expect(sizes(await checkpointStore(log, {}).load('d'))).toEqual({ both: [6, 2] })
})

test('names do not touch each other, and saves of one name come one after another', async () => {
  const store = checkpointStore(log, {})
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.save(i % 2 === 0 ? 'even' : 'odd', aCheckpoint({ part: aValue(100 + i, i) }))))
  const fresh = checkpointStore(log, {})
  expect(sizes(await fresh.load('even'))).toEqual({ part: [118, 18] })
  expect(sizes(await fresh.load('odd'))).toEqual({ part: [119, 19] })
})

test('a crash at any append of a save, and compaction afterwards, leave the last whole checkpoint', async () => {
  for (let crashAt = 1; crashAt <= 5; crashAt++) {
    const name = `d${crashAt}`
    await checkpointStore(log, {}).save(name, aCheckpoint({ a: aValue(3_000_000, 1), b: aValue(50_000, 1) }))
    let appends = 0
    const crashing: Log = Object.assign(Object.create(log) as Log, {
      append: (...args: Parameters<Log['append']>) => (++appends >= crashAt ? Promise.reject(new Error('killed')) : log.append(...args)),
      read: (...args: Parameters<Log['read']>) => log.read(...args),
      partitions: (topic: string) => log.partitions(topic)
    })
    const saved = checkpointStore(crashing, { chunkBytesMax: 900_000 }).save(name, aCheckpoint({ a: aValue(9_000_000, 2), b: aValue(60_000, 2) }))
    const isWhole = await saved.then(
      () => true,
      () => false
    )
    await log.maintain()
    const expected = isWhole ? { a: [9_000_000, 2], b: [60_000, 2] } : { a: [3_000_000, 1], b: [50_000, 1] }
    expect(sizes(await checkpointStore(log, {}).load(name))).toEqual(expected)
    // The next owner saves and loads as if nothing had been.
    await checkpointStore(log, {}).save(name, aCheckpoint({ b: aValue(70_000, 3) }))
    expect(sizes(await checkpointStore(log, {}).load(name))).toEqual({ ...expected, b: [70_000, 3] })
  }
})

test('saving again and again does not let the disk grow, also where old and living parts share a file', async () => {
  const store = checkpointStore(log, {})
  for (let round = 0; round < 15; round++) {
    await store.save(`once-${round}`, aCheckpoint({ kept: aValue(1_000_000, round) }))
    await store.save('often', aCheckpoint({ table: aValue(10_000_000, round) }))
    await log.maintain()
  }
  for (let pass = 0; pass < 5; pass++) await log.maintain()
  const bytes = readdirSync(join(dir, 'segments')).reduce((sum, file) => sum + statSync(join(dir, 'segments', file)).size, 0)
  expect(bytes).toBeLessThan(90_000_000) // 165 MB were written, 25 MB live, one file of 32 MiB is still being written.
  expect(sizes(await checkpointStore(log, {}).load('often'))).toEqual({ table: [10_000_000, 14] })
  for (let round = 0; round < 15; round++) expect(sizes(await checkpointStore(log, {}).load(`once-${round}`))).toEqual({ kept: [1_000_000, round] })
})

test('a part that is gone makes the checkpoint unreadable, not wrong', async () => {
  const memory = memoryLog()
  const store = checkpointStore(memory, {})
  await store.save('d', aCheckpoint({ a: aValue(10, 1) }))
  const holed: Log = { ...memory, read: async (from, recordsMax) => (from.partition === 0 ? memory.read(from, recordsMax) : []) }
  expect(await checkpointStore(holed, {}).load('d')).toBeUndefined()
  expect(sizes(await checkpointStore(memory, {}).load('d'))).toEqual({ a: [10, 1] })
})

async function endOfParts(log: Log): Promise<number> {
  return (await log.offsets(TOPICS.checkpoints.name))[1]!.end
}
