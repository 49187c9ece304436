// Appends large values to one topic's segment files of one writer. Called by the log's writer, on its thread.
//
// `write` makes bytes durable (fdatasync) but nobody's; the index transaction that follows makes them records and moves
// `end`. Was it not committed, `rewind` gives the bytes back and the next write overwrites them. Only the owner appends to a file.

import { closeSync, fdatasyncSync, ftruncateSync, openSync, writevSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { segmentFile, segmentsDir, syncFolder, transaction } from './log-schema.ts'

export interface SegmentWriter {
  /** Id of the file that `write` goes to next. */
  readonly id: number
  /** Committed length. */
  readonly end: number
  /** Writes the values one after another behind `end` and syncs them; returns the position of each. */
  write(values: readonly Uint8Array[]): number[]
  /** After the index transaction: the bytes written are records now. */
  committed(): void
  /** The index transaction failed: the bytes written are nobody's. */
  rewind(): void
  /** True once the file is as long as it may get: seal it and open the next. */
  readonly isFull: boolean
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
  let written = 0
  let open = true

  return {
    id,
    get end() {
      return end
    },
    get isFull() {
      return end >= bytesMax
    },
    write(values) {
      const positions: number[] = []
      let at = end + written
      for (const value of values) {
        positions.push(at)
        at += value.length
      }
      writeAll(file, values, end + written)
      written = at - end
      fdatasyncSync(file)
      return positions
    },
    committed() {
      end += written
      written = 0
    },
    rewind() {
      written = 0
      ftruncateSync(file, end)
    },
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
