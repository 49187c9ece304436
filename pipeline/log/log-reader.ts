// Reads the embedded log: its own connection (WAL readers never wait) and the segment files. Synchronous, on its owner's thread.
//
// A row says where its value lies. Values next to each other come in one read; each is checked against its CRC. A record whose
// bytes went bad is left out, counted and logged: a hole, as retention leaves them. A segment that was removed meanwhile
// (retention, compaction) makes the read ask the index again.

import { closeSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import type { Logger, LogRecord, Meter } from '../../schemas/ports.ts'
import { logError } from './log-error.ts'
import { OFFSETS_PER_PARTITION, openDatabase, segmentFile } from './log-schema.ts'

const FILES_OPEN_MAX = 32 // A reader walks a topic from segment to segment: few are in use at a time.
const ATTEMPTS_MAX = 5 // A segment cannot vanish again and again under one read.
const RUN_BYTES_MAX = 8 * 2 ** 20 // One read of neighbouring values; records of one run share its memory until all are let go.

export interface ReadLimits {
  recordsMax: number
  /** At least one record comes, however large. */
  bytesMax: number
}

export interface LogReader {
  /** Records from `offset` on. Empty at the end. @throws AppError `log_unavailable` */
  fetch(topic: string, partition: number, offset: number, limits: ReadLimits): LogRecord[]
  /** Offset of the oldest kept record (the end when there is none) and of the next append. */
  bounds(topic: string, partition: number): { start: number; end: number }
  /** Partitions that exist in the file, by topic. */
  partitionCounts(): ReadonlyMap<string, number>
  /** Committed offsets of a group, by `topic/partition`. */
  committed(group: string): ReadonlyMap<string, number>
  groups(): readonly string[]
  /** Changes whenever members or owners of the group do. */
  groupState(group: string): string
  /** Topics that grew since the last call, by anyone. */
  grownTopics(): readonly string[]
  /** Grows with every change of the file by another connection; cheap. */
  dataVersion(): number
  /** Closes the files of segments that no longer exist, so that their space is really given back. */
  sweep(): void
  close(): void
}

interface Row {
  id: number
  key: string | null
  headers: string | null
  appended_at_ms: number
  value_size: number
  value: Uint8Array | null
  segment: number | null
  position: number | null
  crc: number | null
}

/** Opens a reader on the log's folder. @throws AppError `log_unavailable` */
export function openLogReader(dir: string, telemetry: { logger: Logger; meter: Meter }): LogReader {
  const db = openDatabase(dir, 'read')
  const files = new Map<number, number>()
  const sql = prepareReader(db)
  const ids = new Map<string, number>()
  const ends = new Map<string, number>()
  let open = true

  function partitionId(topic: string, partition: number): number | undefined {
    const name = `${topic}/${partition}`
    let id = ids.get(name)
    if (id !== undefined) return id
    id = sql.partitionId.get(topic, partition)?.id as number | undefined
    if (id !== undefined) ids.set(name, id)
    return id
  }

  function fetch(topic: string, partition: number, offset: number, limits: ReadLimits): LogRecord[] {
    const id = partitionId(topic, partition)
    if (id === undefined || offset >= endOf(id)) return []
    const base = id * OFFSETS_PER_PARTITION
    for (let attempt = 1; ; attempt++) {
      try {
        const rows = selectRows(base, offset, limits)
        return materialise(rows, topic, partition, base)
      } catch (cause) {
        const isGone = (cause as { code?: string }).code === 'ENOENT'
        if (!isGone || attempt === ATTEMPTS_MAX) throw logError(cause, `read ${topic}/${partition} from offset ${offset}`)
      }
    }
  }

  function endOf(id: number): number {
    return Number(sql.nextOffset.get(id)!.next_offset)
  }

  function selectRows(base: number, offset: number, { recordsMax, bytesMax }: ReadLimits): Row[] {
    const rows: Row[] = []
    let bytes = 0
    for (const row of sql.records.iterate(base + Math.max(0, offset), base + OFFSETS_PER_PARTITION, recordsMax) as Iterable<unknown> as Iterable<Row>) {
      bytes += Math.max(0, row.value_size)
      if (rows.length > 0 && bytes > bytesMax) break
      rows.push(row)
    }
    return rows
  }

  function materialise(rows: readonly Row[], topic: string, partition: number, base: number): LogRecord[] {
    const values = readValues(rows)
    const records: LogRecord[] = []
    for (const [index, row] of rows.entries()) {
      const value = values[index]!
      const offset = row.id - base
      if (value !== null && crc32(value) !== row.crc) {
        telemetry.meter.count('homeostat.log.corrupt_records', 1, { topic })
        telemetry.logger.error({ topic, partition, offset, segment: row.segment }, 'record left out: its bytes changed on the disk')
        continue
      }
      const headers = row.headers === null ? {} : (JSON.parse(row.headers) as Record<string, string>)
      records.push({ topic, partition, offset, key: row.key, value, headers, appendedAtMs: row.appended_at_ms })
    }
    return records
  }

  function readValues(rows: readonly Row[]): (Uint8Array | null)[] {
    const values: (Uint8Array | null)[] = []
    for (let index = 0; index < rows.length; ) {
      const row = rows[index]!
      if (row.segment === null) {
        values.push(row.value_size < 0 ? null : row.value)
        index++
        continue
      }
      const count = runLength(rows, index)
      const last = rows[index + count - 1]!
      const run = readSegment(row.segment, row.position!, last.position! + last.value_size - row.position!)
      for (const part of rows.slice(index, index + count)) {
        const at = part.position! - row.position!
        values.push(run.subarray(at, at + part.value_size))
      }
      index += count
    }
    return values
  }

  function readSegment(segment: number, position: number, size: number): Uint8Array {
    let file = files.get(segment)
    if (file === undefined) {
      file = openSync(segmentFile(dir, segment), 'r')
      if (files.size >= FILES_OPEN_MAX) closeFile(files.keys().next().value!)
      files.set(segment, file)
    }
    const buffer = Buffer.allocUnsafeSlow(size)
    const read = readSync(file, buffer, 0, size, position)
    if (read !== size) buffer.fill(0, read) // The file was cut from outside: the CRC will tell.
    return new Uint8Array(buffer.buffer, buffer.byteOffset, size)
  }

  function closeFile(segment: number): void {
    closeSync(files.get(segment)!)
    files.delete(segment)
  }

  return {
    fetch,
    bounds(topic, partition) {
      const id = partitionId(topic, partition)
      if (id === undefined) return { start: 0, end: 0 }
      const base = id * OFFSETS_PER_PARTITION
      // The end first: a record appended in between must not lie behind the end.
      const end = endOf(id)
      const first = sql.firstRecord.get(base, base + OFFSETS_PER_PARTITION)?.id
      return { start: first == null ? end : Math.min(Number(first) - base, end), end }
    },
    partitionCounts: () => new Map(sql.counts.all().map(row => [String(row.topic), Number(row.count)])),
    committed: group => new Map(sql.committed.all(group).map(row => [`${row.topic}/${row.number}`, Number(row.committed)])),
    groupState: group => `${sql.members.get(group)?.state}/${sql.owners.get(group)?.state}`,
    groups: () => sql.groups.all().map(row => String(row.name)),
    grownTopics() {
      const grown = new Set<string>()
      for (const { topic, end } of sql.ends.all()) {
        if (ends.get(String(topic)) !== end) grown.add(String(topic))
        ends.set(String(topic), Number(end))
      }
      return [...grown]
    },
    dataVersion: () => Number(sql.dataVersion.get()!.data_version),
    sweep() {
      for (const segment of [...files.keys()]) if (sql.segment.get(segment) === undefined) closeFile(segment)
    },
    close() {
      if (!open) return
      open = false
      for (const segment of [...files.keys()]) closeFile(segment)
      db.close()
    }
  }
}

/** How many rows from `start` on lie one behind the other in one segment. */
function runLength(rows: readonly Row[], start: number): number {
  const { segment, position } = rows[start]!
  let end = start + 1
  let next = position! + rows[start]!.value_size
  while (end < rows.length) {
    const row = rows[end]!
    if (row.segment !== segment || row.position !== next || next + row.value_size - position! > RUN_BYTES_MAX) break
    next += row.value_size
    end++
  }
  return end - start
}

function prepareReader(db: ReturnType<typeof openDatabase>) {
  return {
    partitionId: db.prepare('SELECT id FROM partition WHERE topic = ? AND number = ?'),
    nextOffset: db.prepare('SELECT next_offset FROM partition WHERE id = ?'),
    firstRecord: db.prepare('SELECT min(id) AS id FROM record WHERE id >= ? AND id < ?'),
    // `+?`: a plain parameter as the limit makes SQLite (3.47 on) plan the statement anew at each call: 7 instead of 2 µs for one row.
    records: db.prepare(`SELECT id, key, headers, appended_at_ms, value_size, value, segment, position, crc FROM record
                         WHERE id >= ? AND id < ? ORDER BY id LIMIT +?`),
    counts: db.prepare('SELECT topic, count(*) AS count FROM partition GROUP BY topic'),
    ends: db.prepare('SELECT topic, sum(next_offset) AS "end" FROM partition GROUP BY topic'),
    committed: db.prepare(`SELECT topic, number, committed FROM lease JOIN partition ON partition.id = lease.partition_id WHERE group_name = ?`),
    groups: db.prepare('SELECT name FROM consumer_group ORDER BY name'),
    members: db.prepare('SELECT group_concat(owner) AS state FROM member WHERE group_name = ?'),
    owners: db.prepare("SELECT group_concat(coalesce(owner, '-')) AS state FROM lease WHERE group_name = ?"),
    segment: db.prepare('SELECT 1 FROM segment WHERE id = ?'),
    dataVersion: db.prepare('PRAGMA data_version')
  }
}
