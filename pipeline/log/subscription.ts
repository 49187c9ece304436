// One member of a consumer group on the embedded log: owns partitions by lease, delivers batches, settles them.
//
//   join -> [ balance? -> for each owned partition: fetch -> onBatch -> dead letters -> commit -> yield ]* -> revoke -> leave
//
// Partitions are served in turn, one batch each, one at a time. A lease is renewed beside the loop, so a slow handler keeps its
// partitions while the event loop lives. After a crash delivery resumes at the committed offset; a stale owner's commit is refused.

import { setImmediate as turn } from 'node:timers/promises'
import { AppError } from '../../schemas/errors.ts'
import type { Batch, BatchFate, LogRecordInput, Position, SubscribeOptions, Subscription } from '../../schemas/ports.ts'
import { deadLetterTopic } from '../../schemas/topics.ts'
import { deadLetterRecord } from './dead-letter.ts'
import { type ConsumerParts, joinGroup, lagOf, type Membership, type Owned } from './membership.ts'

const BATCH_RECORDS_MAX = 500
const BATCH_BYTES_MAX = 8 * 2 ** 20 // Memory of one batch; at 265 B a point about 30,000 points, tens of milliseconds of detection.
const RETRY_MS = 250 // A disk that is full or busy is asked again this often.
const IDLE_MS_MAX = 500 // How late a change of the group's members by another process is noticed.

interface Delivery {
  batch: Batch
  attempts: number
  firstSeenAtMs: number
  /** Monotonic; the batch waits until then. */
  dueMs: number
}

interface Consumer {
  parts: ConsumerParts
  options: SubscribeOptions
  membership: Membership
  /** The log's own append, for dead letters. */
  append(topic: string, records: readonly LogRecordInput[]): Promise<readonly Position[]>
  /** Batches to be repeated, by partition. */
  repeats: Map<string, Delivery>
  closing: AbortSignal
}

/** Joins the group and starts delivering. @throws AppError when the group cannot be joined now */
export async function startSubscription(parts: ConsumerParts, options: SubscribeOptions, append: Consumer['append']): Promise<Subscription> {
  const closing = new AbortController()
  const membership = await joinGroup(parts, options)
  const finished = run({ parts, options, membership, append, repeats: new Map(), closing: closing.signal })
  finished.catch(error => {
    parts.meter.count('homeostat.log.subscriptions_failed', 1, { group: options.group })
    parts.logger.error({ group: options.group, topics: options.topics, error }, 'subscription stopped by a bug in its handler')
  })
  return {
    finished,
    commit: positions => membership.commit(positions),
    lag: async () => lagOf(parts, options),
    async close() {
      closing.abort()
      await finished.catch(() => {})
    }
  }
}

async function run(consumer: Consumer): Promise<void> {
  const { parts, options, membership, repeats, closing } = consumer
  try {
    while (!closing.aborted) {
      const seen = parts.signal.version(options.topics)
      const delivered = await serveOnce(consumer)
      if (delivered > 0 || closing.aborted) continue
      const dueMs = Math.min(...[...repeats.values()].map(one => one.dueMs))
      const waitMs = Math.min(IDLE_MS_MAX, dueMs - parts.clock.monotonicMs())
      await parts.signal.wait(options.topics, seen, waitMs, closing)
    }
  } catch (cause) {
    await membership.leave('at once')
    throw cause
  }
  await membership.leave('gracefully')
}

/** One batch of each owned partition that has one; returns how many. */
async function serveOnce(consumer: Consumer): Promise<number> {
  const { membership, repeats, closing } = consumer
  const balance = () => persist(consumer, () => membership.balance(name => repeats.delete(name)))
  let delivered = 0
  await balance()
  for (const owned of membership.owned()) {
    if (closing.aborted) break
    if (!membership.owns(owned)) continue
    const delivery = await nextDelivery(consumer, owned)
    if (delivery === undefined) continue
    await deliver(consumer, owned, delivery)
    delivered++
    await turn() // Timers and sockets get their turn between batches.
    await balance()
  }
  return delivered
}

/** The batch that waits for its repetition, or the next one; undefined when there is none or it is not due. */
async function nextDelivery(consumer: Consumer, owned: Owned): Promise<Delivery | undefined> {
  const { parts, options, repeats } = consumer
  const { reader, clock } = parts
  const repeat = repeats.get(owned.name)
  if (repeat !== undefined) return repeat.dueMs <= clock.monotonicMs() ? repeat : undefined
  const limits = { recordsMax: options.batchRecordsMax ?? BATCH_RECORDS_MAX, bytesMax: options.batchBytesMax ?? BATCH_BYTES_MAX }
  const { topic, partition, generation } = owned
  const records = await persist(consumer, async () => reader.fetch(topic, partition, owned.position, limits))
  if (records === undefined || records.length === 0) return undefined
  const batch: Batch = { topic, partition, generation, records, endOffset: reader.bounds(topic, partition).end }
  return { batch, attempts: 0, firstSeenAtMs: clock.nowMs(), dueMs: 0 }
}

async function deliver(consumer: Consumer, owned: Owned, delivery: Delivery): Promise<void> {
  const { parts, options, membership, append, repeats } = consumer
  const { topic, partition, generation, records } = delivery.batch
  delivery.attempts++
  const fate = await options.onBatch(delivery.batch)
  if (fate.kind === 'retry') {
    parts.meter.count('homeostat.log.retries', 1, { group: options.group, topic })
    if (delivery.attempts === 1) {
      parts.logger.warn({ group: options.group, topic, partition, reason: fate.reason, afterMs: fate.afterMs }, 'batch will be repeated')
    }
    repeats.set(owned.name, { ...delivery, dueMs: parts.clock.monotonicMs() + fate.afterMs })
    return
  }
  repeats.delete(owned.name)
  const letters = deadLettersOf(delivery, fate, options.group)
  if (letters.length > 0) {
    const written = await persist(consumer, () => append(deadLetterTopic(topic), letters))
    if (written === undefined) return // Closing while the disk is full: not settled, the batch comes again.
    parts.meter.count('homeostat.log.dead_letters', letters.length, { group: options.group, topic })
  }
  owned.position = records.at(-1)!.offset + 1
  if (options.autoCommit === false) return
  await persist(consumer, () => membership.commit([{ topic, partition, generation, offset: owned.position }]))
}

function deadLettersOf(delivery: Delivery, fate: Extract<BatchFate, { kind: 'done' }>, consumer: string): LogRecordInput[] {
  return (fate.deadLetters ?? []).map(({ offset, reason, message }) => {
    const record = delivery.batch.records.find(one => one.offset === offset)
    if (record === undefined) throw new AppError('bug', `dead letter for offset ${offset}, which is not in the batch of ${delivery.batch.topic}`)
    return deadLetterRecord(record, { reason, message, consumer, attempts: delivery.attempts, firstSeenAtMs: delivery.firstSeenAtMs })
  })
}

/** Repeats `work` while disk or lock stand in its way; undefined when the subscription is closed meanwhile. */
async function persist<T>({ parts, options, closing }: Consumer, work: () => Promise<T>): Promise<T | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (cause) {
      if (!(cause instanceof AppError) || !cause.retriable) throw cause
      if (closing.aborted) return undefined
      if (attempt === 1) parts.logger.warn({ group: options.group, error: cause }, 'the log does not answer its consumer, trying again')
      await parts.clock.sleep(RETRY_MS, closing)
    }
  }
}
