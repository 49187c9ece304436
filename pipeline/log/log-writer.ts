// The one place that changes the embedded log: appends, consumer groups, retention. Synchronous, on whatever thread calls it.
//
// An append group: large values -> segment files, fdatasync -> one index transaction (synchronous=FULL) -> answered. After a
// crash in between, segment bytes without a row are nobody's and are cut off; a row never points at bytes that are not durable.

import { crc32 } from 'node:zlib'
import { assert } from '../../schemas/errors.ts'
import { topicSpec } from '../../schemas/topics.ts'
import { logError } from './log-error.ts'
import { OFFSETS_PER_PARTITION, openDatabase, transaction } from './log-schema.ts'
import { type SegmentWriter, openSegment } from './segment-writer.ts'
import { groupOperations } from './writer-groups.ts'
import type { AppendCall, AppendResult, WriterOperations, WriterOptions } from './writer-protocol.ts'
import { createMaintenance, usedBytes } from './writer-retention.ts'

/** Values from here on go to segment files; below, one sync less is worth more than writing the bytes twice (decision 0001). */
export const SEGMENT_VALUE_BYTES_MIN = 32 * 2 ** 10
const SEGMENT_BYTES_MAX = 64 * 2 ** 20 // The unit in which telemetry's disk space comes back.
const SEGMENTS_PER_LOG = 32 // A small log has smaller segments, so that space comes back in small steps too.
const SEGMENT_BYTES_MIN = 64 * 2 ** 10
const TELEMETRY_SHARE = 0.9 // Of bytesMax: the rest is kept for control records, so that a flood of telemetry cannot stop a remedy.
const RECORD_OVERHEAD_BYTES = 64 // Row, index entry and page slack of one record, measured on empty values.
const FORCED_MAINTENANCE_MS = 100 // A full log looks for space to free at most this often; one look takes a few milliseconds.

export interface LogWriter extends WriterOperations {
  close(): void
}

/** Opens the writer; several may write to one folder. @throws AppError `log_unavailable` */
export function openLogWriter(options: WriterOptions): LogWriter {
  const db = openDatabase(options.dir, 'write')
  const segments = new Map<string, SegmentWriter>()
  const partitionIds = partitionTable(db)
  const segmentBytes = Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, Math.floor(options.bytesMax / SEGMENTS_PER_LOG)))
  const maintain = createMaintenance(db, options)
  const statements = prepareAppend(db)
  const seal = db.prepare('UPDATE segment SET sealed = 1 WHERE id = ?')
  const abandoned: number[] = []
  let forcedAtMs = Number.NEGATIVE_INFINITY
  let open = true

  /** Which calls still fit; the refused ones get their answer now. */
  function admit(nowMs: number, calls: readonly AppendCall[]): (AppendResult | undefined)[] {
    let used = usedBytes(db)
    const sizes = calls.map(callBytes)
    const total = sizes.reduce((sum, size) => sum + size, 0)
    if (used + total > options.bytesMax * TELEMETRY_SHARE && Math.abs(nowMs - forcedAtMs) >= FORCED_MAINTENANCE_MS) {
      forcedAtMs = nowMs
      maintain({ nowMs, intervalMs: 0 })
      used = usedBytes(db)
    }
    return calls.map((call, index) => {
      const limit = topicSpec(call.topic)?.codec === 'otlp' ? options.bytesMax * TELEMETRY_SHARE : options.bytesMax
      if (used + sizes[index]! <= limit) {
        used += sizes[index]!
        return undefined
      }
      const message = `the log holds ${used} of ${options.bytesMax} bytes, ${call.topic} takes no more: raise log.bytesMax or let its readers catch up`
      return { ok: false, code: 'log_full', message }
    })
  }

  function segmentOf(topic: string): SegmentWriter {
    const current = segments.get(topic)
    if (current !== undefined && !current.isFull) return current
    if (current !== undefined) sealSegment(topic, current)
    const next = openSegment(db, { dir: options.dir, topic, owner: options.owner, bytesMax: segmentBytes })
    segments.set(topic, next)
    return next
  }
  function sealSegment(topic: string, segment: SegmentWriter): void {
    seal.run(segment.id)
    segment.close()
    segments.delete(topic)
  }

  /** Durable places for the large values of the calls: by call, then by index of the record. */
  function writeValues(calls: readonly AppendCall[]): Places {
    const places = calls.map(() => new Map<number, Place>())
    for (const [topic, large] of largeValues(calls)) {
      const segment = segmentOf(topic)
      const positions = segment.write(large.map(({ value }) => value))
      for (const [at, { call, index, value }] of large.entries()) {
        places[call]!.set(index, { segment: segment.id, position: positions[at]!, size: value.length })
      }
    }
    return places
  }

  function append(nowMs: number, calls: readonly AppendCall[]): readonly AppendResult[] {
    try {
      const refused = admit(nowMs, calls)
      const accepted = calls.filter((_, index) => refused[index] === undefined)
      if (accepted.length === 0) return refused as AppendResult[]
      sealAbandoned()
      const places = writeValues(accepted)
      const results = transaction(db, () => {
        const written = accepted.map((call, at) => insertCall(statements, partitionIds(call.topic, call.partitionCount), call, places[at]!, Math.floor(nowMs)))
        recordSegments(statements, places)
        return written
      })
      for (const segment of segments.values()) segment.committed()
      let next = 0
      return refused.map(answer => answer ?? results[next++]!)
    } catch (cause) {
      partitionIds.forget()
      for (const [topic, segment] of [...segments]) rewindOrAbandon(topic, segment, cause)
      const error = logError(cause, `append to ${calls[0]?.topic ?? 'the log'}`)
      return calls.map(() => ({ ok: false, code: error.code, message: error.message }))
    }
  }

  /** A file that refused a sync may have lost what it took: it is never written again, only read. */
  function rewindOrAbandon(topic: string, segment: SegmentWriter, cause: unknown): void {
    const { code, syscall } = cause as { code?: string; syscall?: string }
    try {
      segment.rewind()
      if (code !== 'EIO' && syscall !== 'fdatasync') return
    } catch {
      // The file cannot even be cut back: what is behind `end` stays on the disk until the whole file goes.
    }
    segment.close()
    segments.delete(topic)
    abandoned.push(segment.id)
  }
  function sealAbandoned(): void {
    for (let id = abandoned.at(-1); id !== undefined; id = abandoned.at(-1)) {
      seal.run(id)
      abandoned.pop()
    }
  }

  return {
    append,
    ...groupOperations(db, partitionIds),
    maintain,
    close() {
      if (!open) return
      open = false
      try {
        for (const [topic, segment] of [...segments]) sealSegment(topic, segment)
      } finally {
        db.close()
      }
    }
  }
}

export type PartitionIds = ((topic: string, count: number) => readonly number[]) & { forget(): void }

/** Ids of a topic's partitions, made on first use. Inside a transaction that fails the cache must be forgotten. */
function partitionTable(db: ReturnType<typeof openDatabase>): PartitionIds {
  const cache = new Map<string, readonly number[]>()
  const insert = db.prepare('INSERT OR IGNORE INTO partition (topic, number) VALUES (?, ?)')
  const select = db.prepare('SELECT id FROM partition WHERE topic = ? ORDER BY number')
  const ids = (topic: string, count: number): readonly number[] => {
    const known = cache.get(topic)
    if (known !== undefined && known.length >= count) return known
    for (let number = 0; number < count; number++) insert.run(topic, number)
    const found = select.all(topic).map(row => Number(row.id))
    cache.set(topic, found)
    return found
  }
  return Object.assign(ids, { forget: () => cache.clear() })
}

interface Place {
  segment: number
  position: number
  size: number
}
type Places = readonly ReadonlyMap<number, Place>[]
type AppendStatements = ReturnType<typeof prepareAppend>

function prepareAppend(db: ReturnType<typeof openDatabase>) {
  return {
    nextOffset: db.prepare('SELECT next_offset FROM partition WHERE id = ?'),
    insert: db.prepare(`INSERT INTO record (id, key, headers, appended_at_ms, size, value_size, value, segment, position, crc)
                        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    advance: db.prepare('UPDATE partition SET next_offset = ?, bytes = bytes + ? WHERE id = ?'),
    supersede: db.prepare('INSERT INTO superseded SELECT id FROM latest WHERE partition_id = ? AND key = ?'),
    latest: db.prepare(`INSERT INTO latest VALUES (?, ?, ?, ?)
                        ON CONFLICT (partition_id, key) DO UPDATE SET id = excluded.id, tombstone = excluded.tombstone`),
    segment: db.prepare('UPDATE segment SET end_bytes = max(end_bytes, ?), live_count = live_count + ?, live_bytes = live_bytes + ? WHERE id = ?')
  }
}

function insertCall(statements: AppendStatements, ids: readonly number[], call: AppendCall, places: ReadonlyMap<number, Place>, nowMs: number): AppendResult {
  const next = new Map<number, { offset: number; bytes: number }>()
  const isCompacted = topicSpec(call.topic)?.cleanup === 'compact'
  const offsets = call.partitions.map((partition, index) => {
    const partitionId = ids[partition]!
    let state = next.get(partitionId)
    if (state === undefined) {
      state = { offset: Number(statements.nextOffset.get(partitionId)!.next_offset), bytes: 0 }
      next.set(partitionId, state)
    }
    assert(state.offset < OFFSETS_PER_PARTITION, `partition ${partition} of ${call.topic} has no offsets left`)
    const id = partitionId * OFFSETS_PER_PARTITION + state.offset
    const key = call.keys[index]!
    const value = call.values[index]!
    const size = recordBytes(key, call.headers[index]!, value)
    const place = places.get(index)
    const crc = value === null ? null : crc32(value)
    const inline = place === undefined ? value : null
    statements.insert.run(id, key, call.headers[index]!, nowMs, size, value?.length ?? -1, inline, place?.segment ?? null, place?.position ?? null, crc)
    if (isCompacted) {
      statements.supersede.run(partitionId, key)
      statements.latest.run(partitionId, key, id, value === null ? 1 : 0)
    }
    state.bytes += size
    return state.offset++
  })
  for (const [partitionId, { offset, bytes }] of next) statements.advance.run(offset, bytes, partitionId)
  return { ok: true, offsets }
}

function recordSegments(statements: AppendStatements, places: Places): void {
  const sums = new Map<number, { end: number; count: number; bytes: number }>()
  for (const { segment, position, size } of places.flatMap(call => [...call.values()])) {
    const sum = sums.get(segment) ?? { end: 0, count: 0, bytes: 0 }
    sum.end = Math.max(sum.end, position + size)
    sum.count++
    sum.bytes += size
    sums.set(segment, sum)
  }
  for (const [segment, { end, count, bytes }] of sums) statements.segment.run(end, count, bytes, segment)
}

interface LargeValue {
  call: number
  index: number
  value: Uint8Array
}

function largeValues(calls: readonly AppendCall[]): Map<string, LargeValue[]> {
  const byTopic = new Map<string, LargeValue[]>()
  for (const [call, { topic, values }] of calls.entries()) {
    for (const [index, value] of values.entries()) {
      if (value === null || value.length < SEGMENT_VALUE_BYTES_MIN) continue
      const list = byTopic.get(topic)
      if (list === undefined) byTopic.set(topic, [{ call, index, value }])
      else list.push({ call, index, value })
    }
  }
  return byTopic
}

function recordBytes(key: string | null, headers: string | null, value: Uint8Array | null): number {
  return RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (headers?.length ?? 0) + (value?.length ?? 0)
}

function callBytes(call: AppendCall): number {
  let bytes = 0
  for (const [index, value] of call.values.entries()) bytes += recordBytes(call.keys[index]!, call.headers[index]!, value)
  return bytes
}
