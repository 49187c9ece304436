// What the third door promises: records of Collectors are filed by entity, bad ones do not block, and nothing is lost when the log is away.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { Intake } from '../../../../pipeline/intake/intake.ts'
import { openTopicsDoor } from '../../../../pipeline/intake/otlp-topics.ts'
import { EmbeddedLog } from '../../../../pipeline/log/embedded-log.ts'
import { otlpRoot } from '../../../../pipeline/otlp/descriptor.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import type { Config } from '../../../../schemas/config.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { keyPartition } from '../../../../schemas/partition.ts'
import type { Log, LogRecordInput } from '../../../../schemas/ports.ts'
import { deadLetterTopic, TOPICS } from '../../../../schemas/topics.ts'
import { intakeConfig, keptLogger, keptMeter, until } from '../../../support/intake.ts'
import { logWith } from '../../../support/log-port.ts'
import { type MemoryLog, memoryLog } from '../../../support/memory-log.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'
import { aLogsRequest, aMetricsRequest, aSpansRequest, MESSAGES, type TestSignal } from '../../../support/otlp.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function doorOn<L extends Log = MemoryLog>(log: L, changes: Partial<Config['intake']> = {}) {
  const logger = keptLogger()
  const meter = keptMeter()
  const config = { ...intakeConfig({ retryAfter: 5 }), ...changes }
  const door = openTopicsDoor({ config, environment: 'test', log, clock: systemClock, logger, meter })
  closers.push(() => door.close())
  return { door, log, logger, meter }
}
/** A record as the exporter writes it: no headers, any key. */
const foreign = (value: Uint8Array | null, key: string | null = null): LogRecordInput => ({ key, value, partition: 0 })
/** When the door has settled all records of the topic. */
const settled = (log: Log, topic: string): Promise<void> =>
  until(async () => (await log.groups()).some(group => group.topic === topic && group.partition === 0 && group.committed === group.end))
const asJson = (signal: TestSignal, request: Uint8Array): Uint8Array => {
  const type = otlpRoot().lookupType(MESSAGES[signal])
  const json = JSON.stringify(type.toObject(type.decode(request), { longs: String, enums: Number, bytes: String }))
  // protobufjs writes ids as base64; OTLP wants hex.
  return Buffer.from(json.replaceAll(/"(traceId|spanId)":"([^"]+)"/g, (_, name, id) => `"${name}":"${Buffer.from(id, 'base64').toString('hex')}"`))
}
/** What a request says; the same from JSON may have its fields in another order. */
const said = (signal: TestSignal, request: Uint8Array): unknown => otlpRoot().lookupType(MESSAGES[signal]).decode(request).toJSON()
const taken = (log: MemoryLog, signal: TestSignal = 'metrics'): Buffer[] => log.records(TOPICS[signal].name).map(record => Buffer.from(record.value!))
const letters = (log: MemoryLog, topic: string) => log.records(deadLetterTopic(topic)).map(({ value, headers }) => [value, headers['dlq.reason']])

describe('what Collectors write is in our topics, filed by entity', () => {
  const REQUESTS = { metrics: aMetricsRequest(), spans: aSpansRequest(), logs: aLogsRequest() }

  test.each(['metrics', 'spans', 'logs'] as const)('%s byte for byte, whatever the record is keyed with', async signal => {
    const { log, meter } = doorOn(memoryLog())
    const request = REQUESTS[signal]
    await log.append(`otlp_${signal}`, [foreign(request), foreign(request, '\u0000\ufffd\u0012 sixteen binary'), foreign(request, 'a'.repeat(32))])
    await settled(log, `otlp_${signal}`)
    expect(taken(log, signal)).toEqual(Array(3).fill(Buffer.from(request)))
    const key = signal === 'spans' ? '01'.repeat(16) : 'orders'
    expect(log.records(TOPICS[signal].name).map(record => [record.key, record.partition])).toEqual(Array(3).fill([key, keyPartition(key, 4)]))
    expect(meter.total('homeostat.intake.requests', { signal, transport: 'kafka', code: 'ok' })).toBe(3)
    expect(meter.total('homeostat.intake.items', { signal, transport: 'kafka' })).toBe(signal === 'metrics' ? 9 : 3)
    expect(meter.total('homeostat.intake.bytes', { signal, transport: 'kafka' })).toBe(3 * request.length)
  })

  test.each(['metrics', 'spans', 'logs'] as const)('%s in JSON are told from protobuf without being told', async signal => {
    const { log } = doorOn(memoryLog())
    await log.append(`otlp_${signal}`, [foreign(asJson(signal, REQUESTS[signal])), foreign(REQUESTS[signal])])
    await settled(log, `otlp_${signal}`)
    expect(taken(log, signal).map(request => said(signal, request))).toEqual(Array(2).fill(said(signal, REQUESTS[signal])))
  })

  test('a configured encoding counts, whatever the first byte says', async () => {
    const topics = { ...intakeConfig().topics, metrics: { topic: 'otlp_metrics', encoding: 'otlp_json' as const } }
    const { log } = doorOn(memoryLog(), { topics })
    await log.append('otlp_metrics', [foreign(Buffer.concat([Buffer.from('\n '), asJson('metrics', REQUESTS.metrics)])), foreign(REQUESTS.metrics)])
    await settled(log, 'otlp_metrics')
    expect(taken(log).map(request => said('metrics', request))).toEqual([said('metrics', REQUESTS.metrics)])
    expect(letters(log, 'otlp_metrics')).toEqual([[REQUESTS.metrics, 'malformed_otlp']])
  })

  test('configured topics are read, and the usual ones left alone', async () => {
    const named = (topic: string) => ({ topic })
    const topics = { enabled: true, metrics: named('edge.metrics'), spans: named('edge.spans'), logs: named('edge.logs') }
    const { log, door } = doorOn(memoryLog(), { topics })
    await log.append('edge.metrics', [foreign(REQUESTS.metrics)])
    await log.append('otlp_metrics', [foreign(REQUESTS.metrics)])
    await settled(log, 'edge.metrics')
    expect(door.topics).toEqual(['edge.metrics', 'edge.spans', 'edge.logs'])
    expect(taken(log)).toHaveLength(1)
  })

  test('a resource without a name is filed under the configured entity, else under the topic', async () => {
    const nameless = aMetricsRequest({ services: [''] })
    const plain = doorOn(memoryLog())
    const named = doorOn(memoryLog(), { fallbackEntity: 'edge-7' })
    for (const { log } of [plain, named]) {
      await log.append('otlp_metrics', [foreign(nameless)])
      await settled(log, 'otlp_metrics')
    }
    expect(plain.log.records(TOPICS.metrics.name).map(record => record.key)).toEqual(['kafka:otlp_metrics'])
    expect(named.log.records(TOPICS.metrics.name).map(record => record.key)).toEqual(['edge-7'])
    expect(Buffer.from(plain.log.records(TOPICS.metrics.name)[0]!.value!).includes('homeostat.entity')).toBe(true)
  })

  test('one batch is one append, in the order of the topic', async () => {
    const log = memoryLog()
    const appends: number[] = []
    const counting: Log = {
      ...log,
      append: (topic, records) => {
        if (topic === TOPICS.metrics.name) appends.push(records.length)
        return log.append(topic, records)
      }
    }
    const requests = Array.from({ length: 200 }, (_, index) => aMetricsRequest({ atMs: 1_700_000_000_000 + index }))
    await log.append(
      'otlp_metrics',
      requests.map(request => foreign(request))
    )
    doorOn(counting)
    await until(() => log.records(TOPICS.metrics.name).length === 200)
    expect(appends).toEqual([200])
    expect(taken(log)).toEqual(requests.map(request => Buffer.from(request)))
  })
})

describe('what cannot be read does not block what can', () => {
  const good = aMetricsRequest()

  test('poison in the middle goes to the dead letters as it was, with its reason', async () => {
    const truncated = good.subarray(0, good.length - 3)
    const { log, meter, logger } = doorOn(memoryLog(), { bodyBytesMax: 1_024 })
    const oversized = new Uint8Array(1_025)
    const poison = [truncated, Buffer.from('{"resourceMetrics": 7}'), oversized, null]
    await log.append('otlp_metrics', [foreign(good), ...poison.map(value => foreign(value, 'k')), foreign(good)])
    await settled(log, 'otlp_metrics')
    expect(taken(log)).toEqual([Buffer.from(good), Buffer.from(good)])
    expect(letters(log, 'otlp_metrics').map(([, reason]) => reason)).toEqual(['malformed_otlp', 'malformed_otlp', 'body_too_large', 'malformed_otlp'])
    expect(letters(log, 'otlp_metrics').map(([value]) => value && Buffer.from(value as Uint8Array))).toEqual(poison.map(value => value && Buffer.from(value)))
    expect(log.records(deadLetterTopic('otlp_metrics'))[0]!.key).toBe('k')
    expect(meter.total('homeostat.intake.refused', { transport: 'kafka', code: 'malformed_otlp' })).toBe(3)
    expect(meter.total('homeostat.intake.requests', { transport: 'kafka', code: 'ok' })).toBe(2)
    expect(logger.lines.filter(line => line.level === 'warn' && line.message.includes('dead letters'))).not.toEqual([])
    expect(await log.groups()).toContainEqual({ group: 'homeostat-intake', topic: 'otlp_metrics', partition: 0, committed: 6, end: 6 })
  })

  test('a record that the log finds too large is a dead letter, its neighbours are taken', async () => {
    const log = memoryLog()
    const large = aMetricsRequest({ services: ['x'.repeat(3_000)] })
    const narrow: Log = {
      ...log,
      append: async (topic, records) => {
        if (topic === TOPICS.metrics.name && records.some(({ value }) => value!.length > 3_000)) throw new AppError('record_too_large', 'too large')
        return await log.append(topic, records)
      }
    }
    await log.append('otlp_metrics', [foreign(good), foreign(large), foreign(good)])
    const { meter } = doorOn(narrow)
    await until(() => log.records(TOPICS.metrics.name).length === 2)
    await settled(log, 'otlp_metrics')
    expect(letters(log, 'otlp_metrics')).toEqual([[large, 'record_too_large']])
    expect(meter.total('homeostat.intake.requests', { code: 'ok' })).toBe(2)
  })

  test('spans of which none has a trace id are kept as a dead letter; some without one are counted', async () => {
    const { log, meter } = doorOn(memoryLog())
    const whole = aSpansRequest({ traces: 2 })
    const id = Buffer.alloc(16, 2)
    const half = Buffer.from(whole)
    half.fill(0, half.indexOf(id), half.indexOf(id) + 16)
    const none = Buffer.from(half)
    none.fill(0, none.indexOf(Buffer.alloc(16, 1)), none.indexOf(Buffer.alloc(16, 1)) + 16)
    await log.append('otlp_spans', [foreign(half), foreign(none)])
    await settled(log, 'otlp_spans')
    expect(meter.total('homeostat.intake.items', { signal: 'spans' })).toBe(1)
    expect(meter.total('homeostat.intake.rejected', { signal: 'spans' })).toBe(1)
    expect(letters(log, 'otlp_spans').map(([, reason]) => reason)).toEqual(['malformed_otlp'])
  })
})

describe('what is in the way for a while', () => {
  test.each(['log_unavailable', 'log_full', 'unknown_topic'] as const)('%s: the batch waits, nothing is a dead letter, nothing is lost', async code => {
    const log = memoryLog()
    await log.append('otlp_metrics', [foreign(aMetricsRequest()), foreign(Buffer.from('poison')), foreign(aMetricsRequest())])
    log.failAppends(new AppError(code, 'away'))
    let refusals = 0
    const watched = logWith(log, { append: (topic, records) => (refusals++, log.append(topic, records)) })
    doorOn(watched)
    await until(() => refusals >= 3)
    expect(await log.groups()).toEqual([])
    expect(log.records(deadLetterTopic('otlp_metrics'))).toEqual([])
    log.failAppends(undefined)
    await until(() => log.records(TOPICS.metrics.name).length === 2)
    await settled(log, 'otlp_metrics')
    expect(log.records(deadLetterTopic('otlp_metrics'))).toHaveLength(1)
    expect(await log.groups()).toContainEqual({ group: 'homeostat-intake', topic: 'otlp_metrics', partition: 0, committed: 3, end: 3 })
  })

  test('closing does not wait for a log that hangs, and what was under way comes again', async () => {
    const log = memoryLog()
    await log.append('otlp_metrics', [foreign(aMetricsRequest())])
    const release = log.holdAppends()
    const first = doorOn(log)
    await new Promise(resolve => setImmediate(resolve))
    await first.door.close()
    expect(log.records(TOPICS.metrics.name)).toEqual([])
    release()
    doorOn(log)
    await until(() => log.records(TOPICS.metrics.name).length >= 1)
  })

  test('a topic that no Collector has made yet keeps nobody waiting, and is read once it is there', async () => {
    const log = memoryLog()
    const there = new Set(['otlp_metrics'])
    const unmade: Log = {
      ...log,
      offsets: async topic => (there.has(topic) ? await log.offsets(topic) : await Promise.reject(new AppError('unknown_topic', topic))),
      subscribe: async options => {
        for (const topic of options.topics) if (!there.has(topic)) throw new AppError('unknown_topic', topic)
        return await log.subscribe(options)
      }
    }
    const clock = virtualClock(1_700_000_000_000)
    const logger = keptLogger()
    const door = openTopicsDoor({ config: intakeConfig(), environment: 'test', log: unmade, clock, logger, meter: keptMeter() })
    closers.push(() => door.close())
    await log.append('otlp_metrics', [foreign(aMetricsRequest())])
    await log.append('otlp_logs', [foreign(aLogsRequest())])
    await until(() => log.records(TOPICS.metrics.name).length === 1)
    expect(logger.lines.find(line => line.level === 'info')!.fields).toMatchObject({ topics: ['otlp_metrics'], missing: ['otlp_spans', 'otlp_logs'] })
    await clock.advance(60_000)
    expect(log.records(TOPICS.logs.name)).toEqual([])
    there.add('otlp_logs')
    await clock.advance(10_000)
    await until(() => log.records(TOPICS.logs.name).length === 1)
    await log.append('otlp_metrics', [foreign(aMetricsRequest())])
    await until(() => log.records(TOPICS.metrics.name).length === 2)
  })

  test('topics that cannot be subscribed to yet are asked again', async () => {
    const log = memoryLog()
    await log.append('otlp_metrics', [foreign(aMetricsRequest())])
    let asked = 0
    const late: Log = {
      ...log,
      subscribe: async options => {
        if (++asked < 3) throw new AppError(asked === 1 ? 'log_unavailable' : 'unknown_topic', 'not yet')
        return await log.subscribe(options)
      }
    }
    const clock = { ...systemClock, sleep: async () => {} }
    const meter = keptMeter()
    const door = openTopicsDoor({ config: intakeConfig(), environment: 'test', log: late, clock, logger: keptLogger(), meter })
    closers.push(() => door.close())
    await until(() => log.records(TOPICS.metrics.name).length === 1)
    expect(meter.total('homeostat.intake.topics_door_reopened')).toBe(2)
  })
})

describe('the intake role', () => {
  test('opens the door only where it is enabled, and closes it with the others', async () => {
    const log = memoryLog()
    const ports = { environment: 'test', log, clock: systemClock, logger: keptLogger(), meter: keptMeter() }
    const closed = await Intake.open({ ...ports, config: intakeConfig() })
    await log.append('otlp_logs', [foreign(aLogsRequest())])
    await closed.close()
    expect(log.records(TOPICS.logs.name)).toEqual([])
    const open = await Intake.open({ ...ports, config: intakeConfig({ topics: { ...intakeConfig().topics, enabled: true } }) })
    await until(() => log.records(TOPICS.logs.name).length === 1)
    await open.close()
    await log.append('otlp_logs', [foreign(aLogsRequest())])
    await new Promise(resolve => setImmediate(resolve))
    expect(log.records(TOPICS.logs.name)).toHaveLength(1)
  })

  test('a kill between append and commit repeats a batch and loses none, on the embedded log', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'homeostat-topics-door-'))
    closers.push(() => rmSync(dir, { recursive: true, force: true }))
    const log = await EmbeddedLog.open({ dir, clock: systemClock, logger: keptLogger(), meter: keptMeter(), bytesMax: 2 ** 28, groupCommitMs: 1 })
    closers.push(() => log.close())
    const requests = Array.from({ length: 5 }, (_, index) => aMetricsRequest({ atMs: 1_700_000_000_000 + index }))
    await log.append(
      'otlp_metrics',
      requests.map(request => foreign(request))
    )
    const read = async () => await log.read({ topic: TOPICS.metrics.name, partition: keyPartition('orders', 4), offset: 0 }, 100)
    // Durable in our topic, but the answer never comes: what a crash before the commit leaves behind.
    const dying = logWith(log, { append: async (topic, records) => (await log.append(topic, records), await new Promise<never>(() => {})) })
    const { door } = doorOn(dying)
    await until(async () => (await read()).length === 5)
    await door.close()
    doorOn(log)
    await until(async () => (await read()).length === 10)
    const kept = (await read()).map(record => Buffer.from(record.value!).toString('base64'))
    expect(new Set(kept)).toEqual(new Set(requests.map(request => Buffer.from(request).toString('base64'))))
  })
})
