// Records into shards: of a batch, or of what a shard must catch up with before a batch.
//
// Flow: worker (batch) -> record taker -> shard.take -> publisher. Synchronous but for catching up; after a crash the shard's
// checkpoint says where to read on.

import { AppError } from '../schemas/errors.ts'
import type { Batch, Clock, Log, LogRecord, Meter } from '../schemas/ports.ts'
import type { LiveShard } from './checkpoint.ts'
import type { Listening } from './listening.ts'
import { isDerived } from './merge.ts'
import type { Publisher } from './publisher.ts'
import { shardName, type ShardTable } from './shard-table.ts'

/**
 * A later generation holds a partition whose records the log goes on giving us: its group was forgotten and counts anew. No
 * process that was replaced is given records for so long.
 */
const FORCE_AFTER_MS = 20_000
const READ_RECORDS_MAX = 500

export interface Unreadable {
  offset: number
  reason: string
  message: string
}

export interface RecordTaker {
  /** @returns records that nobody can read */
  take(live: LiveShard, records: readonly LogRecord[]): Unreadable[]
  /**
   * The log gives records to the owner only: a shard that was lost to a worker which was replaced meanwhile is taken back, and
   * what lies between its checkpoint and the batch is read first. What is unreadable there was told by whoever read it before.
   * @returns undefined while a later generation holds it
   */
  rescue(batch: Batch): Promise<LiveShard | undefined>
  /** The partition comes or goes by assignment: what was refused before says nothing any more. */
  forget(name: string): void
}

export function recordTaker(ports: { table: ShardTable; publisher: Publisher; heard: Listening; log: Log; clock: Clock; meter: Meter }): RecordTaker {
  const { table, publisher, heard, log, clock, meter } = ports
  /** Partitions that a later generation holds, since when, monotonic ms. */
  const refusedSince = new Map<string, number>()

  function take(live: LiveShard, records: readonly LogRecord[]): Unreadable[] {
    const unreadable: Unreadable[] = []
    for (const record of records) {
      if (live.isPositioned && record.offset < live.next) continue
      try {
        const { rejected, reason } = live.shard.take(record)
        if (rejected > 0) meter.count('homeostat.detect.rejected', rejected, { reason })
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'malformed_otlp') throw error
        unreadable.push({ offset: record.offset, reason: error.code, message: error.message })
      }
      live.next = record.offset + 1
      live.isPositioned = true
      live.isChanged = true
      if (!isDerived(record)) heard.mark(record.appendedAtMs)
    }
    publisher.collect(live)
    return unreadable
  }

  async function rescue(batch: Batch): Promise<LiveShard | undefined> {
    const name = shardName(batch)
    const nowMs = clock.monotonicMs()
    const sinceMs = refusedSince.get(name)
    const { refused } = await table.adopt([batch], { force: sinceMs !== undefined && nowMs - sinceMs >= FORCE_AFTER_MS })
    if (refused.length > 0) {
      if (sinceMs === undefined) refusedSince.set(name, nowMs)
      return undefined
    }
    refusedSince.delete(name)
    const live = table.live.get(name)!
    try {
      await readUpTo(live, batch.records[0]!.offset)
    } catch (error) {
      table.release([name]) // Half way up it would pass over the rest.
      throw error
    }
    return live
  }

  async function readUpTo(live: LiveShard, first: number): Promise<void> {
    const { topic, partition } = live.shard
    while (live.isPositioned && live.next < first) {
      const missed = await log.read({ topic, partition, offset: live.next }, READ_RECORDS_MAX)
      take(
        live,
        missed.filter(record => record.offset < first)
      )
      if (missed.length === 0 || missed.at(-1)!.offset >= first) return
    }
  }

  return { take, rescue, forget: name => void refusedSince.delete(name) }
}
