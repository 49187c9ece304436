// What was read from the log and is not yet in ClickHouse: rows by table, the offsets they cover, and how much memory they hold.
//
// Plain data of one thread. A crash loses it and nothing else: the offsets are not committed.

import type { Batch, LogRecord, Position } from '../../schemas/ports.ts'
import type { FlushRange } from './flush-journal.ts'
import { type LogRecordRows, logRecordRows } from './rows/log-record-rows.ts'
import type { Sighting } from './rows/sighting.ts'
import type { Row } from './rows/values.ts'

export interface TableBatch {
  rows: Row[]
  /** The record each row came from, to find the guilty one when ClickHouse refuses a row. */
  sources: LogRecord[]
}

export interface PendingRows {
  tables: Map<string, TableBatch>
  /** By `topic/partition`; the generation is the newest seen. */
  ranges: Map<string, FlushRange & { generation: number }>
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

/** Adds a whole batch. @returns the records that cannot be read; their offsets count as covered */
export function addBatch(pending: PendingRows, batch: Batch, environment: string): { offset: number; reason: string; message: string }[] {
  const unreadable: { offset: number; reason: string; message: string }[] = []
  for (const record of batch.records) {
    const message = addRecord(pending, record, environment)
    if (message !== undefined) unreadable.push({ offset: record.offset, reason: 'unreadable', message })
  }
  const { topic, partition, generation } = batch
  const last = batch.records.at(-1)!
  const name = `${topic}/${partition}`
  const first = pending.ranges.get(name)?.first ?? batch.records[0]!.offset
  pending.ranges.set(name, { topic, partition, generation, first, next: last.offset + 1, appendedAtMs: last.appendedAtMs })
  return unreadable
}

/** What to commit in the log once the rows are stored. */
export function pendingPositions(pending: PendingRows): (Position & { generation: number })[] {
  return [...pending.ranges.values()].map(({ topic, partition, generation, next }) => ({ topic, partition, generation, offset: next }))
}
