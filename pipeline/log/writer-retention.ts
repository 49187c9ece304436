// Keeps the embedded log bounded: age and size limits, compaction, and giving the disk space back. Part of the log's writer.
//
// What a group that was alive within `GROUP_PIN_MS` has not passed stays, whatever a topic's size limit says: the log fills up
// to `bytesMax` instead and refuses appends, so senders wait and nothing acknowledged is lost. Only age removes unread records,
// and they are counted. Near `bytesMax`, telemetry that its readers have passed goes early.
// One instance does this at a time, claimed by a timestamp; each step is a short transaction.

import { existsSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { type TopicSpec, topicSpec } from '../../schemas/topics.ts'
import { OFFSETS_PER_PARTITION, segmentFile, segmentsDir, transaction } from './log-schema.ts'
import { isOwnerDead } from './owner.ts'
import { rewriteSparseSegments } from './segment-compaction.ts'
import type { Maintained, WriterOperations, WriterOptions } from './writer-protocol.ts'

const GROUP_PIN_MS = 3_600_000 // A consumer that is down for an hour is not coming back by itself; it may not stop everyone else.
const GROUP_KEEP_MS = 30 * 86_400_000 // Offsets of a group that nobody renewed for so long are forgotten.
const TOMBSTONE_KEEP_MS = 86_400_000 // Readers get a day to see that a key was deleted (Kafka's delete.retention.ms).
const ROWS_PER_STEP = 500 // One transaction: a few milliseconds, which an append may have to wait.
const STEPS_MAX = 40 // Of one pass, which appends wait for: some 100 ms. What is left is done by the next, at once.
const PRESSURE_SHARE = 0.8 // Of bytesMax: from here on read telemetry is removed early, below the share where appends are refused …
const RELIEF_SHARE = 0.7 // … down to this.
const VACUUM_PAGES = 2_000 // 8 MB a pass.

interface PartitionRow {
  id: number
  topic: string
  bytes: number
  next_offset: number
}
interface Victim {
  id: number
  appended_at_ms: number
  size: number
  segment: number | null
  value_size: number
}

/** Bytes the log occupies: segment files and used pages (the WAL, at most 4 MiB, comes on top). */
export function usedBytes(db: DatabaseSync): number {
  const segments = Number(db.prepare('SELECT coalesce(sum(end_bytes), 0) AS bytes FROM segment').get()!.bytes)
  const pragma = (name: string): number => Number(Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0])
  return segments + (pragma('page_count') - pragma('freelist_count')) * pragma('page_size')
}

/** The maintenance operation over one connection. */
export function createMaintenance(db: DatabaseSync, options: WriterOptions): WriterOperations['maintain'] {
  const { dir, retention } = options
  return function maintain({ nowMs, intervalMs }): Maintained {
    const claimed = db
      .prepare(
        "UPDATE meta SET value = CAST(@now AS TEXT) WHERE key = 'maintained_at_ms' AND (CAST(value AS INTEGER) <= @now - @interval OR CAST(value AS INTEGER) > @now)"
      )
      .run({ now: Math.floor(nowMs), interval: intervalMs })
    if (claimed.changes === 0) return { ran: false, more: false, removed: [], usedBytes: usedBytes(db) }
    const removed = new Map<string, Removed>()
    const partitions = db.prepare('SELECT id, topic, bytes, next_offset FROM partition ORDER BY topic, number').all() as unknown as PartitionRow[]
    const pass: Pass = { db, nowMs, stepsLeft: STEPS_MAX, count: topic => countOf(removed, topic) }
    for (const [topic, rows] of Map.groupBy(partitions, row => row.topic)) {
      const spec = topicSpec(topic)
      if (spec !== undefined) applyLimits(pass, rows, { ...spec, ...retention[topic] })
    }
    relievePressure(pass, partitions, options.bytesMax)
    rewriteSparseSegments(db, options)
    sealSegmentsOfTheDead(db, dir)
    removeEmptySegments(db, dir)
    db.prepare('DELETE FROM consumer_group WHERE active_at_ms < ?').run(nowMs - GROUP_KEEP_MS)
    db.prepare('DELETE FROM lease WHERE owner IS NULL AND group_name NOT IN (SELECT name FROM consumer_group)').run()
    db.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`)
    return {
      ran: true,
      more: pass.stepsLeft <= 0,
      removed: [...removed].filter(([, count]) => count.records > 0).map(([topic, count]) => ({ topic, ...count })),
      usedBytes: usedBytes(db)
    }
  }
}

interface Removed {
  records: number
  unread: number
}
interface Pass {
  db: DatabaseSync
  nowMs: number
  stepsLeft: number
  count(topic: string): Removed
}

function countOf(removed: Map<string, Removed>, topic: string): Removed {
  const count = removed.get(topic) ?? { records: 0, unread: 0 }
  removed.set(topic, count)
  return count
}

function applyLimits(pass: Pass, partitions: readonly PartitionRow[], limits: TopicSpec): void {
  if (limits.cleanup === 'compact') {
    for (const partition of partitions) compact(pass, partition)
    return
  }
  for (const partition of partitions) removeOld(pass, partition, pass.nowMs - limits.retentionMs)
  const bytes = pass.db.prepare('SELECT sum(bytes) AS bytes FROM partition WHERE topic = ?').get(limits.name)
  removeOldest(pass, partitions, Number(bytes?.bytes ?? 0) - limits.retentionBytes, 'end')
}

/** Telemetry that every living reader has passed, and at least one has, gives way before appends are refused. */
function relievePressure(pass: Pass, partitions: readonly PartitionRow[], bytesMax: number): void {
  const used = usedBytes(pass.db)
  if (used <= bytesMax * PRESSURE_SHARE) return
  const telemetry = partitions.filter(partition => topicSpec(partition.topic)?.codec === 'otlp')
  removeOldest(pass, telemetry, used - bytesMax * RELIEF_SHARE, 'start')
}

/**
 * Least offset that a living group of the partition has not passed.
 * @param unread what to answer when no group reads the partition: its end (nothing is waited for) or its start (everything is)
 */
function readOffset({ db, nowMs }: Pass, partition: PartitionRow, unread: 'start' | 'end'): number {
  const row = db
    .prepare(
      `SELECT min(lease.committed) AS offset FROM lease JOIN consumer_group ON consumer_group.name = lease.group_name
       WHERE lease.partition_id = ? AND consumer_group.active_at_ms >= ?`
    )
    .get(partition.id, nowMs - GROUP_PIN_MS)
  if (row?.offset == null) return unread === 'end' ? partition.next_offset : 0
  return Number(row.offset)
}

function removeOld(pass: Pass, partition: PartitionRow, beforeMs: number): void {
  const base = partition.id * OFFSETS_PER_PARTITION
  const passed = base + readOffset(pass, partition, 'end')
  for (; pass.stepsLeft > 0; pass.stepsLeft--) {
    const victims = takeWhile(oldest(pass.db, partition, base + OFFSETS_PER_PARTITION), victim => victim.appended_at_ms < beforeMs)
    if (victims.length === 0) return
    pass.count(partition.topic).unread += victims.filter(victim => victim.id >= passed).length
    remove(pass, partition, victims)
  }
}

/** Removes the oldest records of all these partitions until `excess` bytes are gone or the rest is unread. */
function removeOldest(pass: Pass, partitions: readonly PartitionRow[], excess: number, unread: 'start' | 'end'): void {
  let rest = excess
  if (rest <= 0) return
  const limits = new Map(partitions.map(p => [p.id, p.id * OFFSETS_PER_PARTITION + readOffset(pass, p, unread)]))
  const head = pass.db.prepare('SELECT appended_at_ms FROM record WHERE id >= ? AND id < ? ORDER BY id LIMIT 1')
  for (; pass.stepsLeft > 0 && rest > 0; pass.stepsLeft--) {
    // The partition whose oldest record is the oldest of all gives up some of its own.
    let partition: PartitionRow | undefined
    let ageMs = Number.POSITIVE_INFINITY
    for (const candidate of partitions) {
      const atMs = Number(head.get(candidate.id * OFFSETS_PER_PARTITION, limits.get(candidate.id)!)?.appended_at_ms ?? Number.POSITIVE_INFINITY)
      if (atMs < ageMs) [partition, ageMs] = [candidate, atMs]
    }
    if (partition === undefined) return
    const victims = takeWhile(oldest(pass.db, partition, limits.get(partition.id)!), victim => {
      const isNeeded = rest > 0
      rest -= victim.size
      return isNeeded
    })
    remove(pass, partition, victims)
  }
}

function compact(pass: Pass, partition: PartitionRow): void {
  const { db, nowMs } = pass
  const base = partition.id * OFFSETS_PER_PARTITION
  const passed = base + readOffset(pass, partition, 'end')
  const overwritten = db.prepare(`SELECT record.id, appended_at_ms, size, segment, value_size FROM superseded JOIN record ON record.id = superseded.id
                                  WHERE superseded.id >= ? AND superseded.id < ? ORDER BY superseded.id LIMIT ${ROWS_PER_STEP}`)
  for (; pass.stepsLeft > 0; pass.stepsLeft--) {
    const victims = overwritten.all(base, passed) as unknown as Victim[]
    if (victims.length === 0) break
    remove(pass, partition, victims, () => deleteAll(db, 'superseded', victims))
  }
  const expired = db.prepare(`SELECT record.id, record.key, appended_at_ms, size, segment, value_size FROM latest JOIN record ON record.id = latest.id
                              WHERE latest.tombstone = 1 AND latest.id >= ? AND latest.id < ? AND appended_at_ms < ? LIMIT ${ROWS_PER_STEP}`)
  const victims = expired.all(base, passed, nowMs - TOMBSTONE_KEEP_MS) as unknown as (Victim & { key: string })[]
  const forget = db.prepare('DELETE FROM latest WHERE partition_id = ? AND key = ? AND id = ?')
  remove(pass, partition, victims, () => {
    for (const { id, key } of victims) forget.run(partition.id, key, id)
  })
}

/** The partition's oldest records with an id below `beforeId`, one step's worth. */
function oldest(db: DatabaseSync, partition: PartitionRow, beforeId: number): Victim[] {
  const rows = db.prepare(`SELECT id, appended_at_ms, size, segment, value_size FROM record WHERE id >= ? AND id < ? ORDER BY id LIMIT ${ROWS_PER_STEP}`)
  return rows.all(partition.id * OFFSETS_PER_PARTITION, beforeId) as unknown as Victim[]
}

function takeWhile<T>(items: readonly T[], isWanted: (item: T) => boolean): T[] {
  const end = items.findIndex(item => !isWanted(item))
  return end === -1 ? [...items] : items.slice(0, end)
}

function remove({ db, count }: Pass, partition: PartitionRow, victims: readonly Victim[], alsoDo?: () => void): void {
  if (victims.length === 0) return
  transaction(db, () => {
    deleteAll(db, 'record', victims)
    const bytes = victims.reduce((sum, victim) => sum + victim.size, 0)
    db.prepare('UPDATE partition SET bytes = bytes - ? WHERE id = ?').run(bytes, partition.id)
    const update = db.prepare('UPDATE segment SET live_count = live_count - ?, live_bytes = live_bytes - ? WHERE id = ?')
    for (const [segment, rows] of Map.groupBy(victims, victim => victim.segment)) {
      const valueBytes = rows.reduce((sum, row) => sum + row.value_size, 0)
      if (segment !== null) update.run(rows.length, valueBytes, segment)
    }
    alsoDo?.()
  })
  count(partition.topic).records += victims.length
}

function deleteAll(db: DatabaseSync, table: 'record' | 'superseded', victims: readonly Victim[]): void {
  const statement = db.prepare(`DELETE FROM ${table} WHERE id = ?`)
  for (const { id } of victims) statement.run(id)
}

/** A killed writer's last segment: cut off what no row points at. */
function sealSegmentsOfTheDead(db: DatabaseSync, dir: string): void {
  const open = db.prepare('SELECT id, owner, end_bytes FROM segment WHERE sealed = 0').all() as unknown as { id: number; owner: string; end_bytes: number }[]
  for (const { id, owner, end_bytes: end } of open) {
    if (!isOwnerDead(owner)) continue
    const file = segmentFile(dir, id)
    if (existsSync(file) && statSync(file).size > end) truncateSync(file, end)
    db.prepare('UPDATE segment SET sealed = 1 WHERE id = ?').run(id)
  }
}

function removeEmptySegments(db: DatabaseSync, dir: string): void {
  for (const { id } of db.prepare('SELECT id FROM segment WHERE sealed = 1 AND live_count = 0').all()) {
    db.prepare('DELETE FROM segment WHERE id = ?').run(id!)
    rmSync(segmentFile(dir, Number(id)), { force: true })
  }
  // A crash between the two lines above leaves a file without a row. A new segment's row is older than its file.
  const files = readdirSync(segmentsDir(dir))
  const known = db.prepare('SELECT 1 FROM segment WHERE id = ?')
  for (const file of files) {
    const id = Number.parseInt(file, 10)
    if (file.endsWith('.seg') && known.get(id) === undefined) rmSync(segmentFile(dir, id), { force: true })
  }
}
