// Appends large values to one segment file. Called by the log's writer, on its thread; only the owner writes to a file.
//
// Bytes written are nobody's until their group has been synced and its index transaction committed. Groups settle in the order
// they were written; a later one may be written while the disk syncs an earlier one. What a failed group wrote is cut off, or
// stays as a hole of nobody's bytes when a later group lies behind it.

import { closeSync, fdatasyncSync, ftruncateSync, openSync, writevSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { segmentFile, segmentsDir, syncFolder, transaction } from './log-schema.ts'

/** One group's bytes in one file. */
export interface Stretch {
  positions: readonly number[]
  /** The index transaction is through: the bytes are records now. */
  committed(): void
  /** The bytes are nobody's. `isFileSuspect`: the file refused a sync, so everything unsettled in it may be lost. */
  failed(isFileSuspect: boolean): void
}

export interface SegmentWriter {
  readonly id: number
  /** Descriptor, for syncing. */
  readonly file: number
  /** The file is as long as it may get, or suspect: nothing more goes here. */
  readonly isDone: boolean
  /** A sync failed or its end could not be cut: what is not committed may not be any more. */
  readonly isSuspect: boolean
  /** Groups written and not settled. */
  readonly unsettled: number
  /** Writes the values one after another behind what is there; not durable yet. @throws what the disk says; then nothing was staged */
  write(values: readonly Uint8Array[]): Stretch
  sync(): void
  close(): void
}

/** Creates the topic's next segment. Two syncs (row, folder), once per `bytesMax` of data. */
export function openSegment(db: DatabaseSync, options: { dir: string; topic: string; owner: string; bytesMax: number }): SegmentWriter {
  const { dir, topic, owner, bytesMax } = options
  // The row comes first: a file without a row is garbage from a crash, and swept.
  const id = transaction(db, () => Number(db.prepare('INSERT INTO segment (topic, owner) VALUES (?, ?)').run(topic, owner).lastInsertRowid))
  const file = openSync(segmentFile(dir, id), 'wx')
  syncFolder(segmentsDir(dir))
  let end = 0
  let unsettled = 0
  let suspect = false
  let open = true

  function cutBack(to: number): void {
    try {
      ftruncateSync(file, to)
      end = to
    } catch {
      suspect = true // What lies behind `to` stays on the disk until the whole file goes.
    }
  }

  return {
    id,
    file,
    get isDone() {
      return suspect || end >= bytesMax
    },
    get isSuspect() {
      return suspect
    },
    get unsettled() {
      return unsettled
    },
    write(values) {
      const start = end
      const positions: number[] = []
      let at = start
      for (const value of values) {
        positions.push(at)
        at += value.length
      }
      try {
        writeAll(file, values, start)
      } catch (cause) {
        cutBack(start)
        throw cause
      }
      end = at
      unsettled++
      return {
        positions,
        committed() {
          unsettled--
        },
        failed(isFileSuspect) {
          unsettled--
          suspect ||= isFileSuspect
          if (end === at) cutBack(start)
        }
      }
    },
    sync: () => fdatasyncSync(file),
    close() {
      if (open) closeSync(file)
      open = false
    }
  }
}

/** A disk that fills up writes less than asked; writing the rest again brings the reason out as an error. */
function writeAll(file: number, values: readonly Uint8Array[], position: number): void {
  let rest = values
  let at = position
  while (rest.length > 0) {
    let written = writevSync(file, rest, at)
    at += written
    let done = 0
    while (done < rest.length && written >= rest[done]!.length) written -= rest[done++]!.length
    rest = rest.slice(done)
    if (written > 0) rest = [rest[0]!.subarray(written), ...rest.slice(1)]
  }
}
