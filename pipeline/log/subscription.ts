// One member of a consumer group, on any log: delivers batches of the partitions that it owns, settles them.
//
//   join -> [ balance? -> for each owned partition: fetch -> onBatch -> dead letters -> commit -> yield ]* -> revoke -> leave
//
// Partitions are served in turn, one batch each, one at a time. Ownership is kept up beside the loop, so a slow handler keeps its
// partitions while the event loop lives. After a crash delivery resumes at the committed offset; a stale owner's commit is refused.

import { setImmediate as turn } from 'node:timers/promises'
import { AppError } from '../../schemas/errors.ts'
import type { Batch, BatchFate, LogRecordInput, SubscribeOptions, Subscription } from '../../schemas/ports.ts'
import { deadLetterTopic } from '../../schemas/topics.ts'
import type { ConsumerParts, Owned } from './consumer.ts'
import { deadLetterRecord, isMeantFor } from './dead-letter.ts'

const BATCH_RECORDS_MAX = 500
const BATCH_BYTES_MAX = 8 * 2 ** 20 // Memory of one batch; at 265 B a point about 30,000 points, tens of milliseconds of detection.
const RETRY_MS = 250 // A disk that is full or busy is asked again this often.
const IDLE_MS_MAX = 500 // How late a change of the group's members by another process is noticed.
const LAG_MS = 15_000 // As often as metrics are usually read; it asks the log for the ends of all partitions.

interface Delivery {
  batch: Batch
  /** Offset after what was read for it, records for other groups included. */
  next: number
  attempts: number
  firstSeenAtMs: number
  /** Monotonic; the batch waits until then. */
  dueMs: number
}

interface Consumer {
  parts: ConsumerParts
  options: SubscribeOptions
  /** Batches to be repeated, by partition. */
  repeats: Map<string, Delivery>
  closing: AbortSignal
}

/** Starts delivering; the member has joined its group. */
export function startSubscription(parts: ConsumerParts, options: SubscribeOptions): Subscription {
  const { membership, source, meter, logger } = parts
  const closing = new AbortController()
  const consumer: Consumer = { parts, options, repeats: new Map(), closing: closing.signal }
  const finished = run(consumer).finally(() => source.close())
  void reportLag(consumer)
  finished
    .catch(error => {
      meter.count('homeostat.log.subscriptions_failed', 1, { group: options.group })
      logger.error({ group: options.group, topics: options.topics, error }, 'subscription stopped by a bug in its handler')
    })
    .finally(() => closing.abort())
  return {
    finished,
    commit: positions => membership.commit(positions),
    lag: async () => [...(await source.lag()).values()].reduce((sum, lag) => sum + lag, 0),
    async close() {
      closing.abort()
      await finished.catch(() => {})
    }
  }
}

async function reportLag({ parts, options, closing }: Consumer): Promise<void> {
  const { clock, meter, source, logger } = parts
  for (;;) {
    await clock.sleep(LAG_MS, closing)
    if (closing.aborted) return
    try {
      for (const [topic, lag] of await source.lag()) meter.gauge('homeostat.log.lag', lag, { group: options.group, topic })
    } catch (error) {
      logger.debug({ group: options.group, error }, 'lag cannot be told now')
    }
  }
}

async function run(consumer: Consumer): Promise<void> {
  const { parts, repeats, closing } = consumer
  const { membership, source } = parts
  try {
    while (!closing.aborted) {
      const seen = source.version()
      const delivered = await serveOnce(consumer)
      if (delivered > 0 || closing.aborted) continue
      const dueMs = Math.min(...[...repeats.values()].map(one => one.dueMs))
      const waitMs = Math.min(IDLE_MS_MAX, dueMs - parts.clock.monotonicMs())
      await source.wait(seen, waitMs, closing)
    }
  } catch (cause) {
    await membership.leave('at once')
    throw cause
  }
  await membership.leave('gracefully')
}

/** One batch of each owned partition that has one; returns how many. */
async function serveOnce(consumer: Consumer): Promise<number> {
  const { parts, repeats, closing } = consumer
  const { membership } = parts
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
  const { source, clock } = parts
  const repeat = repeats.get(owned.name)
  if (repeat !== undefined) return repeat.dueMs <= clock.monotonicMs() ? repeat : undefined
  const limits = { recordsMax: options.batchRecordsMax ?? BATCH_RECORDS_MAX, bytesMax: options.batchBytesMax ?? BATCH_BYTES_MAX }
  const { topic, partition, generation } = owned
  while (!consumer.closing.aborted) {
    const found = await persist(consumer, async () => source.next(owned, limits))
    if (found === undefined) return undefined
    const next = found.records.at(-1)!.offset + 1
    const records = found.records.filter(record => isMeantFor(record, options.group))
    const batch: Batch = { topic, partition, generation, records, endOffset: found.endOffset }
    if (records.length > 0) return { batch, next, attempts: 0, firstSeenAtMs: clock.nowMs(), dueMs: 0 }
    await settled(consumer, owned, next)
  }
  return undefined
}

async function deliver(consumer: Consumer, owned: Owned, delivery: Delivery): Promise<void> {
  const { parts, options, repeats } = consumer
  const { topic, partition } = delivery.batch
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
    const written = await persist(consumer, () => parts.append(deadLetterTopic(topic), letters))
    if (written === undefined) return // Closing while the disk is full: not settled, the batch comes again.
    parts.meter.count('homeostat.log.dead_letters', letters.length, { group: options.group, topic })
  }
  await settled(consumer, owned, delivery.next)
}

/** Goes on at `offset`, and commits it unless the owner does that. */
async function settled(consumer: Consumer, owned: Owned, offset: number): Promise<void> {
  const { topic, partition, generation } = owned
  owned.position = offset
  if (consumer.options.autoCommit === false) return
  await persist(consumer, () => consumer.parts.membership.commit([{ topic, partition, generation, offset }]))
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
