// The third door: topics that Collectors write with their own `kafka` exporter, read as one consumer group and filed by entity.
//
//   foreign topic ─► batch ─► cut each record (as the other doors cut a request) ─► one append a batch ─► done: the log commits
//                                └ unreadable: dead letter                            └ the log is away: the same batch again
//
// Promise: offsets move on only after every record of the batch is durable in our topics or in the dead letters, so nothing is lost;
// after a crash, or an append that failed half-way, the records of that one batch come twice (infra/docs/kafka-topics.md says what
// that means). Keys of the Collector are not relied upon. Holds no state; runs on the intake role's thread.

import { setImmediate as turn } from 'node:timers/promises'
import type { Config } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { keyPartition } from '../../schemas/partition.ts'
import type { Batch, BatchFate, Clock, Log, Logger, LogRecord, Meter } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { tooLarge } from './decompress.ts'
import { protobufFromJson } from './json.ts'
import type { Signal, Split } from './slices.ts'
import { splitRequest } from './split.ts'

const GROUP = 'homeostat-intake'
const SIGNALS = ['metrics', 'spans', 'logs'] as const
/** The exporter's batches are up to 1 MB and often 100 KB: eight of the largest, or many small ones, in one append. */
const BATCH_RECORDS_MAX = 2_000
const BATCH_BYTES_MAX = 8 * 2 ** 20
const TURN_AFTER_MS = 10 // The other doors answer between two records; JSON of 1 MB takes 20 to 50 ms (measured on a busy core).
const REOPEN_MS = 5_000 // After a fault of ours, or while the topics cannot be subscribed to: soon, and not a hot loop.
const OPEN_BRACE = 0x7b // As protobuf this would be field 15 as a group: no OTLP request begins so, and every one in JSON does.

export interface TopicsDoorOptions {
  config: Pick<Config['intake'], 'topics' | 'bodyBytesMax' | 'fallbackEntity' | 'retryAfter'>
  environment: string
  /** Both sides: the foreign topics lie on the same cluster as ours. */
  log: Log
  clock: Clock
  logger: Logger
  meter: Meter
}

export interface TopicsDoor {
  topics: readonly string[]
  /** Leaves the group after the batch under way; does not wait for a log that is away. Safe to call twice. */
  close(): Promise<void>
}

type Encoding = Config['intake']['topics']['metrics']['encoding']
interface Source {
  signal: Signal
  encoding: Encoding
}
/** A record that was cut and can be appended. */
interface Taken {
  record: LogRecord
  split: Split
}
interface Refused {
  offset: number
  reason: string
  message: string
}
interface Settled {
  taken: Taken[]
  /** For the dead letters. */
  refused: Refused[]
}

/** Opens the door and returns at once: a cluster that is away, or a topic that no Collector has made yet, is asked again. */
export function openTopicsDoor(options: TopicsDoorOptions): TopicsDoor {
  const { config, clock, logger, meter } = options
  const sources = new Map<string, Source>(SIGNALS.map(signal => [config.topics[signal].topic, { signal, encoding: config.topics[signal].encoding }]))
  const topics = [...sources.keys()]
  const closing = new AbortController()
  const closed = aborted(closing.signal).then(() => 'closing' as const)
  const onBatch = (batch: Batch): Promise<BatchFate> => take(options, sources.get(batch.topic)!, batch, closed)
  const door = { options, topics, closing: closing.signal, onBatch }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        await live(door)
      } catch (error) {
        const code = error instanceof AppError ? error.code : 'bug'
        meter.count('homeostat.intake.topics_door_reopened', 1, { code })
        const level = code === 'bug' ? 'error' : 'warn'
        logger[level]({ topics, error, againAfterMs: REOPEN_MS }, 'the door to the topics of Collectors is closed and will be opened again')
        await clock.sleep(REOPEN_MS, closing.signal)
      }
    }
  }
  const running = run()
  return {
    topics,
    close() {
      closing.abort()
      return running
    }
  }
}

interface OpenDoor {
  options: TopicsDoorOptions
  topics: readonly string[]
  closing: AbortSignal
  onBatch(batch: Batch): Promise<BatchFate>
}

/** One life of the subscription; ends with closing, with a topic that was missing before, or with what stopped it. */
async function live({ options, topics, closing, onBatch }: OpenDoor): Promise<void> {
  const { log, clock, logger } = options
  const present = await presentTopics(log, topics)
  const limits = { batchRecordsMax: BATCH_RECORDS_MAX, batchBytesMax: BATCH_BYTES_MAX }
  const subscription = await log.subscribe({ group: GROUP, topics: present, from: 'earliest', ...limits, onBatch })
  const missing = topics.filter(topic => !present.includes(topic))
  logger.info({ topics: present, missing, group: GROUP }, 'intake reads the topics of Collectors')
  const ended = new AbortController()
  const stop = AbortSignal.any([closing, ended.signal])
  const leaving = (missing.length === 0 ? aborted(stop) : untilOneIsThere(log, missing, clock, stop)).then(() => subscription.close())
  try {
    await subscription.finished
  } finally {
    ended.abort()
    await leaving
  }
}

/** Those that are there now. @throws AppError `unknown_topic` when none is, `log_unavailable` */
async function presentTopics(log: Log, topics: readonly string[]): Promise<string[]> {
  const present: string[] = []
  for (const topic of topics) {
    try {
      await log.offsets(topic)
      present.push(topic)
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'unknown_topic')) throw error
    }
  }
  if (present.length > 0) return present
  throw new AppError('unknown_topic', `the cluster has none of ${topics.join(', ')} yet: Collectors make them, or \`homeostat topics apply --collector\``)
}

/** Resolves when one of the topics is there, or with `stop`. While the brokers do not answer, none is. */
async function untilOneIsThere(log: Log, topics: readonly string[], clock: Clock, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    await clock.sleep(REOPEN_MS, stop)
    if (stop.aborted || (await presentTopics(log, topics).catch(() => [])).length > 0) return
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

async function take(options: TopicsDoorOptions, source: Source, batch: Batch, closed: Promise<'closing'>): Promise<BatchFate> {
  const { logger, meter, config } = options
  const later = (reason: string): BatchFate => ({ kind: 'retry', afterMs: config.retryAfter, reason })
  let settled: Settled | 'closing'
  try {
    settled = await Promise.race([settle(options, source, batch), closed])
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'bug') throw error
    // Whatever else it is, it is not the record's fault: a topic that is missing or a cluster that is away can be mended.
    return later(`${error.code}: ${error.message}`)
  }
  if (settled === 'closing') return later('intake closes')
  const { taken, refused } = settled
  countSettled(meter, source.signal, taken, refused)
  if (refused.length > 0) {
    const { topic: from, partition } = batch
    logger.warn(
      { topic: from, partition, records: refused.length, first: refused[0] },
      'intake could not read records of Collectors: they are in the dead letters'
    )
  }
  return { kind: 'done', deadLetters: refused }
}

function countSettled(meter: Meter, signal: Signal, taken: readonly Taken[], refused: readonly Refused[]): void {
  const labels = { signal, transport: 'kafka' }
  const sums = { items: 0, bytes: 0, rejected: 0 }
  for (const { record, split } of taken) {
    sums.items += split.items
    sums.bytes += record.value!.length
    sums.rejected += split.rejected
  }
  if (taken.length > 0) meter.count('homeostat.intake.requests', taken.length, { ...labels, code: 'ok' })
  for (const [name, value] of Object.entries(sums)) if (value > 0) meter.count(`homeostat.intake.${name}`, value, labels)
  for (const { reason: code } of refused) {
    meter.count('homeostat.intake.requests', 1, { ...labels, code })
    meter.count('homeostat.intake.refused', 1, { ...labels, code })
  }
}

async function settle(options: TopicsDoorOptions, source: Source, batch: Batch): Promise<Settled> {
  const settled = await cutAll(options, source, batch)
  await appendAll(options.log, TOPICS[source.signal].name, settled)
  return settled
}

/** Cuts every record; those that cannot be cut come back as refused, for the dead letters. Gives the event loop its turns. */
async function cutAll(options: TopicsDoorOptions, source: Source, batch: Batch): Promise<Settled> {
  const { clock, logger } = options
  const cut = cutter(options, source, batch.topic)
  const taken: Taken[] = []
  const refused: Refused[] = []
  let turnedMs = clock.monotonicMs()
  for (const record of batch.records) {
    try {
      taken.push({ record, split: cut(record) })
    } catch (error) {
      // Cutting depends on nothing but the record, so a fault of our own would come back with it and block the partition for ever:
      // it goes to the dead letters too, and can be put back once the fault is mended.
      const known = error instanceof AppError
      if (!known) logger.error({ error, topic: record.topic, partition: record.partition, offset: record.offset }, 'intake met a fault of its own')
      refused.push({ offset: record.offset, reason: known ? error.code : 'bug', message: error instanceof Error ? error.message : String(error) })
    }
    if (clock.monotonicMs() - turnedMs < TURN_AFTER_MS) continue
    await turn()
    turnedMs = clock.monotonicMs()
  }
  return { taken, refused }
}

/** Cuts one record of `topic` as the other doors cut a request body. The cut throws AppError `malformed_otlp`, `body_too_large`. */
function cutter({ config, environment, log }: TopicsDoorOptions, { signal, encoding }: Source, topic: string): (record: LogRecord) => Split {
  const partitions = log.partitions(TOPICS[signal].name)
  const settings = {
    // Not the partition too: it says nothing about who sent the record, and would change when the topic grows.
    fallback: { entity: config.fallbackEntity ?? `kafka:${topic}`, environment },
    partitionOf: (key: string) => keyPartition(key, partitions)
  }
  return ({ value }) => {
    if (value === null) throw new AppError('malformed_otlp', 'the record has no value')
    if (value.length > config.bodyBytesMax) throw tooLarge(config.bodyBytesMax, 'received')
    const isJson = encoding === undefined ? value[0] === OPEN_BRACE : encoding === 'otlp_json'
    const split = splitRequest(signal, isJson ? protobufFromJson(signal, value) : value, settings)
    // Nobody is there to be told of a partial success; what holds nothing usable at all is kept as it came.
    if (split.items === 0 && split.rejected > 0) throw new AppError('malformed_otlp', split.reason)
    return split
  }
}

/**
 * Appends all slices in one call. When the log finds one of them too large, record by record, and those that it refuses
 * move from `taken` to `refused`. @throws AppError of any other code
 */
async function appendAll(log: Log, topic: string, { taken, refused }: Settled): Promise<void> {
  const slices = taken.flatMap(({ split }) => split.slices)
  if (slices.length === 0) return
  try {
    await log.append(topic, slices)
    return
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'record_too_large')) throw error
  }
  for (const one of taken.splice(0)) {
    try {
      if (one.split.slices.length > 0) await log.append(topic, one.split.slices)
      taken.push(one)
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'record_too_large')) throw error
      refused.push({ offset: one.record.offset, reason: error.code, message: error.message })
    }
  }
}
