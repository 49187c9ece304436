// Reads partitions by position over @platformatic/kafka's fetch request, on connections of its own.
//
// Committed records only: what a transaction aborted is left out, and `next` moves over it, over transaction markers and over
// holes of compaction. Batches of any of the four codecs are decompressed by the library.

import { fetchV12, IS_CONTROL, IS_TRANSACTIONAL, protocolErrorsCodesById, type RecordsBatch } from '@platformatic/kafka'
import { AppError } from '../../../schemas/errors.ts'
import type { LogRecord, TopicPartition } from '../../../schemas/ports.ts'
import type { KafkaClientOptions } from './client-options.ts'
import type { Fetched, FetchRequest, KafkaFetcher } from './kafka-client.ts'
import { despiteItems, kafkaError, openWire } from './platformatic-wire.ts'

const REQUEST_TIMEOUT_MS = 30_000 // A batch of 64 MB at 3 MB/s.
const COMMITTED_ONLY = 1
const NO_SESSION = { id: 0, epoch: -1 }
const ANY_EPOCH = -1
const LOG_APPEND_TIME = 1 << 3 // Of a batch's attributes: the broker's clock, one time for the whole batch.
const ABORT_MARKER = 0

/** The partition moved, or the broker does not know yet: the next metadata tells. */
const MOVED = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'REPLICA_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'OFFSET_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR'
])

/** Connects with the first request. */
export function platformaticFetcher(options: KafkaClientOptions): KafkaFetcher {
  const wire = openWire(options, REQUEST_TIMEOUT_MS)
  return {
    async leaders(partitions) {
      const wanted = new Set(partitions.map(({ topic, partition }) => `${topic}/${partition}`))
      try {
        const { topics } = await wire.metadata([...new Set(partitions.map(({ topic }) => topic))])
        const led = topics.flatMap(({ name, partitions: all }) =>
          all.map(({ leaderId, partitionIndex }) => ({ leaderId, topic: name ?? '', partition: partitionIndex }))
        )
        const ours = led.filter(({ leaderId, topic, partition }) => leaderId >= 0 && wanted.has(`${topic}/${partition}`))
        const byLeader = Map.groupBy(ours, ({ leaderId }) => leaderId)
        return new Map([...byLeader].map(([id, list]) => [id, list.map(({ topic, partition }): TopicPartition => ({ topic, partition }))]))
      } catch (error) {
        throw kafkaError(error, 'the leaders of the partitions are unknown')
      }
    },
    async fetch(broker, requests, { waitMsMax, bytesMax }) {
      const byTopic = Map.groupBy(requests, ({ topic }) => topic)
      const topics = [...byTopic].map(([topic, list]) => ({ topicId: topic, partitions: list.map(requestPartition) })) // Version 12 goes by name.
      try {
        const { id, epoch } = NO_SESSION
        const answer = await despiteItems(wire.ask(broker, fetchV12.api, waitMsMax, 1, bytesMax, COMMITTED_ONLY, id, epoch, topics, [], ''))
        if (answer.errorCode !== 0) throw new AppError('log_unavailable', `broker ${broker} refuses to be read: ${protocolErrorsCodesById[answer.errorCode]}`)
        return answer.responses.flatMap(({ topicId: topic, partitions }) =>
          partitions.map(partition => fetched(byTopic.get(topic)!.find(one => one.partition === partition.partitionIndex)!, partition))
        )
      } catch (error) {
        throw kafkaError(error, `broker ${broker} cannot be read`)
      }
    },
    close: () => wire.close()
  }
}

function requestPartition({ partition, offset, bytesMax }: FetchRequest) {
  return { partition, currentLeaderEpoch: ANY_EPOCH, fetchOffset: BigInt(offset), lastFetchedEpoch: ANY_EPOCH, partitionMaxBytes: bytesMax }
}

function fetched({ topic, partition, offset }: FetchRequest, answer: fetchV12.FetchResponsePartition): Fetched {
  const end = Math.max(0, Number(answer.highWatermark))
  const error = answer.errorCode === 0 ? undefined : (protocolErrorsCodesById[answer.errorCode] ?? String(answer.errorCode))
  if (error === 'OFFSET_OUT_OF_RANGE') return { topic, partition, error: 'out_of_range', records: [], next: offset, end }
  if (error !== undefined && MOVED.has(error)) return { topic, partition, error: 'not_leader', records: [], next: offset, end }
  if (error !== undefined) throw new AppError('log_unavailable', `${topic}/${partition} cannot be read: ${error}`)
  const batches = answer.records ?? []
  const isAborted = abortedBatches(answer)
  const records: LogRecord[] = []
  let next = offset
  for (const batch of batches) {
    const first = Number(batch.firstOffset)
    next = Math.max(next, first + batch.lastOffsetDelta + 1)
    if (isAborted(batch) || (batch.attributes & IS_CONTROL) !== 0) continue
    for (const record of batch.records) {
      if (first + record.offsetDelta >= offset) records.push(logRecord(topic, partition, batch, record)) // Asked for may be the middle of a batch.
    }
  }
  return { topic, partition, records, next, end }
}

function logRecord(topic: string, partition: number, batch: RecordsBatch, record: RecordsBatch['records'][number]): LogRecord {
  const time = (batch.attributes & LOG_APPEND_TIME) !== 0 ? batch.maxTimestamp : batch.firstTimestamp + record.timestampDelta
  return {
    topic,
    partition,
    offset: Number(batch.firstOffset) + record.offsetDelta,
    key: text(record.key),
    value: record.value as Buffer | null,
    headers: Object.fromEntries(record.headers.map(([name, value]) => [text(name) ?? '', text(value) ?? ''])),
    appendedAtMs: Number(time)
  }
}

const text = (bytes: Buffer | null): string | null => (bytes === null ? null : bytes.toString('utf8'))

/**
 * Tells for the batches of one answer, asked in their order, which belong to aborted transactions.
 * Source: KIP-98, "consumer": a producer is aborted from the offset that the broker names until its abort marker.
 */
function abortedBatches({ abortedTransactions }: fetchV12.FetchResponsePartition): (batch: RecordsBatch) => boolean {
  const coming = [...(abortedTransactions ?? [])].sort((a, b) => Number(a.firstOffset - b.firstOffset))
  const aborted = new Set<bigint>()
  return batch => {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta)
    while (coming.length > 0 && coming[0]!.firstOffset <= last) aborted.add(coming.shift()!.producerId)
    if ((batch.attributes & IS_CONTROL) === 0) return (batch.attributes & IS_TRANSACTIONAL) !== 0 && aborted.has(batch.producerId)
    if (batch.records[0]?.key?.readInt16BE(2) === ABORT_MARKER) aborted.delete(batch.producerId)
    return true
  }
}
