// Outbox: what the shards found, in order, until the log has it. A checkpoint is only written while it is empty.
//
// Bounded by its use: the worker takes no further batch while something is left, so it holds what one batch and one tick
// can find. Lost in a crash, and found again when the records after the checkpoint are read again.

import { AppError } from '../schemas/errors.ts'
import type { Log, LogRecordInput, Meter } from '../schemas/ports.ts'

export interface Outbox {
  readonly length: number
  /** @param shard whose finding it is */
  put(topic: string, record: LogRecordInput, shard: string): void
  /** Forgets what a shard found: another owner of it finds the same. */
  drop(shard: string): void
  /** Appends everything. @returns false when the log does not take it now; what it did not take stays. */
  flush(): Promise<boolean>
}

export function openOutbox(log: Log, meter: Meter): Outbox {
  let entries: { topic: string; record: LogRecordInput; shard: string }[] = []
  let appending = 0
  let flushing: Promise<boolean> | undefined

  async function flushAll(): Promise<boolean> {
    try {
      while (entries.length > 0) {
        const { topic } = entries[0]!
        let length = 1
        while (entries[length]?.topic === topic) length++
        const records = entries.slice(0, length).map(entry => entry.record)
        appending = length
        await log.append(topic, records)
        entries.splice(0, length)
        appending = 0
      }
      return true
    } catch (error) {
      if (!(error instanceof AppError) || !error.retriable) throw error
      meter.count('homeostat.detect.append_retries')
      return false
    } finally {
      appending = 0
    }
  }

  return {
    get length() {
      return entries.length
    },
    put(topic, record, shard) {
      entries.push({ topic, record, shard })
    },
    drop(shard) {
      // What an append has in hand is on its way.
      entries = entries.filter((entry, index) => index < appending || entry.shard !== shard)
    },
    flush() {
      flushing ??= flushAll().finally(() => {
        flushing = undefined
      })
      return flushing
    }
  }
}
