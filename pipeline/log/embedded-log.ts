// The embedded log: a durable, partitioned, replayable log in one folder, for one machine. SQLite holds the index, segment
// files hold large values (log-schema.ts). Any number of threads and processes may open the same folder.
//
//   append  -> embedded-appends (group commit) -> writer-client -> [writer thread] log-writer: segment sync, index transaction
//   consume -> subscription -> membership (leases) / embedded-source: log-reader <- change-signal
//
// Promise: an append that resolved survives kill -9 and power loss; one that did not either happened as a whole or not at all.

import { realpathSync } from 'node:fs'
import { AppError, assert } from '../../schemas/errors.ts'
import type { Clock, GroupPosition, Log, Logger, LogRecord, LogRecordInput, Meter, Position, SubscribeOptions, Subscription } from '../../schemas/ports.ts'
import type { TopicSpec } from '../../schemas/topics.ts'
import { makeFolder } from '../make-folder.ts'
import { placeRecords, specOf } from './append-check.ts'
import type { AppendQueue } from './append-queue.ts'
import { type ChangeSignal, changeSignal } from './change-signal.ts'
import { embeddedAppends } from './embedded-appends.ts'
import { embeddedSource } from './embedded-source.ts'
import { type LogReader, openLogReader } from './log-reader.ts'
import { joinGroup } from './membership.ts'
import { ownerName } from './owner.ts'
import { startSubscription } from './subscription.ts'
import { inlineWriter, threadWriter, type WriterClient } from './writer-client.ts'
import type { AppendCall, Maintained, RetentionOverride } from './writer-protocol.ts'

const READ_BYTES_MAX = 8 * 2 ** 20 // One `read` blocks its thread for a few milliseconds at most.
const MAINTAIN_MS = 5_000
const PARTITIONS_MAX = 256 // A partition costs a row, a lease per group and a look per round.

export interface EmbeddedLogOptions {
  dir: string
  clock: Clock
  logger: Logger
  meter: Meter
  /** Disk space of the whole log; beyond it appends are refused as `log_full`. */
  bytesMax: number
  /** How long an append waits for others to share its sync. */
  groupCommitMs: number
  /** Partitions by topic name where they differ from schemas/topics.ts. They can grow, never shrink. */
  partitions?: Readonly<Record<string, number>>
  /** Limits by topic name where they differ from schemas/topics.ts. */
  retention?: Readonly<Record<string, RetentionOverride>>
  /** `thread` (default) keeps syncs off the event loop; `inline` runs them on it: deterministic, for simulation. */
  writer?: 'thread' | 'inline'
}

export class EmbeddedLog implements Log {
  #options: EmbeddedLogOptions
  #reader: LogReader
  #writer: WriterClient
  #signal: ChangeSignal
  #queue: AppendQueue<AppendCall>
  #counts: ReadonlyMap<string, number>
  #subscriptions = new Set<Subscription>()
  #closing = new AbortController()
  #closed: Promise<void> | undefined
  #maintaining = false

  /** Opens the folder, creating it when missing. @throws AppError `log_unavailable` | `log_full` */
  static async open(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
    try {
      makeFolder(options.dir)
    } catch (cause) {
      throw new AppError('log_unavailable', `the log's folder ${options.dir} cannot be made (${(cause as Error).message}): is dataDir right?`, { cause })
    }
    // One name for the folder, however it was reached: the channel between threads is named by it.
    return new EmbeddedLog({ ...options, dir: realpathSync(options.dir) })
  }

  private constructor(options: EmbeddedLogOptions) {
    const { dir, bytesMax, clock, logger, meter, retention = {} } = options
    this.#options = options
    this.#reader = openLogReader(dir, { logger, meter })
    this.#counts = this.#reader.partitionCounts()
    const writerOptions = { dir, bytesMax, retention, owner: ownerName() }
    this.#writer = options.writer === 'inline' ? inlineWriter(writerOptions) : threadWriter(writerOptions)
    this.#signal = changeSignal({ dir, clock, reader: this.#reader })
    const onCommitted = (topics: readonly string[]): void => this.#signal.announce(topics)
    this.#queue = embeddedAppends({ writer: this.#writer, clock, groupCommitMs: options.groupCommitMs, onCommitted })
  }

  /** Values must not change before the returned promise settles. */
  async append(topic: string, records: readonly LogRecordInput[]): Promise<readonly Position[]> {
    this.#assertOpen()
    const spec = specOf(topic)
    if (records.length === 0) return []
    const call = this.#appendCall(spec, records)
    this.#startMaintaining()
    const offsets = await this.#queue.push(call)
    return offsets.map((offset, index) => ({ topic, partition: call.partitions[index]!, offset }))
  }

  /** @throws AppError when the group cannot be joined now */
  async subscribe(options: SubscribeOptions): Promise<Subscription> {
    this.#assertOpen()
    for (const topic of options.topics) specOf(topic)
    this.#startMaintaining()
    const { clock, logger, meter } = this.#options
    const partitions = (topic: string): number => this.partitions(topic)
    const storage = { reader: this.#reader, signal: this.#signal, partitions }
    const membership = await joinGroup({ ...storage, owner: ownerName(), writer: this.#writer, clock, logger }, options)
    const source = embeddedSource({ ...storage, group: options.group, topics: options.topics })
    const append: Log['append'] = (topic, records) => this.append(topic, records)
    const subscription = startSubscription({ membership, source, append, clock, logger, meter }, options)
    this.#subscriptions.add(subscription)
    const forget = (): void => void this.#subscriptions.delete(subscription)
    subscription.finished.then(forget, forget)
    return subscription
  }

  /** At most `recordsMax` records and about 8 MiB; only an empty answer means the end. */
  async read(from: Position, recordsMax: number): Promise<readonly LogRecord[]> {
    this.#assertOpen()
    specOf(from.topic)
    return this.#reader.fetch(from.topic, from.partition, from.offset, { recordsMax, bytesMax: READ_BYTES_MAX })
  }

  async offsets(topic: string): Promise<readonly { partition: number; start: number; end: number }[]> {
    this.#assertOpen()
    return Array.from({ length: this.partitions(topic) }, (_, partition) => ({ partition, ...this.#reader.bounds(topic, partition) }))
  }

  partitions(topic: string): number {
    const configured = this.#options.partitions?.[topic] ?? specOf(topic).partitions
    assert(configured >= 1 && configured <= PARTITIONS_MAX, `${topic} has ${configured} partitions, 1 to ${PARTITIONS_MAX} are possible`)
    return Math.max(configured, this.#counts.get(topic) ?? 0)
  }

  async groups(): Promise<readonly GroupPosition[]> {
    this.#assertOpen()
    return this.#reader.groups().flatMap(group =>
      [...this.#reader.committed(group)].map(([name, committed]) => {
        const cut = name.lastIndexOf('/')
        const [topic, partition] = [name.slice(0, cut), Number(name.slice(cut + 1))]
        return { group, topic, partition, committed, end: this.#reader.bounds(topic, partition).end }
      })
    )
  }

  /** Retention, compaction and giving space back, now. Runs by itself every few seconds while the log is written. */
  async maintain(intervalMs = 0): Promise<void> {
    this.#assertOpen()
    const { clock, meter, bytesMax } = this.#options
    let maintained = await this.#writer.call('maintain', { nowMs: clock.nowMs(), intervalMs })
    this.#count(maintained)
    // Appends that wait get their turn between passes.
    while (maintained.more && !this.#closing.signal.aborted) {
      maintained = await this.#writer.call('maintain', { nowMs: clock.nowMs(), intervalMs: 0 })
      this.#count(maintained)
    }
    meter.gauge('homeostat.log.used_bytes', maintained.usedBytes)
    meter.gauge('homeostat.log.used_ratio', maintained.usedBytes / bytesMax)
  }

  #count({ removed }: Maintained): void {
    const { meter, logger } = this.#options
    for (const { topic, records, unread } of removed) {
      meter.count('homeostat.log.removed_records', records, { topic })
      if (unread === 0) continue
      meter.count('homeostat.log.removed_unread_records', unread, { topic })
      logger.warn({ topic, records: unread }, 'retention removed records that a consumer group had not read')
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map(subscription => subscription.close()))
    await this.#queue.drain()
    this.#closing.abort()
    this.#signal.close()
    await this.#writer.close()
    this.#reader.close()
  }

  #appendCall(spec: TopicSpec, records: readonly LogRecordInput[]): AppendCall {
    const partitionCount = this.partitions(spec.name)
    return {
      topic: spec.name,
      partitionCount,
      partitions: placeRecords(spec, records, partitionCount),
      keys: records.map(({ key }) => key),
      headers: records.map(({ headers }) => (headers === undefined || Object.keys(headers).length === 0 ? null : JSON.stringify(headers))),
      values: records.map(({ value }) => value)
    }
  }

  #startMaintaining(): void {
    if (this.#maintaining) return
    this.#maintaining = true
    void this.#maintainLoop()
  }

  async #maintainLoop(): Promise<void> {
    const { clock, logger } = this.#options
    for (;;) {
      await clock.sleep(MAINTAIN_MS, this.#closing.signal)
      if (this.#closing.signal.aborted) return
      await this.maintain(MAINTAIN_MS).catch(error => logger.warn({ error }, 'maintenance of the log failed, trying again'))
    }
  }

  #assertOpen(): void {
    // While closing, owners may still write their last checkpoint.
    if (this.#closing.signal.aborted) throw new AppError('log_unavailable', 'the log is closed')
  }
}
