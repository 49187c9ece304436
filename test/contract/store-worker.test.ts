// The store role on a real ClickHouse: every record once, whatever dies in between, and nothing lost silently.
//
// Longer than 300 lines because its scenes share one engine and one set of builders.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { GROUP } from '../../pipeline/store/flush-writer.ts'
import { storeWorker, type StoreWorker } from '../../pipeline/store/store-worker.ts'
import { systemClock } from '../../pipeline/system.ts'
import { controlRecord } from '../../schemas/control.ts'
import { decisionRecord } from '../../schemas/decision.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Log, Store, Subscription } from '../../schemas/ports.ts'
import { deadLetterTopic, TOPICS } from '../../schemas/topics.ts'
import { bytes, countingMeter, eventually, quietLogger } from '../support/log-tools.ts'
import { memoryLog } from '../support/memory-log.ts'
import { aLogsRequest, aMetricsRequest, aSpansRequest, encodeOtlp } from '../support/otlp.ts'
import { aDecision } from '../support/store-records.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const NOW_MS = Date.now()
const METRICS = TOPICS.metrics.name

let opened: TestStore
let store: Store
const workers: StoreWorker[] = []

beforeAll(async () => {
  opened = await openTestStore()
})
afterAll(() => opened.remove())

/** A worker on `log`; what is not given is the real store and small batches. */
function worker(log: Log, more: { store?: Store; batchRowsMax?: number; batchIntervalMs?: number } = {}) {
  const meter = countingMeter()
  const made = storeWorker({
    log,
    store: more.store ?? store,
    config: { batchRowsMax: more.batchRowsMax ?? 5_000, batchInterval: more.batchIntervalMs ?? 20 },
    clock: systemClock,
    logger: quietLogger,
    meter,
    environments: ['lab']
  })
  workers.push(made)
  return { ...made, meter }
}

/** A new log. Appends have a time of their own in each log, as in life: by it the store tells one log from another. */
const realLog = () => {
  const atMs = NOW_MS + ++logs
  return memoryLog({ nowMs: () => atMs })
}
let logs = 0
/** One request of one gauge with the given values; each value is one row. */
const gauges = (service: string, values: readonly number[]): Uint8Array =>
  encodeOtlp('metrics', {
    resourceMetrics: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
        scopeMetrics: [{ metrics: [{ name: 'level', gauge: { dataPoints: values.map(asDouble => ({ asDouble, timeUnixNano: `${NOW_MS}000000` })) } }] }]
      }
    ]
  })
const stored = async (service: string): Promise<number[]> =>
  (await opened.store.query<{ Value: number }>('SELECT Value FROM otel_metrics_gauge WHERE ServiceName = {service:String} ORDER BY Value', { service })).map(
    row => row.Value
  )
const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index)

describe('the store role', () => {
  beforeEach(async () => {
    await Promise.all(workers.splice(0).map(each => each.close()))
    store = opened.store
  })

  test('telemetry of every kind is readable after one interval, without a full batch', async () => {
    const log = realLog()
    await worker(log, { batchIntervalMs: 200 }).start()
    await log.append(METRICS, [{ key: 'soon', value: aMetricsRequest({ services: ['soon'], atMs: NOW_MS }) }])
    await log.append(TOPICS.logs.name, [{ key: 'soon', value: aLogsRequest({ services: ['soon'], atMs: NOW_MS }) }])
    await log.append(TOPICS.spans.name, [{ key: 'soon', value: aSpansRequest({ services: ['soon'], traces: 2, atMs: NOW_MS }) }])
    const counts = (): Promise<unknown[]> =>
      opened.store.query(`SELECT (SELECT count() FROM otel_metrics_sum WHERE ServiceName = 'soon') AS points,
        (SELECT count() FROM otel_logs WHERE ServiceName = 'soon') AS lines, (SELECT count() FROM otel_traces WHERE ServiceName = 'soon') AS spans,
        (SELECT count() FROM otel_traces_trace_id_ts WHERE TraceId IN (SELECT TraceId FROM otel_traces WHERE ServiceName = 'soon')) AS traces`)
    await eventually('all rows', async () => JSON.stringify(await counts()) === JSON.stringify([{ points: 3, lines: 1, spans: 2, traces: 2 }]))
    // Entities are the last insert of a flush.
    const entitiesNow = (): Promise<unknown[]> =>
      opened.store.query(`SELECT Environment, Entity, Signal FROM homeostat_entities_latest WHERE Entity = 'soon' ORDER BY Signal`)
    await eventually('its entities', async () => (await entitiesNow()).length >= 3)
    const entities = await entitiesNow()
    expect(entities).toEqual(['log', 'metric', 'span'].map(Signal => ({ Environment: 'lab', Entity: 'soon', Signal })))
  })

  test('a batch goes at once when it has enough rows, however long the interval is', async () => {
    const log = realLog()
    await worker(log, { batchRowsMax: 10, batchIntervalMs: 3_600_000 }).start()
    await log.append(METRICS, [{ key: 'many', value: gauges('many', numbers(0, 10)) }])
    await eventually('ten rows', async () => (await stored('many')).length === 10)
  })

  test('a decision goes soon, and takes along what waits, however long the interval is', async () => {
    const log = realLog()
    await worker(log, { batchIntervalMs: 3_600_000 }).start()
    await log.append(METRICS, [{ key: 'along', value: gauges('along', [1]) }])
    await log.drained()
    expect(await stored('along')).toEqual([])
    await log.append(TOPICS.decisions.name, [encodeRecord(decisionRecord, aDecision('soon', 'incident'))])
    const decisions = (): Promise<unknown[]> => opened.store.query(`SELECT DecisionId FROM homeostat_decisions WHERE DecisionId = 'soon'`)
    await eventually('the decision', async () => (await decisions()).length === 1)
    await eventually('the gauge', async () => (await stored('along')).length === 1)
  })

  test('a worker that dies between insert and commit leaves nothing twice, though the next batches have other boundaries', async () => {
    const log = realLog()
    const dying = worker(diesAfterItsInsert(log))
    await log.append(
      METRICS,
      [0, 1, 2].map(n => ({ key: 'dies', value: gauges('dies', numbers(n * 10, 10)) }))
    )
    await dying.start()
    await eventually('the insert before the crash', async () => (await stored('dies')).length === 30)
    workers.splice(0) // Dead: neither flushed nor closed.
    await log.append(
      METRICS,
      [3, 4].map(n => ({ key: 'dies', value: gauges('dies', numbers(n * 10, 10)) }))
    )
    await worker(crashed(log), { batchRowsMax: 7 }).start()
    await eventually('the rest', async () => (await stored('dies')).length >= 50)
    await worker(crashed(log), { batchRowsMax: 3 }).start()
    expect(await stored('dies')).toEqual(numbers(0, 50))
  })

  test('who takes over tells the group how far all is stored, though no record follows', async () => {
    const log = realLog()
    await log.append(METRICS, [{ key: 'told', value: gauges('told', numbers(0, 10)), partition: 0 }])
    await worker(diesAfterItsInsert(log)).start()
    await eventually('the insert before the crash', async () => (await stored('told')).length === 10)
    workers.splice(0) // Dead: neither flushed nor closed, and its offset is not committed.
    await worker(crashed(log)).start()
    const group = `${GROUP}-${crashes}`
    const committed = async (): Promise<number | undefined> =>
      (await log.groups()).find(one => one.group === group && one.topic === METRICS && one.partition === 0)?.committed
    await eventually('the commit', async () => (await committed()) === 1)
    expect(await stored('told')).toEqual(numbers(0, 10))
  })

  test('a worker that dies between two tables of one flush is completed by the next', async () => {
    const log = realLog()
    const half: Store = {
      ...portOf(opened.store),
      insert: (table, rows, options) => (table === 'otel_logs' ? new Promise<void>(() => {}) : opened.store.insert(table, rows, options))
    }
    await log.append(METRICS, [{ key: 'half', value: gauges('half', [1, 2, 3]) }])
    await log.append(TOPICS.logs.name, [{ key: 'half', value: aLogsRequest({ services: ['half'], atMs: NOW_MS }) }])
    await worker(log, { store: half }).start()
    await eventually('the first table', async () => (await stored('half')).length === 3)
    workers.splice(0)
    await worker(crashed(log)).start()
    const lines = (): Promise<{ lines: number }[]> => opened.store.query(`SELECT count() AS lines FROM otel_logs WHERE ServiceName = 'half'`)
    await eventually('the second table', async () => (await lines())[0]!.lines === 1)
    expect(await stored('half')).toEqual([1, 2, 3])
  })

  test('while ClickHouse is away reading stops at a bounded buffer, and everything arrives when it is back', async () => {
    const log = realLog()
    let away = true
    const flaky: Store = {
      ...portOf(opened.store),
      insert: (table, rows, options) => (away ? Promise.reject(new AppError('store_unavailable', 'away')) : opened.store.insert(table, rows, options))
    }
    let delivered = 0
    const counted: Log = {
      ...log,
      subscribe: options =>
        log.subscribe({
          ...options,
          batchRecordsMax: 1,
          onBatch: async batch => {
            const fate = await options.onBatch(batch)
            if (batch.topic === METRICS) delivered++
            return fate
          }
        })
    }
    const { start, meter } = worker(counted, { store: flaky, batchRowsMax: 10 })
    await start()
    for (let n = 0; n < 40; n++) await log.append(METRICS, [{ key: 'away', value: gauges('away', numbers(n * 5, 5)) }])
    await eventually('repeated attempts', () => (meter.counts.get('homeostat.store.retries') ?? 0) >= 2)
    expect(delivered).toBeLessThan(12) // Two flushes of ten rows wait, one is on its way.
    away = false
    await eventually('all rows', async () => (await stored('away')).length === 200)
    expect(await stored('away')).toEqual(numbers(0, 200))
  })

  test('a ClickHouse that is slow, then fails, then recovers: lag grows at a bounded buffer, and is drained in full batches, each row once', async () => {
    const log = realLog()
    let mood: 'slow' | 'failing' | 'well' = 'slow'
    const moody: Store = {
      ...portOf(opened.store),
      async insert(table, rows, options) {
        if (mood === 'slow') await new Promise(resolve => setTimeout(resolve, 250))
        if (mood === 'failing') throw new AppError('store_unavailable', 'too many parts')
        await opened.store.insert(table, rows, options)
      }
    }
    let taken = 0
    const oneByOne: Log = {
      ...log,
      subscribe: options =>
        log.subscribe({
          ...options,
          batchRecordsMax: 1,
          async onBatch(batch) {
            const fate = await options.onBatch(batch)
            if (batch.topic === METRICS) taken += batch.records.length
            return fate
          }
        })
    }
    const made = worker(oneByOne, { store: moody, batchRowsMax: 100 })
    await made.start()
    const arrivalMs = 100
    const rowsEach = 5
    const records = 80
    for (let n = 0; n < records; n++) {
      await log.append(METRICS, [{ key: 'moody', value: gauges('moody', numbers(n * rowsEach, rowsEach)) }])
      if (n === 20) mood = 'failing'
      // What piles up during a long failure is put there at once; the test need not wait for it.
      if (mood === 'slow') await new Promise(resolve => setTimeout(resolve, arrivalMs))
    }
    await eventually('a full buffer', () => taken * rowsEach >= 200)
    const before = (await stored('moody')).length
    const backlog = records * rowsEach - before
    expect(backlog).toBeGreaterThan((records * rowsEach) / 2)
    expect(taken * rowsEach - before).toBeLessThanOrEqual(3 * 100 + rowsEach) // Two flushes wait, one is on its way.
    const flushesBefore = made.meter.counts.get('homeostat.store.flushes') ?? 0
    mood = 'well'
    await eventually('all rows', async () => (await stored('moody')).length >= records * rowsEach)
    expect(await stored('moody')).toEqual(numbers(0, records * rowsEach))
    // The time of a flush hardly depends on its rows: full batches drain as fast as ClickHouse takes anything (bench store has the rate).
    expect((made.meter.counts.get('homeostat.store.flushes') ?? 0) - flushesBefore).toBeLessThanOrEqual(Math.ceil(backlog / 100) + 2)
  })

  test('what cannot be decoded goes to the dead-letter topic and the rest is stored', async () => {
    const log = realLog()
    const { start, meter } = worker(log)
    await start()
    const label = { kind: 'label', anomalyId: 'a', label: 'false_positive', note: '', atMs: NOW_MS, by: 'ann' } as const
    await log.append(METRICS, [
      { key: 'bad', value: bytes('\xff\xff not OTLP') },
      { key: 'bad', value: gauges('bad', [1]) }
    ])
    await log.append(TOPICS.control.name, [
      { key: 'k', value: bytes('{}'), headers: { ce_type: 'unheard.of' } },
      encodeRecord(controlRecord, label),
      { key: 'gone', value: null }
    ])
    await eventually('the good row', async () => (await stored('bad')).length === 1)
    await eventually('the label', async () => (await opened.store.query(`SELECT 1 FROM homeostat_control WHERE AnomalyId = 'a'`)).length === 1)
    await eventually('the dead letters', () => [METRICS, TOPICS.control.name].every(topic => log.records(deadLetterTopic(topic)).length === 1))
    expect(log.records(deadLetterTopic(TOPICS.control.name))[0]?.headers['dlq.message']).toContain('unheard.of')
    expect(meter.counts.get('homeostat.store.dead_letters')).toBe(2)
  })

  test('a row that ClickHouse refuses takes only its own record to the dead-letter topic', async () => {
    const log = realLog()
    const picky: Store = {
      ...portOf(opened.store),
      insert(table, rows, options) {
        const refused = table === 'otel_metrics_gauge' && rows.some(row => row.Value === 13)
        return opened.store.insert(table, refused ? rows.map(row => (row.Value === 13 ? { ...row, Value: 'thirteen' } : row)) : rows, options)
      }
    }
    await worker(log, { store: picky }).start()
    await log.append(
      METRICS,
      [[11, 12], [13, 14], [15]].map(values => ({ key: 'picky', value: gauges('picky', values) }))
    )
    await eventually('the good rows', async () => (await stored('picky')).length === 3)
    expect(await stored('picky')).toEqual([11, 12, 15])
    await eventually('the dead letter', () => log.records(deadLetterTopic(METRICS)).length === 1)
    expect(log.records(deadLetterTopic(METRICS))[0]?.headers).toMatchObject({ 'dlq.reason': 'refused_by_store', 'dlq.source.topic': METRICS })
  })

  test('closing stores what is buffered, and a new start neither repeats nor skips', async () => {
    const log = realLog()
    const first = worker(log, { batchIntervalMs: 3_600_000 })
    await first.start()
    await log.append(METRICS, [{ key: 'closing', value: gauges('closing', [1, 2]) }])
    await log.drained()
    await first.close()
    await first.close()
    expect(await stored('closing')).toEqual([1, 2])
    await log.append(METRICS, [{ key: 'closing', value: gauges('closing', [3]) }])
    await worker(log).start()
    await eventually('the new row', async () => (await stored('closing')).length >= 3)
    expect(await stored('closing')).toEqual([1, 2, 3])
  })

  test('a log that was made anew is read from its own offsets, not from those the store remembers', async () => {
    const old = realLog()
    const first = worker(old)
    await first.start()
    await old.append(
      METRICS,
      numbers(0, 5).map(n => ({ key: 'anew', value: gauges('anew', [n]) }))
    )
    await eventually('the old rows', async () => (await stored('anew')).length === 5)
    await first.close()
    const fresh = realLog()
    await fresh.append(
      METRICS,
      numbers(5, 7).map(n => ({ key: 'anew', value: gauges('anew', [n]) }))
    )
    await worker(fresh).start()
    await eventually('the new rows', async () => (await stored('anew')).length === 12)
  })
})

/** The store's two methods as a plain object, for a fault to be laid over. */
function portOf(real: Store): Store {
  return { insert: (...parameters) => real.insert(...parameters), query: (sql, parameters) => real.query(sql, parameters), close: async () => {} }
}

/** The log confirms that the partitions are ours, and is never heard of again when the offsets of what was inserted are to be committed. */
function diesAfterItsInsert(log: Log): Log {
  let confirmed = false
  return {
    ...log,
    async subscribe(options) {
      const subscription = await log.subscribe(options)
      const commit: Subscription['commit'] = async positions => {
        if (confirmed) return new Promise(() => {})
        confirmed = true
        return subscription.commit(positions)
      }
      return { ...subscription, commit }
    }
  }
}

/** The same log after its consumers died: a new group membership that starts at the committed offsets. */
function crashed(log: Log): Log {
  return { ...log, subscribe: options => log.subscribe({ ...options, group: `${options.group}-${++crashes}` }) }
}
let crashes = 0
