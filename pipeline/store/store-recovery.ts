// A store process takes partitions over: what their former owners left half done is finished, then reading goes on behind it.
//
// The journal (flush-journal.ts) says which offsets; the log has the records. Repeated as a whole after a crash, it adds nothing.

import type { Log, Position, TopicPartition } from '../../schemas/ports.ts'
import { isMeantFor } from '../log/dead-letter.ts'
import { type FlushParts, stillNeeded } from './flush-confirmation.ts'
import type { Flush, FlushRange } from './flush-journal.ts'
import { GROUP } from './flush-writer.ts'
import { addRecord, emptyPending, type PendingRows } from './pending-rows.ts'

export interface RecoveryParts extends FlushParts {
  log: Log
  environments: readonly string[]
}

const REDO_RECORDS_MAX = 500 // Read at once when a flush is done again.

/**
 * Finishes what dead writers left of the assigned partitions.
 * @returns where these go on; the others at their committed offsets
 */
export async function recoverPositions(worker: RecoveryParts, partitions: readonly TopicPartition[]): Promise<Position[]> {
  const { log, writer, journal } = worker
  const isOfThisLog = logIdentity(worker)
  const { open, positions, empty } = await writer.persist('flush journal', () => journal.recover(partitions))
  for (const flushed of open) {
    // Before anything else: its own writer may be about to void it.
    await writer.persist('flush journal', () => journal.record(flushed, 'adopted'))
    await redo(worker, flushed, isOfThisLog)
  }
  // A store without any journal is new or was emptied: it is filled from what the log still has.
  if (empty) return writer.persist('reading the log', () => starts(log, partitions))
  const known = new Map(positions.map(range => [`${range.topic}/${range.partition}`, range]))
  const sought = partitions.map(async ({ topic, partition }) => {
    const range = known.get(`${topic}/${partition}`)
    return range && (await isOfThisLog(range)) ? [{ topic, partition, offset: range.next }] : []
  })
  return (await Promise.all(sought)).flat()
}

async function starts(log: Log, partitions: readonly TopicPartition[]): Promise<Position[]> {
  const sought: Position[] = []
  for (const { topic, partition } of partitions) {
    const bounds = (await log.offsets(topic)).find(one => one.partition === partition)
    if (bounds) sought.push({ topic, partition, offset: bounds.start })
  }
  return sought
}

/** Reads a flush's ranges from the log again, all at the same time, and inserts them under the same tokens. */
async function redo(worker: RecoveryParts, flushed: Flush, isOfThisLog: LogIdentity): Promise<void> {
  const { clock, logger, writer, journal } = worker
  const atMs = clock.monotonicMs()
  const pending = emptyPending()
  await Promise.all(flushed.ranges.map(async range => (await isOfThisLog(range)) && readAgain(worker, range, pending)))
  await writer.write(flushed.id, pending, stillNeeded(worker, { flush: flushed, atMs }))
  await writer.persist('flush journal', () => journal.record(flushed, 'done'))
  logger.info({ flush: flushed.id, rows: pending.rowsCount }, 'a flush that was interrupted is complete')
}

async function readAgain({ log, writer, environments }: RecoveryParts, { topic, partition, first, next }: FlushRange, pending: PendingRows): Promise<void> {
  for (let offset = first; offset < next; ) {
    const records = await writer.persist('reading the log', () => log.read({ topic, partition, offset }, Math.min(REDO_RECORDS_MAX, next - offset)))
    if (records.length === 0) break
    for (const record of records) if (record.offset < next && isMeantFor(record, GROUP)) addRecord(pending, record, environments[0]!)
    offset = records.at(-1)!.offset + 1
  }
}

/** Whether a range is of this log. Of one that was made anew since, offsets mean other records, and the journal must not be believed. */
type LogIdentity = (range: FlushRange) => Promise<boolean>

/** It asks for the bounds of each topic once: a takeover has dozens of partitions, and each question is several requests to brokers. */
function logIdentity({ log, logger, writer }: RecoveryParts): LogIdentity {
  const bounds = new Map<string, ReturnType<Log['offsets']>>()
  const boundsOf = (topic: string): ReturnType<Log['offsets']> => {
    const known = bounds.get(topic) ?? writer.persist('reading the log', () => log.offsets(topic))
    bounds.set(topic, known)
    return known
  }
  return async ({ topic, partition, next, appendedAtMs }) => {
    const [ofTopic, [last]] = await Promise.all([boundsOf(topic), writer.persist('reading the log', () => log.read({ topic, partition, offset: next - 1 }, 1))])
    const end = ofTopic.find(one => one.partition === partition)?.end
    const sameLast = last === undefined || last.offset !== next - 1 || Math.abs(last.appendedAtMs - appendedAtMs) < 1
    const same = end !== undefined && next <= end && sameLast
    if (!same) logger.warn({ topic, partition, next }, 'the log is another one than the store knows: its committed offset counts')
    return same
  }
}
