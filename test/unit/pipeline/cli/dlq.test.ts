// What `homeostat dlq` promises: every dead letter can be found, read and put back, once, for the consumer that gave up.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type DlqPorts, dlqCommands } from '../../../../pipeline/cli/dlq.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { deadLetterRecord } from '../../../../pipeline/log/dead-letter.ts'
import { EmbeddedLog } from '../../../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { Log, LogRecordInput } from '../../../../schemas/ports.ts'
import { deadLetterTopic, TOPICS } from '../../../../schemas/topics.ts'
import { logWith } from '../../../support/log-port.ts'
import { keptLogger, keptMeter, until } from '../../../support/intake.ts'
import { aLogsRequest, aMetricsRequest } from '../../../support/otlp.ts'

const METRICS = TOPICS.metrics.name
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

let dir: string
let log: Log
const closers: (() => unknown)[] = []
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'homeostat-dlq-'))
  log = await openLog()
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  rmSync(dir, { recursive: true, force: true })
  process.exitCode = undefined
})
async function openLog(): Promise<Log> {
  const open = await EmbeddedLog.open({ dir, clock: systemClock, logger: keptLogger(), meter: keptMeter(), bytesMax: 2 ** 28, groupCommitMs: 1 })
  closers.push(() => open.close())
  return open
}

/** Appends records and lets a consumer of `group` give up on those whose value begins with `bad`. */
async function dieOf(topic: string, inputs: readonly LogRecordInput[], { group = 'homeostat-detect', reason = 'malformed_otlp' } = {}): Promise<void> {
  await log.append(topic, inputs)
  const before = (await log.offsets(deadLetterTopic(topic)))[0]!.end
  const subscription = await log.subscribe({
    group,
    topics: [topic],
    from: 'earliest',
    onBatch: async batch => ({
      kind: 'done',
      deadLetters: batch.records.map(({ offset }) => ({ offset, reason, message: `cannot read\noffset ${offset}: \u001b[2J` }))
    })
  })
  await until(async () => (await log.offsets(deadLetterTopic(topic)))[0]!.end === before + inputs.length)
  await subscription.close()
}
const inOrder = (count: number): LogRecordInput[] => Array.from({ length: count }, (_, index) => ({ key: 'k', value: text(`bad ${index}`), partition: 2 }))

/** Runs the command line on the same folder, as a second process would. */
async function run(args: readonly string[], changes: Partial<DlqPorts> = {}) {
  const printed = { table: [] as Record<string, unknown>[], result: undefined as any, text: '', said: [] as string[], raw: Buffer.alloc(0) }
  const output: Output = {
    table: rows => {
      printed.table = [...rows]
    },
    result: (value, shown) => {
      printed.result = value
      printed.text = shown
    },
    say: line => void printed.said.push(line)
  }
  const program = new Command().exitOverride()
  dlqCommands(program, {
    config: () => configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }),
    output: () => output,
    openLog,
    write: bytes => {
      printed.raw = Buffer.from(bytes)
    },
    confirm: async () => undefined,
    user: 'ann',
    ...changes
  })
  await program.parseAsync(['dlq', ...args], { from: 'user' })
  return printed
}

/** What `group` is given of the topic from `from` on. */
async function given(topic: string, group: string, count: number): Promise<string[]> {
  const seen: string[] = []
  const subscription = await log.subscribe({
    group,
    topics: [topic],
    from: 'earliest',
    onBatch: async batch => {
      for (const record of batch.records) seen.push(Buffer.from(record.value!).toString())
      return { kind: 'done' }
    }
  })
  await until(async () => (await subscription.lag()) === 0 && seen.length >= count)
  await subscription.close()
  return seen
}

describe('dlq list', () => {
  test('shows the newest first, of every topic, with where each came from and why', async () => {
    await dieOf(METRICS, inOrder(2))
    await dieOf('otlp_logs', [{ key: null, value: text('x'), partition: 0 }], { group: 'homeostat-intake' })
    const { table } = await run(['list'])
    expect(table.map(({ time: _time, ...row }) => row)).toEqual([
      {
        id: 'otlp_logs.dlq/0',
        source: '0/0',
        consumer: 'homeostat-intake',
        reason: 'malformed_otlp',
        bytes: 1,
        redriven: '',
        message: 'cannot read offset 0: \\x1b[2J'
      },
      {
        id: `${METRICS}.dlq/1`,
        source: '2/1',
        consumer: 'homeostat-detect',
        reason: 'malformed_otlp',
        bytes: 5,
        redriven: '',
        message: 'cannot read offset 1: \\x1b[2J'
      },
      {
        id: `${METRICS}.dlq/0`,
        source: '2/0',
        consumer: 'homeostat-detect',
        reason: 'malformed_otlp',
        bytes: 5,
        redriven: '',
        message: 'cannot read offset 0: \\x1b[2J'
      }
    ])
    expect(table.every(({ time }) => !Number.isNaN(Date.parse(String(time))))).toBe(true)
  })

  test('keeps to its limit and its topic, named with or without .dlq', async () => {
    await dieOf(METRICS, inOrder(450))
    await dieOf(TOPICS.logs.name, inOrder(1))
    const ids = async (...args: string[]): Promise<unknown[]> => (await run(['list', ...args])).table.map(row => row.id)
    expect(await ids('--limit', '2', '--topic', METRICS)).toEqual([`${METRICS}.dlq/449`, `${METRICS}.dlq/448`])
    expect(await ids('--topic', `${TOPICS.logs.name}.dlq`)).toEqual([`${TOPICS.logs.name}.dlq/0`])
    expect(await ids('--limit', '1000')).toHaveLength(451)
  })

  test('says so when there are none, and refuses nonsense', async () => {
    expect((await run(['list'])).table).toEqual([])
    await expect(run(['list', '--limit', 'many'])).rejects.toMatchObject({ code: 'usage' })
    await expect(run(['list', '--topic', 'homeostat.nothing.v1'])).rejects.toMatchObject({ code: 'not_found' })
  })

  test('a cluster on which the dead-letter topics were never made has none', async () => {
    const lacking = logWith(log, { offsets: async topic => Promise.reject(new AppError('unknown_topic', `no ${topic}`)) })
    expect((await run(['list'], { openLog: async () => lacking })).table).toEqual([])
  })
})

describe('dlq show', () => {
  test('decodes OTLP and JSON, and dumps what is neither', async () => {
    await dieOf(METRICS, [
      { key: 'orders', value: aMetricsRequest(), partition: 0, headers: { a: 'b\u001b]0;x' } },
      { key: 'orders', value: text('{"a":[1]}'), partition: 0 },
      { key: 'orders', value: Buffer.concat([text('bad'), Buffer.alloc(600, 0xff)]), partition: 0 }
    ])
    const otlp = await run(['show', `${METRICS}.dlq/0`])
    expect(otlp.result.preview.kind).toBe('otlp')
    expect(otlp.text).toContain('"name": "requests"')
    expect(otlp.text).toContain('  a: b\\x1b]0;x')
    expect(otlp.text).toContain(`source  ${METRICS} partition 0 offset 0`)
    expect((await run(['show', `${METRICS}/1`])).result.preview).toEqual({ kind: 'json', text: '{\n  "a": [\n    1\n  ]\n}' })
    const bytes = await run(['show', `${METRICS}.dlq/2`])
    expect(bytes.result.preview.kind).toBe('bytes')
    expect(bytes.text).toContain('00000000  62 61 64 ff')
    expect(bytes.text).toContain('… 91 bytes more: --raw writes them')
  })

  test('writes the bytes as they are with --raw', async () => {
    const value = aLogsRequest()
    await dieOf(TOPICS.logs.name, [{ key: 'orders', value, partition: 0 }])
    expect((await run(['show', `${TOPICS.logs.name}.dlq/0`, '--raw'])).raw).toEqual(Buffer.from(value))
  })

  test('says where to look when there is no such letter', async () => {
    await dieOf(METRICS, inOrder(1))
    await expect(run(['show', `${METRICS}.dlq/7`])).rejects.toMatchObject({ code: 'not_found' })
    await expect(run(['show', 'nonsense'])).rejects.toMatchObject({ code: 'usage' })
  })
})

describe('dlq redrive', () => {
  test('puts records back as they were, in order, for the group that gave up and no other', async () => {
    await dieOf(METRICS, [
      { key: 'k', value: text('bad a'), partition: 2, headers: { h: '1' } },
      { key: null, value: text('bad b'), partition: 3 }
    ])
    const printed = await run(['redrive', '--all', '--yes'])
    expect(printed.text).toBe('put back 2')
    const [back] = await log.read({ topic: METRICS, partition: 2, offset: 1 }, 1)
    expect(back).toMatchObject({ key: 'k', headers: { h: '1', 'homeostat.for': 'homeostat-detect' } })
    expect(await given(METRICS, 'homeostat-detect', 2)).toEqual(['bad a', 'bad b'])
    // The other group reads the topic for the first time: the originals, not the copies.
    expect((await given(METRICS, 'homeostat-store', 2)).sort()).toEqual(['bad a', 'bad b'])
  })

  test('a second one skips what was put back, unless told --again; list shows when', async () => {
    await dieOf(METRICS, inOrder(3))
    await run(['redrive', '--id', `${METRICS}.dlq/0`, `${METRICS}.dlq/2`, '--yes'])
    expect((await run(['list'])).table.map(({ id, redriven }) => [id, redriven === ''])).toEqual([
      [`${METRICS}.dlq/2`, false],
      [`${METRICS}.dlq/1`, true],
      [`${METRICS}.dlq/0`, false]
    ])
    expect((await run(['show', `${METRICS}.dlq/2`])).text).toContain('put back 20')
    expect((await run(['redrive', '--all', '--dry-run'])).text).toBe(`${METRICS}: 1 (and 2 put back before: --again)\nwould put back 1`)
    expect((await run(['redrive', '--all', '--yes'])).result.redriven).toBe(1)
    expect((await run(['redrive', '--all', '--yes'])).text).toContain('nothing to put back')
    expect((await run(['redrive', '--topic', METRICS, '--again', '--yes'])).result.redriven).toBe(3)
    expect((await log.offsets(METRICS))[2]!.end).toBe(3 + 2 + 1 + 3)
  })

  test('chooses by topic and reason', async () => {
    await dieOf(METRICS, inOrder(2), { reason: 'malformed_otlp' })
    await dieOf(TOPICS.logs.name, inOrder(2), { reason: 'schema' })
    const would = async (...args: string[]): Promise<number> => (await run(['redrive', ...args, '--dry-run'])).result.wouldRedrive
    expect([await would('--reason', 'schema'), await would('--topic', METRICS), await would('--all')]).toEqual([2, 2, 4])
    expect(await would('--topic', METRICS, '--reason', 'schema')).toBe(0)
  })

  test('asks a person, and needs --yes where nobody is', async () => {
    await dieOf(METRICS, inOrder(1))
    await expect(run(['redrive'])).rejects.toMatchObject({ code: 'usage' })
    await expect(run(['redrive', '--all'])).rejects.toMatchObject({ code: 'usage' })
    const confirm = vi.fn(async () => false)
    expect((await run(['redrive', '--all'], { confirm })).text).toBe('nothing was put back')
    expect(confirm).toHaveBeenCalledWith('put back 1?')
    expect((await log.offsets(METRICS))[2]!.end).toBe(1)
    expect((await run(['redrive', '--all'], { confirm: async () => true })).text).toBe('put back 1')
  })

  test("puts a Collector's record back into the Collector's topic", async () => {
    await dieOf('otlp_metrics', [{ key: null, value: text('bad'), partition: 0 }], { group: 'homeostat-intake' })
    await run(['redrive', '--topic', 'otlp_metrics', '--yes'])
    const [, back] = await log.read({ topic: 'otlp_metrics', partition: 0, offset: 0 }, 2)
    expect(back).toMatchObject({ key: null, value: text('bad'), headers: { 'homeostat.for': 'homeostat-intake' } })
  })

  test('what the log refuses for good is named, stays, and does not hold up the rest', async () => {
    await dieOf(METRICS, inOrder(3))
    const narrow = logWith(log, {
      append: async (topic, records) => {
        if (records.some(({ value }) => value && Buffer.from(value).toString() === 'bad 1')) throw new AppError('record_too_large', 'too large')
        return await log.append(topic, records)
      }
    })
    const printed = await run(['redrive', '--all', '--yes'], { openLog: async () => narrow })
    expect(printed.text).toBe('put back 2, 1 refused')
    expect(printed.said).toContain(`${METRICS}.dlq/1 was refused: too large`)
    expect(process.exitCode).toBe(1)
    expect((await run(['redrive', '--all', '--dry-run'])).result.wouldRedrive).toBe(1)
  })

  test('of a record too large for a log of ours the beginning is kept, and it cannot be put back', async () => {
    const record = { topic: 'otlp_logs', partition: 0, offset: 5, key: null, value: Buffer.alloc(2 ** 26 + 1, 'x'), headers: {}, appendedAtMs: 1 }
    const letter = deadLetterRecord(record, { reason: 'body_too_large', message: 'm', consumer: 'homeostat-intake', attempts: 1, firstSeenAtMs: 1 })
    expect(letter.value).toHaveLength(2 ** 20)
    await log.append('otlp_logs.dlq', [letter])
    expect((await run(['list'])).table).toMatchObject([{ bytes: 2 ** 26 + 1, reason: 'body_too_large' }])
    const printed = await run(['redrive', '--all', '--yes'])
    expect(printed.said).toContain(`otlp_logs.dlq/0 was refused: only the beginning of its ${2 ** 26 + 1} bytes was kept`)
    expect((await log.offsets('otlp_logs'))[0]!.end).toBe(0)
  })

  test('a log that goes away in between leaves the rest for the next time', async () => {
    await dieOf(METRICS, inOrder(450))
    let appends = 0
    const failing = logWith(log, {
      append: async (topic, records) => {
        if (topic === METRICS && ++appends === 2) throw new AppError('log_unavailable', 'away')
        return await log.append(topic, records)
      }
    })
    await expect(run(['redrive', '--all', '--yes'], { openLog: async () => failing })).rejects.toMatchObject({ code: 'log_unavailable' })
    expect((await run(['redrive', '--all', '--yes'])).result.redriven).toBe(250)
    expect((await log.offsets(METRICS))[2]!.end).toBe(900)
  })
})
