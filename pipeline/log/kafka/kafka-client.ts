// What the Kafka log needs of a client library: produce, fetch by position, membership of a group, administration.
//
// Two libraries implement it (kafkajs-client.ts, platformatic-client.ts); kafka-log.ts builds the promises of the Log port on it and
// is the only caller. Passing trouble (no broker, no leader, time-outs) is repeated inside or thrown as AppError `log_unavailable`.

import type { LogRecord, Position, TopicPartition } from '../../../schemas/ports.ts'
import type { AssignMode } from './assignor.ts'

/** Records for one partition, written as one batch: all or none, in this order. */
export interface ProduceBatch extends TopicPartition {
  records: readonly { key: string | null; value: Uint8Array | null; headers: Readonly<Record<string, string>> }[]
}

/**
 * An idempotent producer, acks=all. Both libraries promise nothing about concurrent sends (kafkajs loses acknowledged records):
 * one `send` at a time, and after a rejected `send` the producer is closed and another opened.
 */
export interface KafkaProducer {
  /** One produce request a broker. Resolves with the offset of the first record of each batch. @throws AppError `log_unavailable` (may have been written), `record_too_large` */
  send(batches: readonly ProduceBatch[]): Promise<readonly number[]>
  close(): Promise<void>
}

export interface FetchRequest extends Position {
  bytesMax: number
}
export interface Fetched extends TopicPartition {
  /** `not_leader`: ask `leaders` again. `out_of_range`: the position was removed or never existed. */
  error?: 'not_leader' | 'out_of_range'
  /** From the asked position on. Empty is possible although `next` moved: transaction markers, holes of compaction. */
  records: readonly LogRecord[]
  /** Position to ask for next. */
  next: number
  /** Offset after the last record that exists now. */
  end: number
}

/** Reads by position, without a group. Its connections are its own: a long poll keeps nobody else waiting. One `fetch` a broker at a time. */
export interface KafkaFetcher {
  /** Broker that leads each partition now, by id; fresh metadata. Partitions without a leader are left out. */
  leaders(partitions: readonly TopicPartition[]): Promise<ReadonlyMap<number, readonly TopicPartition[]>>
  /** At least one whole batch where there is one, however large; waits up to `waitMsMax` for the first byte. */
  fetch(broker: number, requests: readonly FetchRequest[], limits: { waitMsMax: number; bytesMax: number }): Promise<readonly Fetched[]>
  close(): Promise<void>
}

export interface GroupOptions {
  group: string
  topics: readonly string[]
  /** Static membership where the library has it (KIP-345); in any case what the assignor knows the member by over restarts. */
  instance: string
  /** assignor.ts computes the shares; group-protocol.ts has the names and the user data that both libraries send. */
  mode: AssignMode
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  heartbeatMs: number
  /** The group rebalances: finish and commit what is in hand, then resolve; the member rejoins after it. Bounded by `rebalanceTimeoutMs`. */
  onRebalance(): Promise<void>
  /** The member's share in a new generation. Partitions that it had in the generation just before were nobody else's in between. */
  onAssigned(assignment: { generation: number; partitions: readonly TopicPartition[] }): void
  /** The member was thrown out (session over, fenced): what it owned may be another's already. It rejoins by itself. */
  onLost(): void
}

/** A member of a consumer group: joins, heartbeats and rejoins by itself, whatever happens, until it leaves. */
export interface KafkaMember {
  /** False when the generation is no longer the group's, or the member was thrown out. @throws AppError `log_unavailable` */
  commit(generation: number, positions: readonly Position[]): Promise<boolean>
  /** Committed offsets; partitions without one are left out. */
  committed(partitions: readonly TopicPartition[]): Promise<readonly Position[]>
  /** A static member stays in the group until its session ends, unless `forGood`. */
  leave(forGood: boolean): Promise<void>
}

export interface TopicSettings {
  name: string
  partitions: number
  replication: number
  /** Kafka's own names and values: cleanup.policy, retention.ms, … */
  configs: Readonly<Record<string, string>>
}

export interface KafkaAdmin {
  /** Existing ones among the named topics, with the values of the named configs that are set. */
  describe(topics: readonly string[], configNames: readonly string[]): Promise<readonly TopicSettings[]>
  create(topics: readonly TopicSettings[]): Promise<void>
  /** Grows a topic to `partitions` in all. */
  grow(topic: string, partitions: number): Promise<void>
  alterConfigs(topic: string, configs: Readonly<Record<string, string>>): Promise<void>
  /** Partitions of each topic; those that do not exist are left out. Needs no right beyond describing them. */
  partitionCounts(topics: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Start and end of each partition, in order. @throws AppError `unknown_topic` */
  offsets(topic: string): Promise<readonly { partition: number; start: number; end: number }[]>
  /** Committed offsets of any group; what it never committed is left out. */
  committed(group: string, topics: readonly string[]): Promise<readonly Position[]>
  /** Consumer groups whose name begins with `prefix`. */
  groups(prefix: string): Promise<readonly string[]>
  brokers(): Promise<readonly { id: number; address: string }[]>
  close(): Promise<void>
}

export interface KafkaClient {
  openProducer(): Promise<KafkaProducer>
  openFetcher(): Promise<KafkaFetcher>
  openAdmin(): Promise<KafkaAdmin>
  join(options: GroupOptions): Promise<KafkaMember>
}
