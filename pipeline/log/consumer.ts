// What the delivery loop (subscription.ts) needs of a log: a place in the consumer group, and records to read.
//
// The embedded log has them from leases and its index (membership.ts, embedded-source.ts), the Kafka log from the brokers
// (kafka/kafka-membership.ts, kafka/group-fetcher.ts). The loop is the same: retries, dead letters, commits, closing.

import type { Clock, Logger, LogRecord, LogRecordInput, Meter, Position, TopicPartition } from '../../schemas/ports.ts'

export interface Owned extends TopicPartition {
  /** `topic/partition`. */
  name: string
  generation: number
  /** Offset of the next record to deliver. */
  position: number
}

/** `offset` = first record not settled. */
export interface CommitPosition extends Position {
  generation: number
}

export interface Membership {
  owned(): readonly Owned[]
  /** False for a partition that went, also when it came back since: that is another `Owned`. */
  owns(partition: Owned): boolean
  /**
   * Takes what is due and free, gives up what is not; cheap when nothing changed. Called between batches only, so partitions
   * come and go at their boundaries. `onLeft` hears of each partition that went.
   */
  balance(onLeft: (name: string) => void): Promise<void>
  commit(positions: readonly CommitPosition[]): Promise<boolean>
  /** Frees everything. `gracefully` tells the owner first (onRevoked). Safe to call twice. */
  leave(how: 'gracefully' | 'at once'): Promise<void>
}

export interface BatchLimits {
  recordsMax: number
  /** At least one record comes, however large. */
  bytesMax: number
}

export interface RecordSource {
  /** Records at the partition's position; undefined when there are none now. @throws AppError, retriable: the disk is in the way */
  next(partition: Owned, limits: BatchLimits): { records: readonly LogRecord[]; endOffset: number } | undefined
  /** Grows with everything that may give the loop work. */
  version(): number
  /** Resolves when `version()` is no longer `seen`, when `ms` have passed, or when `signal` aborts. */
  wait(seen: number, ms: number, signal: AbortSignal): Promise<void>
  /** Records between the group's committed offsets and the ends, by topic. */
  lag(): Promise<ReadonlyMap<string, number>>
  close(): Promise<void>
}

/** What one subscription is made of. */
export interface ConsumerParts {
  membership: Membership
  source: RecordSource
  /** The log's own append, for dead letters. */
  append(topic: string, records: readonly LogRecordInput[]): Promise<readonly Position[]>
  clock: Clock
  logger: Logger
  meter: Meter
}
