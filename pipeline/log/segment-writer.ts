// Appends large values to one segment file. Called by the log's writer, on its thread; only the owner writes to a file.
//
// A group gets its stretch of the file first; then the stretch is filled and synced, on the calling thread or beside it; bytes are
// nobody's until the group's index transaction has committed. Groups settle in the order of their stretches; several may be under
// way. What a failed group wrote is cut off, or stays as a hole of nobody's bytes when a later group lies behind it.

import { closeSync, fdatasync, fdatasyncSync, ftruncateSync, openSync, writev, writevSync } from 'node:fs'
import { promisify } from 'node:util'
import type { DatabaseSync } from 'node:sqlite'
import { segmentFile, segmentsDir, syncFolder, transaction } from './log-schema.ts'

const writevAsync = promisify(writev)
const fdatasyncAsync = promisify(fdatasync)

/** One group's place in one file. */
export interface Stretch {
  /** Position of each value. */
  positions: readonly number[]
  /** Writes the values and makes them durable. Called once. @throws what the disk says */
  fillSync(): void
  /** The same on libuv's threads. The values must stay as they are until it resolves. */
  fill(): Promise<void>
  /** The index transaction is through: the bytes are records now. */
  committed(): void
  /** The bytes are nobody's. `isFileSuspect`: the file refused a sync, so everything unsettled in it may be lost. */
  failed(isFileSuspect: boolean): void
}

export interface SegmentWriter {
  readonly id: number
  /** The file is as long as it may get, or suspect: nothing more goes here. */
  readonly isDone: boolean
  /** A sync failed or its end could not be cut: what is not committed may not be any more. */
  readonly isSuspect: boolean
  /** Stretches not settled. */
  readonly unsettled: number
  /** The next stretch, for these values one after another. */
  reserve(values: readonly Uint8Array[]): Stretch
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
    get isDone() {
      return suspect || end >= bytesMax
    },
    get isSuspect() {
      return suspect
    },
    get unsettled() {
      return unsettled
    },
    reserve(values) {
      const start = end
      const positions: number[] = []
      for (const value of values) {
        positions.push(end)
        end += value.length
      }
      const stop = end
      unsettled++
      return {
        positions,
        fillSync() {
          for (let rest = values, at = start; rest.length > 0; ) {
            const written = writevSync(file, rest, at)
            at += written
            rest = behind(rest, written)
          }
          fdatasyncSync(file)
        },
        async fill() {
          for (let rest = values, at = start; rest.length > 0; ) {
            const { bytesWritten } = await writevAsync(file, rest, at)
            at += bytesWritten
            rest = behind(rest, bytesWritten)
          }
          await fdatasyncAsync(file)
        },
        committed() {
          unsettled--
        },
        failed(isFileSuspect) {
          unsettled--
          suspect ||= isFileSuspect
          if (end === stop) cutBack(start)
        }
      }
    },
    close() {
      if (open) closeSync(file)
      open = false
    }
  }
}

/** What is left after a write: a disk that fills up takes less than asked, and writing the rest again brings the reason out as an error. */
function behind(values: readonly Uint8Array[], written: number): readonly Uint8Array[] {
  let left = written
  let done = 0
  while (done < values.length && left >= values[done]!.length) left -= values[done++]!.length
  const rest = values.slice(done)
  if (left > 0) rest[0] = rest[0]!.subarray(left)
  return rest
}
