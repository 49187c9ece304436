// What the embedded log promises beyond the contract: bounded disk, damaged files, dead and hung owners.
//
// Longer than 300 lines because the scenarios share one folder on disk, the appender and the consumer processes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { originalRecord } from '../../../../pipeline/log/dead-letter.ts'
import { EmbeddedLog, type EmbeddedLogOptions } from '../../../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import { murmur2 } from '../../../../schemas/partition.ts'
import type { Batch, Clock } from '../../../../schemas/ports.ts'
import { deadLetterTopic, TOPICS } from '../../../../schemas/topics.ts'
import { aRecord, aValue, bytes, countingMeter, eventually, quietLogger, textOf } from '../../../support/log-tools.ts'

const METRICS = TOPICS.metrics.name
const ANOMALIES = TOPICS.anomalies.name
const MIB = 2 ** 20
const DAY_MS = 86_400_000
const LEASE_MS = 9_000 // As membership.ts has it.
let dir: string
let opened: EmbeddedLog[]

async function open(more: Partial<EmbeddedLogOptions> = {}): Promise<EmbeddedLog> {
  const log = await EmbeddedLog.open({ dir, clock: systemClock, logger: quietLogger, meter: countingMeter(), bytesMax: 256 * MIB, groupCommitMs: 0, ...more })
  opened.push(log)
  return log
}
/** A clock whose wall time can be moved. */
function shiftedClock(): Clock & { shiftMs: number } {
  const clock = { ...systemClock, shiftMs: 0, nowMs: () => Date.now() + clock.shiftMs }
  return clock
}
const segmentBytes = (): number => readdirSync(join(dir, 'segments')).reduce((sum, file) => sum + statSync(join(dir, 'segments', file)).size, 0)
const done = async () => ({ kind: 'done' }) as const

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-log-'))
  opened = []
})
afterEach(async () => {
  for (const log of opened) await log.close()
  rmSync(dir, { recursive: true, force: true })
})

describe('a log at its size limit', () => {
  test('refuses telemetry that nobody has read as log_full, still takes control records, and goes on once it was read', async () => {
    const log = await open({ bytesMax: 4 * MIB })
    const slow = await log.subscribe({ group: 'detect', topics: [METRICS], from: 'earliest', autoCommit: false, onBatch: done })
    const fill = () => log.append(METRICS, [{ key: 'k', value: aValue(100_000, 1), partition: 0 }])
    let appended = 0
    await expect(async () => {
      for (; appended < 100; appended++) await fill()
    }).rejects.toMatchObject({ code: 'log_full', retriable: true })
    expect(appended).toBeGreaterThan(25)
    expect((await log.offsets(METRICS))[0]).toEqual({ partition: 0, start: 0, end: appended })
    await log.append(ANOMALIES, [aRecord('an anomaly')])
    // The reader catches up: its place is given back, without a restart.
    let generation = 0
    await slow.close()
    const second = await log.subscribe({
      group: 'detect',
      topics: [METRICS],
      from: 'earliest',
      autoCommit: false,
      async onBatch(batch: Batch) {
        generation = batch.generation
        return { kind: 'done' }
      }
    })
    await eventually('the second reader reads', () => generation > 0)
    expect(await second.commit([{ topic: METRICS, partition: 0, offset: appended, generation }])).toBe(true)
    await log.maintain()
    for (let i = 0; i < 5; i++) await fill()
    expect((await log.offsets(METRICS))[0]!.start).toBeGreaterThan(0)
    expect(segmentBytes()).toBeLessThan(4 * MIB)
  })

  test('lets telemetry that was read give way, so that a small log runs for ever', async () => {
    const log = await open({ bytesMax: 4 * MIB })
    const subscription = await log.subscribe({ group: 'detect', topics: [METRICS], from: 'earliest', onBatch: done })
    for (let i = 0; i < 150; i++) {
      await log.append(METRICS, [{ key: 'k', value: aValue(100_000, i) }])
      await eventually('read', async () => (await subscription.lag()) === 0)
      if (i % 3 === 2) await log.maintain()
    }
    expect(segmentBytes()).toBeLessThan(4 * MIB)
  })

  test('keeps telemetry that no group has ever read: it refuses more instead of dropping', async () => {
    const log = await open({ bytesMax: 4 * MIB })
    let appended = 0
    await expect(async () => {
      for (; appended < 100; appended++) await log.append(METRICS, [{ key: 'k', value: aValue(100_000, 1), partition: 0 }])
    }).rejects.toMatchObject({ code: 'log_full' })
    await log.maintain()
    expect((await log.offsets(METRICS))[0]).toEqual({ partition: 0, start: 0, end: appended })
  })

  test('counts records that age takes from a group which has not read them', async () => {
    const clock = shiftedClock()
    const meter = countingMeter()
    const log = await open({ clock, meter })
    const subscription = await log.subscribe({ group: 'store', topics: [METRICS], from: 'earliest', autoCommit: false, onBatch: done })
    for (let i = 0; i < 3; i++) await log.append(METRICS, [aRecord('x', { partition: 0 })])
    await subscription.close()
    await log.maintain()
    expect(meter.counts.get('homeostat.log.removed_unread_records')).toBeUndefined()
    clock.shiftMs = TOPICS.metrics.retentionMs - 1_000
    await log.subscribe({ group: 'store', topics: [METRICS], from: 'earliest', autoCommit: false, onBatch: done })
    clock.shiftMs = TOPICS.metrics.retentionMs + 60_000
    await log.maintain()
    expect(meter.counts.get('homeostat.log.removed_unread_records')).toBe(3)
  })

  test('gives disk space back when records go', async () => {
    const clock = shiftedClock()
    const log = await open({ clock })
    for (let i = 0; i < 40; i++)
      await log.append(METRICS, [{ key: 'k', value: aValue(MIB, i) }, ...Array.from({ length: 50 }, (_, n) => aRecord('s'.repeat(10_000), { key: `${n}` }))])
    await log.close()
    const again = await open({ clock })
    const before = segmentBytes() + statSync(join(dir, 'log.db')).size
    clock.shiftMs = 3 * DAY_MS
    for (let pass = 0; pass < 5; pass++) await again.maintain()
    await again.close()
    expect(before).toBeGreaterThan(55 * MIB)
    expect(segmentBytes() + statSync(join(dir, 'log.db')).size).toBeLessThan(MIB)
  })
})

test('more old records than one pass removes are all removed by one call', async () => {
  const clock = shiftedClock()
  const log = await open({ clock })
  for (let i = 0; i < 6; i++)
    await log.append(
      ANOMALIES,
      Array.from({ length: 5_000 }, () => aRecord('x'))
    )
  clock.shiftMs = 31 * DAY_MS
  await log.maintain()
  expect(await log.offsets(ANOMALIES)).toEqual([{ partition: 0, start: 30_000, end: 30_000 }])
})

describe('damage on the disk', () => {
  test('a record whose bytes changed is left out and counted, its neighbours come through', async () => {
    const meter = countingMeter()
    const log = await open({ meter })
    await log.append(
      METRICS,
      [1, 2, 3].map(fill => ({ key: 'k', value: aValue(50_000, fill), partition: 0 }))
    )
    const file = join(dir, 'segments', readdirSync(join(dir, 'segments'))[0]!)
    const content = readFileSync(file)
    content[60_000]! ^= 1
    writeFileSync(file, content)
    const records = await log.read({ topic: METRICS, partition: 0, offset: 0 }, 10)
    expect(records.map(r => [r.offset, r.value![0]])).toEqual([
      [0, 1],
      [2, 3]
    ])
    expect(meter.counts.get('homeostat.log.corrupt_records')).toBe(1)
  })

  test('the torn tail of a killed writer is cut off, what was acknowledged stays', async () => {
    const log = await open()
    const appender = spawnScript('log-appender.ts', dir, '100000')
    await once(appender.stdout!, 'data')
    await kill(appender)
    const files = readdirSync(join(dir, 'segments'))
    expect(files.length).toBe(1)
    appendFileSync(join(dir, 'segments', files[0]!), Buffer.alloc(500_000))
    writeFileSync(join(dir, 'segments', '999.seg'), 'a file without a row')
    const sizeBefore = segmentBytes()
    const ends = await log.offsets(METRICS)
    await log.maintain()
    expect(segmentBytes()).toBeLessThan(sizeBefore - 500_000)
    expect(readdirSync(join(dir, 'segments'))).toEqual(files)
    let readable = 0
    for (const { partition } of ends) readable += (await log.read({ topic: METRICS, partition, offset: 0 }, 1_000)).length
    expect(readable).toBe(ends.reduce((sum, p) => sum + p.end, 0))
  })
})

describe('owners that disappear', () => {
  test('a killed process does not delay its successor: the lease is taken over at once', async () => {
    const log = await open()
    await log.append(ANOMALIES, [aRecord('x')])
    const consumer = spawnScript('log-consumer.ts', dir, 'g', ANOMALIES)
    const [line] = (await once(consumer.stdout!, 'data')) as [Buffer]
    const generation = Number(line.toString().split(' ')[0])
    await kill(consumer)
    // On its clock the dead one's lease never ends.
    const nowMs = Date.now() - LEASE_MS
    const successor = await open({ clock: { ...systemClock, nowMs: () => nowMs } })
    let taken = 0
    await successor.subscribe({
      group: 'g',
      topics: [ANOMALIES],
      from: 'earliest',
      async onBatch(batch) {
        taken = batch.generation
        return { kind: 'done' }
      }
    })
    await eventually('the successor reads', () => taken > 0)
    expect(taken).toBe(generation + 1)
  })

  test('a member that hangs is replaced when its lease ends, and cannot commit when it wakes up', async () => {
    const hung = await open({ clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms > 1_000 ? DAY_MS : ms, signal) } })
    const clock = shiftedClock()
    const other = await open({ clock })
    await hung.append(ANOMALIES, [aRecord('x')])
    const generations: number[] = []
    const remember = async (batch: Batch) => {
      generations.push(batch.generation)
      return { kind: 'done' } as const
    }
    const options = { group: 'g', topics: [ANOMALIES], from: 'earliest', autoCommit: false, onBatch: remember } as const
    const first = await hung.subscribe(options)
    await eventually('the first reads', () => generations.length === 1)
    clock.shiftMs = LEASE_MS + 1_000
    await other.subscribe(options)
    await eventually('the second reads', () => generations.length === 2)
    expect(generations[1]).toBeGreaterThan(generations[0]!)
    expect(await first.commit([{ topic: ANOMALIES, partition: 0, offset: 1, generation: generations[0]! }])).toBe(false)
  })

  test('a position from a log that was replaced by another starts over instead of waiting for ever', async () => {
    const log = await open()
    await log.append(ANOMALIES, [aRecord('x')])
    const offsets: number[] = []
    await log.subscribe({
      group: 'g',
      topics: [ANOMALIES],
      from: 'earliest',
      autoCommit: false,
      onAssigned: async () => [{ topic: ANOMALIES, partition: 0, offset: 5_000 }],
      async onBatch(batch) {
        offsets.push(batch.records[0]!.offset)
        return { kind: 'done' }
      }
    })
    await eventually('the record is read', () => offsets.length > 0)
    expect(offsets).toEqual([0])
  })

  test('six processes may create one log at the same moment', async () => {
    const consumers = Array.from({ length: 6 }, (_, i) => spawnScript('log-consumer.ts', dir, `g${i}`, ANOMALIES))
    const ready = Promise.all(consumers.map(async consumer => ((await once(consumer.stdout!, 'data')) as [Buffer])[0].toString()))
    const log = await open()
    await log.append(ANOMALIES, [aRecord('x')])
    expect(await ready).toEqual(Array.from({ length: 6 }, () => '1 1\n'))
    await Promise.all(consumers.map(kill))
  })
})

describe('small things', () => {
  test('the key hash is that of Kafka', () => {
    // Values of org.apache.kafka.common.utils.Utils.murmur2, from Kafka's own unit test.
    const known = { '21': -973932308, foobar: -790332482, 'a-little-bit-long-string': -985981536, 'a-little-bit-longer-string': -1486304829, abc: 479470107 }
    for (const [key, hash] of Object.entries(known)) expect(murmur2(bytes(key))).toBe(hash)
  })

  test('partitions may grow by configuration and never shrink', async () => {
    const grown = await open({ partitions: { [METRICS]: 6 } })
    await grown.append(METRICS, [aRecord('x', { partition: 5 })])
    await grown.close()
    const log = await open({ partitions: { [METRICS]: 2 } })
    expect(log.partitions(METRICS)).toBe(6)
    expect((await log.offsets(METRICS)).map(p => p.end)).toEqual([0, 0, 0, 0, 0, 1])
  })

  test('a dead letter can be put back as it was, for the group that gave up', async () => {
    const log = await open()
    await log.append(METRICS, [aRecord('bad', { partition: 3, headers: { a: 'b' } })])
    const subscription = await log.subscribe({
      group: 'g',
      topics: [METRICS],
      from: 'earliest',
      onBatch: async () => ({ kind: 'done', deadLetters: [{ offset: 0, reason: 'r', message: 'm' }] })
    })
    await eventually('settled', async () => (await subscription.lag()) === 0)
    const [letter] = await log.read({ topic: deadLetterTopic(METRICS), partition: 0, offset: 0 }, 1)
    expect(originalRecord(letter!)).toEqual({
      topic: METRICS,
      record: { key: 'k', value: bytes('bad'), headers: { a: 'b', 'homeostat.for': 'g' }, partition: 3 }
    })
    expect(originalRecord((await log.read({ topic: METRICS, partition: 3, offset: 0 }, 1))[0]!)).toBeUndefined()
  })

  test('status reads groups and lag without joining them', async () => {
    const log = await open()
    await log.append(ANOMALIES, [aRecord('a'), aRecord('b')])
    const subscription = await log.subscribe({ group: 'store', topics: [ANOMALIES], from: 'earliest', autoCommit: false, onBatch: done })
    expect(await log.groups()).toEqual([{ group: 'store', topic: ANOMALIES, partition: 0, committed: 0, end: 2 }])
    await subscription.close()
  })

  test('an append does not keep bytes of the caller: they may be reused once it resolved', async () => {
    const log = await open()
    const value = aValue(40_000, 1)
    await log.append(ANOMALIES, [{ key: 'a', value }])
    value.fill(2)
    await log.append(ANOMALIES, [{ key: 'b', value: value.subarray(0, 3) }])
    const records = await log.read({ topic: ANOMALIES, partition: 0, offset: 0 }, 10)
    expect([records[0]!.value![39_999], textOf(records[1]!)]).toEqual([1, '\u0002\u0002\u0002'])
  })
})

function spawnScript(script: string, ...args: string[]) {
  const path = fileURLToPath(new URL(`../../../support/${script}`, import.meta.url))
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
}
async function kill(child: ReturnType<typeof spawnScript>): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
