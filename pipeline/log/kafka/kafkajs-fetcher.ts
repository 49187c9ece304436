// Reads partitions by position on kafkajs' protocol, without a group: fetch requests, and our own reader of record batches.
//
// kafkajs' fetch forgets all partitions when one has an error, and does not get on behind a batch that compaction emptied.

import { AppError } from '../../../schemas/errors.ts'
import type { TopicPartition } from '../../../schemas/ports.ts'
import type { KafkaClientOptions } from './client-options.ts'
import type { Fetched, FetchRequest, KafkaFetcher } from './kafka-client.ts'
import { openCluster } from './kafkajs-cluster.ts'
import { CODE, type Decoder, DECOMPRESS, DecoderClass, errorName } from './kafkajs-internals.ts'
import { type Aborted, decodeRecords } from './record-batch.ts'

const FETCH_VERSION = 11 // The newest of kafkajs, and its answer is read here; brokers since 2.3 have it.
const READ_COMMITTED = 1
const ANSWER_BYTES_MIN = 1
const ANSWER_MS = 15_000 // Beyond the long poll, for the bytes to arrive: 16 MiB at 10 Mbit/s.
const LEADERS_MS = 10_000 // Who asks for leaders asks again by itself.

/** Asking another broker, or the same one later, helps. */
const MOVED: ReadonlySet<number> = new Set([
  CODE.unknownTopic,
  CODE.leaderNotAvailable,
  CODE.notLeader,
  CODE.replicaNotAvailable,
  CODE.requestTimedOut,
  CODE.storageError,
  CODE.fencedLeaderEpoch,
  CODE.unknownLeaderEpoch,
  CODE.offsetNotAvailable
])

interface PartitionAnswer {
  partition: number
  errorCode: number
  end: number
  aborted: readonly Aborted[]
  data: Buffer
}

export function kafkajsFetcher(options: KafkaClientOptions): KafkaFetcher {
  const cluster = openCluster(options)
  const { logger, meter } = options

  async function read(request: FetchRequest, { errorCode, end, aborted, data }: PartitionAnswer): Promise<Fetched> {
    const { topic, partition, offset } = request
    const nothing = { topic, partition, records: [], next: offset, end: Math.max(0, end) }
    if (errorCode === CODE.offsetOutOfRange) return { ...nothing, error: 'out_of_range' }
    if (MOVED.has(errorCode)) return { ...nothing, error: 'not_leader' }
    if (errorCode !== CODE.none) throw new AppError('log_unavailable', `${topic}/${partition} cannot be read: ${errorName(errorCode)}`)
    const { records, next, broken } = await decodeRecords(data, { topic, partition, offset }, DECOMPRESS, aborted)
    for (const { offset: at, error } of broken) {
      meter.count('homeostat.log.broken_batches', 1, { topic })
      logger.error({ topic, partition, offset: at, error }, 'a record batch cannot be read, it is left out')
    }
    return { topic, partition, records, next, end }
  }

  return {
    async leaders(partitions) {
      const topics = [...new Set(partitions.map(one => one.topic))]
      const found = await cluster.persist('asking for leaders', () => cluster.metadata(topics), LEADERS_MS)
      const leaders = new Map(found.map(one => [one.topic, one.leaders]))
      const led = Map.groupBy(partitions, ({ topic, partition }) => leaders.get(topic)?.[partition])
      led.delete(undefined)
      return led as ReadonlyMap<number, readonly TopicPartition[]>
    },
    async fetch(broker, requests, { waitMsMax, bytesMax }) {
      const topics = [...Map.groupBy(requests, one => one.topic)].map(([topic, list]) => ({
        topic,
        partitions: list.map(({ partition, offset, bytesMax: maxBytes }) => ({ partition, fetchOffset: offset, maxBytes }))
      }))
      const asked = { maxWaitTime: waitMsMax, minBytes: ANSWER_BYTES_MIN, maxBytes: bytesMax, isolationLevel: READ_COMMITTED, topics }
      const answers = await cluster
        .request<ReadonlyMap<string, PartitionAnswer>>(broker, 'Fetch', asked, {
          version: FETCH_VERSION,
          timeoutMs: waitMsMax + ANSWER_MS,
          decode: async data => decodeAnswer(data)
        })
        .catch(cause => {
          throw cause instanceof AppError ? cause : new AppError('log_unavailable', `broker ${broker} cannot be read: ${cause}`, { cause })
        })
      const fetched: Fetched[] = []
      for (const request of requests) {
        const answer = answers.get(`${request.topic}/${request.partition}`)
        if (answer !== undefined) fetched.push(await read(request, answer))
      }
      return fetched
    },
    close: () => cluster.close()
  }
}

/** By `topic/partition`. @throws Error when the broker refuses the whole request */
function decodeAnswer(data: Buffer): ReadonlyMap<string, PartitionAnswer> {
  const decoder = new DecoderClass(data)
  decoder.readInt32() // Throttle time: the broker holds back the next answer by itself.
  const errorCode = decoder.readInt16()
  decoder.readInt32() // Fetch session: none is used.
  const answers = new Map<string, PartitionAnswer>()
  decoder.readArray(topicDecoder => {
    const topic = topicDecoder.readString()!
    topicDecoder.readArray(partitionDecoder => {
      const answer = decodePartition(partitionDecoder)
      answers.set(`${topic}/${answer.partition}`, answer)
    })
  })
  if (errorCode !== CODE.none) throw new AppError('log_unavailable', `a broker refuses to be read: ${errorName(errorCode)}`)
  return answers
}

function decodePartition(decoder: Decoder): PartitionAnswer {
  const partition = decoder.readInt32()
  const errorCode = decoder.readInt16()
  const end = Number(decoder.readInt64())
  decoder.readInt64() // Last stable offset: records come up to it.
  decoder.readInt64() // Start of the log.
  const aborted = decoder.readArray(one => ({ producerId: one.readInt64(), firstOffset: one.readInt64() }))
  decoder.readInt32() // A replica nearby: none is asked for.
  return { partition, errorCode, end, aborted, data: decoder.readBytes() ?? Buffer.alloc(0) }
}
