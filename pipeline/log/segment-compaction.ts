// Moves the living values of mostly dead segments into a new one, so that overwritten checkpoints give their space back.
//
// Copy, sync, then one transaction points the rows at the copies; the old file goes with the next clean-up. A reader that
// still has the old place finds the file gone and asks the index again. After a crash in between the old file is still the truth.

import { closeSync, openSync, readSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { topicSpec } from '../../schemas/topics.ts'
import { segmentFile, transaction } from './log-schema.ts'
import { openSegment } from './segment-writer.ts'
import type { WriterOptions } from './writer-protocol.ts'

const LIVE_SHARE_MAX = 0.5 // Rewritten once half of a file is dead: space is at most twice the living bytes.
const SEGMENTS_PER_PASS = 2 // At most 128 MiB are copied a pass, a fraction of a second on the writer's thread.

interface Living {
  id: number
  position: number
  value_size: number
}

/** Rewrites up to `SEGMENTS_PER_PASS` sealed segments that are mostly dead. */
export function rewriteSparseSegments(db: DatabaseSync, options: Pick<WriterOptions, 'dir' | 'owner'>): void {
  const sparse = db
    .prepare('SELECT id, topic FROM segment WHERE sealed = 1 AND live_count > 0 AND live_bytes <= end_bytes * ? ORDER BY live_bytes')
    .all(LIVE_SHARE_MAX) as unknown as { id: number; topic: string }[]
  // Segments of other topics empty from the front by themselves; moving their rest would be wasted work.
  const compacted = sparse.filter(({ topic }) => topicSpec(topic)?.cleanup === 'compact')
  for (const { id, topic } of compacted.slice(0, SEGMENTS_PER_PASS)) rewrite(db, options, id, topic)
}

function rewrite(db: DatabaseSync, options: Pick<WriterOptions, 'dir' | 'owner'>, id: number, topic: string): void {
  const living = db.prepare('SELECT id, position, value_size FROM record WHERE segment = ? ORDER BY position').all(id) as unknown as Living[]
  const values = readValues(segmentFile(options.dir, id), living)
  const copy = openSegment(db, { ...options, topic, bytesMax: 0 })
  try {
    const { positions, fillSync } = copy.reserve(values)
    fillSync()
    transaction(db, () => {
      const move = db.prepare('UPDATE record SET segment = ?, position = ? WHERE id = ? AND segment = ?')
      let count = 0
      let bytes = 0
      for (const [index, row] of living.entries()) {
        if (move.run(copy.id, positions[index]!, row.id, id).changes === 0) continue
        count++
        bytes += row.value_size
      }
      const end = positions.at(-1)! + living.at(-1)!.value_size
      db.prepare('UPDATE segment SET sealed = 1, end_bytes = ?, live_count = ?, live_bytes = ? WHERE id = ?').run(end, count, bytes, copy.id)
      db.prepare('UPDATE segment SET live_count = live_count - ?, live_bytes = live_bytes - ? WHERE id = ?').run(count, bytes, id)
    })
  } catch (cause) {
    // The half-written copy has no living value: sealed, the clean-up removes it.
    db.prepare('UPDATE segment SET sealed = 1 WHERE id = ?').run(copy.id)
    throw cause
  } finally {
    copy.close()
  }
}

function readValues(path: string, living: readonly Living[]): Uint8Array[] {
  const file = openSync(path, 'r')
  try {
    return living.map(({ position, value_size: size }) => {
      const value = Buffer.allocUnsafeSlow(size)
      readSync(file, value, 0, size, position)
      return value
    })
  } finally {
    closeSync(file)
  }
}
