// The log on a Kafka cluster: the promises of the Log port over a client library (kafka-client.ts).
//
//   append  -> kafka-appends (one idempotent producer, one send at a time)
//   consume -> subscription (the loop of every log) -> kafka-membership / group-fetcher
//   read    -> kafka-reader
//
// Promise: an append that resolved is on all replicas in sync; one that was rejected may have been written, so who repeats it may
// write it twice. Offsets are committed by the owner's generation only. Topics are made by `homeostat topics apply`, never here.

import { AppError } from '../../../schemas/errors.ts'
import type { Clock, GroupPosition, Log, Logger, LogRecord, LogRecordInput, Meter, Position, SubscribeOptions, Subscription } from '../../../schemas/ports.ts'
import { placeRecords, specOf } from '../append-check.ts'
import { startSubscription } from '../subscription.ts'
import { groupFetcher } from './group-fetcher.ts'
import { type KafkaAppends, kafkaAppends } from './kafka-appends.ts'
import type { GroupOptions, KafkaAdmin, KafkaClient } from './kafka-client.ts'
import { joinKafkaGroup } from './kafka-membership.ts'
import { type KafkaReader, kafkaReader } from './kafka-reader.ts'
import { openPartitionCounts, type PartitionCounts } from './partition-counts.ts'

const JOIN_MS = 15_000 // `subscribe` waits for the first share, no longer: others of the group may have long batches.
const DRAIN_MS = 5_000 // `close` waits for what was accepted: while the brokers are away it would wait for ever.
const OUR_GROUPS = 'homeostat' // What `groups` lists begins with this.

export interface KafkaLogOptions extends Pick<GroupOptions, 'instance' | 'sessionTimeoutMs' | 'rebalanceTimeoutMs' | 'heartbeatMs'> {
  client: KafkaClient
  /** Topics that `partitions` must know at once; others are asked for when they are first used. */
  topics: readonly string[]
  /** A closed member's partitions wait for it to come back under its name, until its session ends. Default: others get them at once. */
  staysOverRestart?: boolean
  /** How long an append waits for others to share its send. */
  groupCommitMs: number
  clock: Clock
  logger: Logger
  meter: Meter
}

export class KafkaLog implements Log {
  #options: KafkaLogOptions
  #admin: KafkaAdmin
  #counts: PartitionCounts
  #appends: KafkaAppends
  #reader: KafkaReader
  #subscriptions = new Set<Subscription>()
  /** Members of ours by group: each needs a name of its own. */
  #members = new Map<string, Set<string>>()
  #closing: AbortController
  #closed: Promise<void> | undefined

  /** @throws AppError `log_unavailable` when no broker answers */
  static async open(options: KafkaLogOptions): Promise<KafkaLog> {
    const admin = await options.client.openAdmin()
    const closing = new AbortController()
    try {
      const counts = await openPartitionCounts(options.topics, { ...options, admin, closing: closing.signal })
      return new KafkaLog(options, admin, counts, closing)
    } catch (cause) {
      await admin.close()
      throw cause
    }
  }

  private constructor(options: KafkaLogOptions, admin: KafkaAdmin, counts: PartitionCounts, closing: AbortController) {
    this.#options = options
    this.#admin = admin
    this.#counts = counts
    this.#closing = closing
    this.#appends = kafkaAppends(options)
    this.#reader = kafkaReader(options.client, admin, options.clock)
  }

  /** Values must not change before the returned promise settles. */
  async append(topic: string, records: readonly LogRecordInput[]): Promise<readonly Position[]> {
    this.#assertOpen()
    const spec = specOf(topic)
    if (records.length === 0) return []
    const partitions = placeRecords(spec, records, await this.#counts.of(topic))
    const placed = records.map(({ key, value, headers = {} }) => ({ key, value, headers }))
    const offsets = await this.#appends.push({ topic, partitions, records: placed })
    return offsets.map((offset, index) => ({ topic, partition: partitions[index]!, offset }))
  }

  /** Returns when the member has its first share, or is kept waiting for it. @throws AppError `unknown_topic`, `log_unavailable` */
  async subscribe(options: SubscribeOptions): Promise<Subscription> {
    this.#assertOpen()
    for (const topic of options.topics) {
      specOf(topic)
      await this.#counts.of(topic)
    }
    const { client, clock, logger, meter, staysOverRestart = false } = this.#options
    const { group, from, topics } = options
    const offsets = (topic: string) => this.#admin.offsets(topic)
    const source = groupFetcher({ fetcher: await client.openFetcher(), group, from, offsets, lag: () => this.#lag(group, topics), clock, logger, meter })
    const [instance, release] = this.#nameMember(group)
    const joining = { ...this.#options, instance, subscribe: options, fetcher: source, offsets, leavesForGood: () => !staysOverRestart }
    const membership = await joinKafkaGroup(joining).catch(async cause => {
      release()
      await source.close()
      throw cause
    })
    const append: Log['append'] = (topic, records) => this.append(topic, records)
    const subscription = startSubscription({ membership, source, append, clock, logger, meter }, options)
    this.#subscriptions.add(subscription)
    const forget = (): void => {
      this.#subscriptions.delete(subscription)
      release()
    }
    subscription.finished.then(forget, forget)
    const waited = new AbortController()
    await Promise.race([membership.started, subscription.finished.catch(() => {}), clock.sleep(JOIN_MS, waited.signal)])
    waited.abort()
    return subscription
  }

  /** At most `recordsMax` records and about 4 MiB; only an empty answer means the end. */
  async read(from: Position, recordsMax: number): Promise<readonly LogRecord[]> {
    this.#assertOpen()
    specOf(from.topic)
    await this.#counts.of(from.topic)
    return this.#reader.read(from, recordsMax)
  }

  async offsets(topic: string): Promise<readonly { partition: number; start: number; end: number }[]> {
    this.#assertOpen()
    specOf(topic)
    await this.#counts.of(topic)
    return this.#admin.offsets(topic)
  }

  /** As last heard from the cluster. @throws AppError `unknown_topic` */
  partitions(topic: string): number {
    specOf(topic)
    return this.#counts.now(topic)
  }

  async groups(): Promise<readonly GroupPosition[]> {
    this.#assertOpen()
    const names = new Set([...(await this.#admin.groups(OUR_GROUPS)), ...this.#members.keys()])
    const topics = this.#counts.topics()
    const positions: GroupPosition[] = []
    const ends = new Map<string, readonly { end: number }[]>()
    for (const group of names) {
      for (const { topic, partition, offset } of await this.#admin.committed(group, topics)) {
        if (!ends.has(topic)) ends.set(topic, await this.#admin.offsets(topic))
        positions.push({ group, topic, partition, committed: offset, end: ends.get(topic)![partition]?.end ?? offset })
      }
    }
    return positions
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map(subscription => subscription.close()))
    const drained = new AbortController()
    await Promise.race([this.#appends.drain(), this.#options.clock.sleep(DRAIN_MS, drained.signal)])
    drained.abort()
    this.#closing.abort()
    await Promise.all([this.#appends.close(), this.#reader.close(), this.#admin.close()])
  }

  async #lag(group: string, topics: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const committed = new Map((await this.#admin.committed(group, topics)).map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]))
    const lags = new Map<string, number>()
    for (const topic of topics) {
      const bounds = await this.#admin.offsets(topic)
      lags.set(
        topic,
        bounds.reduce((sum, { partition, start, end }) => sum + Math.max(0, end - (committed.get(`${topic}/${partition}`) ?? start)), 0)
      )
    }
    return lags
  }

  /** A name for one more member of the group in this process, and how to give it back. */
  #nameMember(group: string): [string, () => void] {
    const taken = this.#members.get(group) ?? new Set<string>()
    this.#members.set(group, taken)
    let name = this.#options.instance
    for (let count = 2; taken.has(name); count++) name = `${this.#options.instance}.${count}`
    taken.add(name)
    return [
      name,
      () => {
        taken.delete(name)
        if (taken.size === 0) this.#members.delete(group)
      }
    ]
  }

  #assertOpen(): void {
    // While closing, owners may still write their last checkpoint.
    if (this.#closing.signal.aborted) throw new AppError('log_unavailable', 'the log is closed')
  }
}
