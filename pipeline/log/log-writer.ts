// The one place that changes the embedded log: appends, consumer groups, retention. Synchronous, on whatever thread calls it.
//
// An append group: places for large values (`stage`) -> written and synced -> one index transaction (`commit`, synchronous=FULL), answered.
// The next group may be under way while the disk takes the one before. After a crash in between, segment bytes without a row are
// nobody's and are cut off; a row never points at bytes that are not durable.

import { crc32 } from 'node:zlib'
import { assert } from '../../schemas/errors.ts'
import { topicSpec } from '../../schemas/topics.ts'
import { logError } from './log-error.ts'
import { OFFSETS_PER_PARTITION, openDatabase, transaction } from './log-schema.ts'
import { openSegments, type Place, type Places, type StagedValues } from './open-segments.ts'
import type { Stretch } from './segment-writer.ts'
import { groupOperations } from './writer-groups.ts'
import type { AppendCall, AppendResult, WriterOperations, WriterOptions } from './writer-protocol.ts'
import { createMaintenance, usedBytes } from './writer-retention.ts'

const SEGMENT_BYTES_MAX = 64 * 2 ** 20 // The unit in which telemetry's disk space comes back.
const SEGMENTS_PER_LOG = 32 // A small log has smaller segments, so that space comes back in small steps too.
const SEGMENT_BYTES_MIN = 64 * 2 ** 10
const TELEMETRY_SHARE = 0.9 // Of bytesMax: the rest is kept for control records, so that a flood of telemetry cannot stop a remedy.
const RECORD_OVERHEAD_BYTES = 64 // Row, index entry and page slack of one record, measured on empty values.
const FORCED_MAINTENANCE_MS = 100 // A full log looks for space to free at most this often; one look takes a few milliseconds.

/** A group whose large values have their places. They are filled in; then exactly one of `commit` and `fail` follows, in the order of staging. */
export interface StagedAppend {
  stretches: readonly Stretch[]
  /** Makes the group's records visible and durable; the answer to each call. Never throws. */
  commit(): readonly AppendResult[]
  /** Gives the group up, because a stretch could not be filled. */
  fail(cause: unknown): readonly AppendResult[]
}

export interface LogWriter extends WriterOperations {
  /** The first half of `append`, for a caller that writes beside other work. Never throws. */
  stage(nowMs: number, calls: readonly AppendCall[]): StagedAppend
  close(): void
}

/** Opens the writer; several may write to one folder. @throws AppError `log_unavailable` */
export function openLogWriter(options: WriterOptions): LogWriter {
  const db = openDatabase(options.dir, 'write')
  const partitionIds = partitionTable(db)
  const segmentBytes = Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, Math.floor(options.bytesMax / SEGMENTS_PER_LOG)))
  const segments = openSegments(db, { dir: options.dir, owner: options.owner, bytesMax: segmentBytes })
  const maintain = createMaintenance(db, options)
  const statements = prepareAppend(db)
  let stagedBytes = 0
  let forcedAtMs = Number.NEGATIVE_INFINITY
  let open = true

  /** Which calls still fit; the refused ones get their answer now. */
  function admit(nowMs: number, calls: readonly AppendCall[], sizes: readonly number[]): (AppendResult | undefined)[] {
    let used = usedBytes(db) + stagedBytes
    if (used + sum(sizes) > options.bytesMax * TELEMETRY_SHARE && Math.abs(nowMs - forcedAtMs) >= FORCED_MAINTENANCE_MS) {
      forcedAtMs = nowMs
      maintain({ nowMs, intervalMs: 0 })
      used = usedBytes(db) + stagedBytes
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

  function stage(nowMs: number, calls: readonly AppendCall[]): StagedAppend {
    let bytes = 0
    let staged: StagedValues | undefined
    const fail = (cause: unknown): readonly AppendResult[] => {
      stagedBytes -= bytes
      staged?.failed(cause)
      partitionIds.forget()
      const error = logError(cause, `append to ${calls[0]?.topic ?? 'the log'}`)
      return calls.map(() => ({ ok: false, code: error.code, message: error.message }))
    }
    try {
      const sizes = calls.map(callBytes)
      const refused = admit(nowMs, calls, sizes)
      const accepted = calls.filter((_, index) => refused[index] === undefined)
      if (accepted.length === 0) return settled(refused as AppendResult[])
      const values = segments.stage(accepted)
      staged = values
      bytes = sum(sizes.filter((_, index) => refused[index] === undefined))
      stagedBytes += bytes
      const commit = (): readonly AppendResult[] => {
        try {
          values.assertSound()
          const results = insertGroup(nowMs, accepted, values.places)
          values.committed()
          stagedBytes -= bytes
          let next = 0
          return refused.map(answer => answer ?? results[next++]!)
        } catch (cause) {
          return fail(cause)
        }
      }
      return { stretches: values.stretches, commit, fail }
    } catch (cause) {
      return settled(fail(cause))
    }
  }

  function insertGroup(nowMs: number, calls: readonly AppendCall[], places: Places): readonly AppendResult[] {
    return transaction(db, () => {
      const written = calls.map((call, at) => insertCall(statements, partitionIds(call.topic, call.partitionCount), call, places[at]!, Math.floor(nowMs)))
      recordSegments(statements, places)
      return written
    })
  }

  function append(nowMs: number, calls: readonly AppendCall[]): readonly AppendResult[] {
    const staged = stage(nowMs, calls)
    try {
      for (const stretch of staged.stretches) stretch.fillSync()
    } catch (cause) {
      return staged.fail(cause)
    }
    return staged.commit()
  }

  return {
    append,
    stage,
    ...groupOperations(db, partitionIds),
    maintain,
    close() {
      if (!open) return
      open = false
      try {
        segments.close()
      } finally {
        db.close()
      }
    }
  }
}

/** A group that needs nothing more: its answers are known. */
function settled(results: readonly AppendResult[]): StagedAppend {
  return { stretches: [], commit: () => results, fail: () => results }
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

function recordBytes(key: string | null, headers: string | null, value: Uint8Array | null): number {
  return RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (headers?.length ?? 0) + (value?.length ?? 0)
}

function callBytes(call: AppendCall): number {
  let bytes = 0
  for (const [index, value] of call.values.entries()) bytes += recordBytes(call.keys[index]!, call.headers[index]!, value)
  return bytes
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
