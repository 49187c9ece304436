// What a log instance asks of its writer, in plain data, so that the writer may live on its own thread.

import type { ErrorCode } from '../../schemas/errors.ts'
import type { CommitPosition } from './consumer.ts'

/** Limits of one topic that differ from schemas/topics.ts. */
export interface RetentionOverride {
  retentionMs?: number
  retentionBytes?: number
}

export interface WriterOptions {
  dir: string
  owner: string
  bytesMax: number
  retention: Readonly<Record<string, RetentionOverride>>
}

/** One `append` call: columns of equal length, one entry a record. */
export interface AppendCall {
  topic: string
  /** Partitions of the topic, created when missing. */
  partitionCount: number
  partitions: readonly number[]
  keys: readonly (string | null)[]
  /** JSON text; null for none. */
  headers: readonly (string | null)[]
  values: readonly (Uint8Array | null)[]
}

export type AppendResult = { ok: true; offsets: readonly number[] } | { ok: false; code: ErrorCode; message: string }

export interface Assigned {
  topic: string
  partition: number
  generation: number
  committed: number
}
export interface TopicSize {
  topic: string
  partitionCount: number
}

/** Records that retention removed, for counting. `unread`: a known group had not passed them. */
export interface Maintained {
  ran: boolean
  /** There was more to remove than one pass does. */
  more: boolean
  removed: readonly { topic: string; records: number; unread: number }[]
  usedBytes: number
}

/** Every operation; each is one or few durable transactions. */
export interface WriterOperations {
  append(nowMs: number, calls: readonly AppendCall[]): readonly AppendResult[]
  /** Joins or re-joins; `holds` = what the member knows it owns (`topic/partition`): takes the partitions that are due to this member and free, names those it should give up. */
  balance(request: {
    group: string
    owner: string
    topics: readonly TopicSize[]
    holds: readonly string[]
    from: 'earliest' | 'latest'
    /** The oldest member is due everything. */
    exclusive: boolean
    nowMs: number
    leaseMs: number
  }): {
    assigned: readonly Assigned[]
    surplus: readonly { topic: string; partition: number }[]
  }
  /** Extends the member and its leases; returns what it still owns. */
  renew(request: { group: string; owner: string; nowMs: number; leaseMs: number }): readonly { topic: string; partition: number; generation: number }[]
  /** Gives partitions up, or everything and the membership when `partitions` is absent. */
  release(request: { group: string; owner: string; partitions?: readonly { topic: string; partition: number }[] }): void
  /** All or nothing: false when one generation is not the owner's. */
  commit(request: { group: string; owner: string; positions: readonly CommitPosition[] }): boolean
  /** Retention, compaction, clean-up; skipped (`ran: false`) when another instance did it within `intervalMs`. */
  maintain(request: { nowMs: number; intervalMs: number }): Maintained
}

export type OperationName = keyof WriterOperations
