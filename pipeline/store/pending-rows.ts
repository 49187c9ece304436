// What was read from the log and is not yet in ClickHouse: rows by table, the offsets they cover, and how much memory they hold.
//
// Plain data of one thread. A crash loses it and nothing else: the offsets are not committed.

import type { Batch, LogRecord, Position, TopicPartition } from '../../schemas/ports.ts'
import type { FlushRange } from './flush-journal.ts'
import { type LogRecordRows, logRecordRows } from './rows/log-record-rows.ts'
import type { Sighting } from './rows/sighting.ts'
import type { Row } from './rows/values.ts'

export interface TableBatch {
  rows: Row[]
  /** The record each row came from, to find the guilty one when ClickHouse refuses a row. */
  sources: LogRecord[]
}

export type PendingRange = FlushRange & { generation: number; sizeBytes: number }

export interface PendingRows {
  tables: Map<string, TableBatch>
  /** By `topic/partition`. */
  ranges: Map<string, PendingRange>
  sightings: Sighting[]
  rowsCount: number
  sizeBytes: number
  unusable: number
  /** When the log took the oldest record here, epoch ms; Infinity when empty. */
  oldestAtMs: number
}

export function emptyPending(): PendingRows {
  return { tables: new Map(), ranges: new Map(), sightings: [], rowsCount: 0, sizeBytes: 0, unusable: 0, oldestAtMs: Number.POSITIVE_INFINITY }
}

/** Adds one record's rows. @returns why the record cannot be read, or undefined */
export function addRecord(pending: PendingRows, record: LogRecord, environment: string): string | undefined {
  const result: LogRecordRows = logRecordRows(record, environment)
  if (!result.ok) return result.reason
  for (const { table, row } of result.rows) {
    let batch = pending.tables.get(table)
    if (!batch) {
      batch = { rows: [], sources: [] }
      pending.tables.set(table, batch)
    }
    batch.rows.push(row)
    batch.sources.push(record)
  }
  for (const sighting of result.sightings) {
    // A sender's clock may be ahead; an entity is not seen later than its record was.
    pending.sightings.push({ ...sighting, atMs: Math.min(sighting.atMs, record.appendedAtMs) })
  }
  pending.rowsCount += result.rows.length
  pending.sizeBytes += record.value?.length ?? 0
  pending.unusable += result.unusable
  pending.oldestAtMs = Math.min(pending.oldestAtMs, record.appendedAtMs)
  return undefined
}

/**
 * Adds a whole batch; it goes on where the partition's rows here end. The generation is the newest seen.
 * @returns the records that cannot be read; their offsets count as covered
 */
export function addBatch(pending: PendingRows, batch: Batch, environment: string): { offset: number; reason: string; message: string }[] {
  const { topic, partition, generation } = batch
  const name = `${topic}/${partition}`
  const known = pending.ranges.get(name)
  const unreadable: { offset: number; reason: string; message: string }[] = []
  const sizeBefore = pending.sizeBytes
  for (const record of batch.records) {
    if (known && record.offset < known.next) continue // Delivered again although we have it.
    const message = addRecord(pending, record, environment)
    if (message !== undefined) unreadable.push({ offset: record.offset, reason: 'unreadable', message })
  }
  const last = batch.records.at(-1)!
  const first = known?.first ?? batch.records[0]!.offset
  const sizeBytes = (known?.sizeBytes ?? 0) + pending.sizeBytes - sizeBefore
  const end = known && known.next > last.offset ? known : { next: last.offset + 1, appendedAtMs: last.appendedAtMs }
  pending.ranges.set(name, { topic, partition, generation, first, next: end.next, appendedAtMs: end.appendedAtMs, sizeBytes })
  return unreadable
}

/** Forgets what came from these partitions: they are somebody else's now, or come again. @returns the rows dropped */
export function dropPartitions(pending: PendingRows, partitions: readonly TopicPartition[]): number {
  const dropped = new Set<string>()
  for (const { topic, partition } of partitions) {
    const range = pending.ranges.get(`${topic}/${partition}`)
    if (!range) continue
    pending.ranges.delete(`${topic}/${partition}`)
    pending.sizeBytes -= range.sizeBytes
    dropped.add(`${topic}/${partition}`)
  }
  if (dropped.size === 0) return 0
  const rowsBefore = pending.rowsCount
  for (const [table, batch] of pending.tables) {
    const kept = [...batch.rows.keys()].filter(index => !dropped.has(`${batch.sources[index]!.topic}/${batch.sources[index]!.partition}`))
    pending.rowsCount -= batch.rows.length - kept.length
    if (kept.length === 0) pending.tables.delete(table)
    else pending.tables.set(table, { rows: kept.map(index => batch.rows[index]!), sources: kept.map(index => batch.sources[index]!) })
  }
  return rowsBefore - pending.rowsCount
}

/** What to commit in the log once the rows are stored; or, to hear whether the partitions are still ours, what is committed already. */
export function pendingPositions(pending: PendingRows, at: 'next' | 'first'): (Position & { generation: number })[] {
  return [...pending.ranges.values()].map(({ topic, partition, generation, [at]: offset }) => ({ topic, partition, generation, offset }))
}
