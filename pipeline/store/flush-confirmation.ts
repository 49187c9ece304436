// Whether a flush is this process's to write: asked of the log, which alone knows who owns a partition now.
//
// The order is what keeps records single over crashes and freezes: intent in the journal, then the log's word, then inserts. A successor is
// given the partitions after that word, so it finds the intent and finishes the flush under the same tokens. See flush-journal.ts.

import type { Clock, Logger, Meter, Position, Subscription, TopicPartition } from '../../schemas/ports.ts'
import type { Flush, FlushJournal } from './flush-journal.ts'
import type { FlushWriter } from './flush-writer.ts'
import { dropPartitions, type PendingRows, pendingPositions } from './pending-rows.ts'

export interface FlushParts {
  clock: Clock
  logger: Logger
  meter: Meter
  journal: FlushJournal
  writer: FlushWriter
  /** Undefined before the first assignment is complete: nothing is ours then. */
  subscription: Subscription | undefined
}

/** After so long without a word from the log, ask whether a flush is still ours to write: less than any session timeout, far more than an insert takes. */
const CONFIRMED_MS = 5_000
const PAUSE_MS = 100 // The log refused all together and none alone: it is in the middle of something.

/**
 * Writes down what is about to be inserted, then has the log confirm that it is still ours: an intent that came before the confirmation was
 * there before any new owner could look. What is not ours any more is dropped, its owner reads it again.
 * @returns undefined when nothing is left
 */
export async function beginFlush(worker: FlushParts, pending: PendingRows): Promise<Confirmed | undefined> {
  const { clock, writer, journal, logger, meter } = worker
  while (pending.ranges.size > 0) {
    const flush = journal.next([...pending.ranges.values()])
    await writer.persist('flush journal', () => journal.record(flush, 'intent'))
    const atMs = clock.monotonicMs() // Before the question: the process may freeze on the answer.
    if (await commitOffsets(worker, pendingPositions(pending, 'first'))) return { flush, atMs }
    await writer.persist('flush journal', () => journal.record(flush, 'void'))
    const gone: TopicPartition[] = []
    for (const position of pendingPositions(pending, 'first')) if (!(await commitOffsets(worker, [position]))) gone.push(position)
    if (gone.length === 0) await clock.sleep(PAUSE_MS)
    const rows = dropPartitions(pending, gone)
    meter.count('homeostat.store.released_rows', rows)
    logger.info({ partitions: gone.length, rows }, 'partitions moved away before their rows were stored: their new owner stores them')
  }
  return undefined
}

/** Commits, however long the log is away. @returns false when a partition is not ours any more */
export async function commitOffsets(worker: FlushParts, positions: readonly (Position & { generation: number })[]): Promise<boolean> {
  const { subscription, writer } = worker
  return subscription === undefined ? false : writer.persist('commit of offsets', () => subscription.commit(positions))
}

/** A flush, and when the log was last known to give it to us. */
export interface Confirmed {
  flush: Flush
  atMs: number
}

/** Asked before each insert: after a long silence (a frozen process, a slow ClickHouse) the tokens may be forgotten, and the flush long done by another. */
export function stillNeeded(worker: FlushParts, { flush, atMs }: Confirmed, pending?: PendingRows): () => Promise<boolean> {
  const { clock, journal, subscription } = worker
  let confirmedMs = atMs
  return async () => {
    const nowMs = clock.monotonicMs()
    if (nowMs - confirmedMs < CONFIRMED_MS) return true
    const ours = pending !== undefined && subscription !== undefined && (await subscription.commit(pendingPositions(pending, 'first')))
    if (!ours && (await journal.isDone(flush))) return false
    confirmedMs = nowMs
    return true
  }
}
