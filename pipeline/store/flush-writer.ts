// Puts one flush into ClickHouse: a token for each table, so that doing it again adds nothing; passing trouble is waited out.
//
// A row that ClickHouse refuses for its value does not hold up the rest: the table's rows go in record by record, and the guilty
// record goes to its dead-letter topic. Trouble with schema, grants or server is never the record's fault: it is repeated until it works
// or the worker closes, while the worker's buffer fills and then stops reading (nothing is dropped).

import { AppError } from '../../schemas/errors.ts'
import type { Clock, Log, Logger, LogRecord, Meter, Store } from '../../schemas/ports.ts'
import { deadLetterTopic } from '../../schemas/topics.ts'
import { deadLetterRecord } from '../log/dead-letter.ts'
import type { PendingRows, TableBatch } from './pending-rows.ts'
import type { Sighting } from './rows/sighting.ts'
import { msText } from './rows/values.ts'
import { blamesRows } from './store-error.ts'

export const GROUP = 'homeostat-store'

const isTelemetry = (table: string): boolean => table.startsWith('otel_')

/** Tables filled at the same time: while ClickHouse writes one, the next is made into text. More would only hold more text. */
const INSERTS_AT_ONCE = 2
const RETRY_MS_MIN = 250
const RETRY_MS_MAX = 5_000 // A server that comes back is used within five seconds.
const WARN_EVERY = 12 // Attempts between two log lines of one long trouble: about a minute.
const SIGHTING_INTERVAL_MS = 15_000 // M9 asks about 5 minutes; more rows would say no more.
const SIGHTINGS_MAX = 50_000 // Entities remembered as just written; beyond it they are written more often, not less.

export interface FlushWriter {
  /**
   * Resolves when every row is stored, or when nobody needs it any more.
   * @param needed asked before each insert; false: another writer has stored all of this flush
   * @throws AppError when closing while ClickHouse does not take it, or `bug`
   */
  write(flushId: string, pending: PendingRows, needed: () => Promise<boolean>): Promise<void>
  /** Runs `work` until it succeeds, as `write` does. */
  persist<T>(what: string, work: () => Promise<T>): Promise<T>
}

export interface FlushWriterOptions {
  log: Log
  store: Store
  clock: Clock
  logger: Logger
  meter: Meter
  /** Aborted when the worker closes: what fails from then on is not repeated. */
  closing: AbortSignal
}

export function flushWriter(options: FlushWriterOptions): FlushWriter {
  const { store, clock, meter } = options
  const persist = <T>(what: string, work: () => Promise<T>): Promise<T> => persisting(options, what, work)
  const writtenMs = new Map<string, number>()

  async function write(flushId: string, pending: PendingRows, needed: () => Promise<boolean>): Promise<void> {
    /** False when the rows are there already, by somebody else. */
    const insert = (table: string, rows: TableBatch['rows'], token: string): Promise<boolean> =>
      persist(`insert into ${table}`, async () => {
        if (!(await needed())) return false
        await store.insert(table, rows, { token })
        return true
      })
    // Records that people and `explain` wait for go before telemetry.
    const waiting = [...pending.tables].sort(([one], [other]) => Number(isTelemetry(one)) - Number(isTelemetry(other)))
    const insertTables = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const [table, batch] = next
        const token = `${flushId}/${table}`
        try {
          if (!(await insert(table, batch.rows, token))) {
            waiting.length = 0
            return
          }
        } catch (error) {
          if (!blamesRows(error)) throw error
          await insertByRecord(table, batch, token, insert)
        }
        meter.count('homeostat.store.rows', batch.rows.length, { table })
      }
    }
    const ended = await Promise.allSettled(Array.from({ length: INSERTS_AT_ONCE }, insertTables))
    for (const end of ended) if (end.status === 'rejected') throw end.reason
    await writeSightings(pending.sightings, flushId)
  }

  async function insertByRecord(
    table: string,
    batch: TableBatch,
    token: string,
    insert: (table: string, rows: TableBatch['rows'], token: string) => Promise<boolean>
  ): Promise<void> {
    const byRecord = new Map<LogRecord, TableBatch['rows']>()
    for (const [index, source] of batch.sources.entries()) {
      const rows = byRecord.get(source)
      if (rows) rows.push(batch.rows[index]!)
      else byRecord.set(source, [batch.rows[index]!])
    }
    for (const [record, rows] of byRecord) {
      try {
        const own = `${token}/${record.topic}/${record.partition}/${record.offset}`
        await insert(table, rows, own)
      } catch (error) {
        if (!blamesRows(error)) throw error
        await bury(options, record, (error as AppError).message)
      }
    }
  }

  async function writeSightings(sightings: readonly Sighting[], flushId: string): Promise<void> {
    const nowMs = clock.monotonicMs()
    const due = new Map<string, Sighting>()
    for (const sighting of sightings) {
      const name = `${sighting.environment}\n${sighting.entity}\n${sighting.signal}`
      if (nowMs - (writtenMs.get(name) ?? Number.NEGATIVE_INFINITY) < SIGHTING_INTERVAL_MS) continue
      const known = due.get(name)
      if (!known || known.atMs < sighting.atMs) due.set(name, sighting)
    }
    if (due.size === 0) return
    const rows = [...due.values()].map(({ environment, entity, signal, service, atMs }) => {
      const at = msText(atMs)
      return { Environment: environment, Entity: entity, Signal: signal, ServiceName: service, FirstSeen: at, LastSeen: at }
    })
    await persist('insert into homeostat_entities', () => store.insert('homeostat_entities', rows, { token: `${flushId}/homeostat_entities` }))
    if (writtenMs.size + due.size > SIGHTINGS_MAX) writtenMs.clear()
    for (const name of due.keys()) writtenMs.set(name, nowMs)
  }

  return { write, persist }
}

async function persisting<T>({ clock, logger, meter, closing }: FlushWriterOptions, what: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await work()
      if (attempt > 1) logger.info({ attempts: attempt }, `${what}: works again`)
      return result
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'bug' || blamesRows(error) || closing.aborted) throw error
      meter.count('homeostat.store.retries', 1, { code: error.code })
      if (attempt % WARN_EVERY === 1) logger.warn({ error, attempt }, `${what}: not now, will be repeated`)
      await clock.sleep(Math.min(RETRY_MS_MIN * 2 ** Math.min(attempt - 1, 10), RETRY_MS_MAX), closing)
    }
  }
}

/** The record goes to its dead-letter topic; its offset is committed with the flush. */
async function bury({ log, clock, logger, meter }: FlushWriterOptions, record: LogRecord, message: string): Promise<void> {
  const letter = deadLetterRecord(record, { reason: 'refused_by_store', message, consumer: GROUP, attempts: 1, firstSeenAtMs: clock.nowMs() })
  await log.append(deadLetterTopic(record.topic), [letter])
  meter.count('homeostat.store.dead_letters', 1, { topic: record.topic, reason: 'refused_by_store' })
  logger.warn(
    { topic: record.topic, partition: record.partition, offset: record.offset, message },
    'record refused by ClickHouse, put into the dead-letter topic'
  )
}
