// An idempotent producer on kafkajs' protocol: acks from all replicas in sync, one send at a time, the same numbers until it is done.
//
//   send -> by leader: produce(sequence n) -> acknowledged: n += records | passing trouble: ask for leaders, send n again | refused: reject
//
// kafkajs' own producer takes its sequence numbers back after a failed request, sends to brokers again whose answer is under way,
// and cannot be stopped while it retries: acknowledged records were lost (infra/docs/kafka-clients.md has the figures). Here a
// number is taken once and sent until its answer is known, so a repeated request is recognised by the broker, whatever happened
// to the one before. What a rejected send wrote is not known: the producer must not be used after it.

import { AppError } from '../../../schemas/errors.ts'
import { systemClock } from '../../system.ts'
import type { KafkaClientOptions } from './client-options.ts'
import type { KafkaProducer, ProduceBatch } from './kafka-client.ts'
import { type KafkajsCluster, openCluster } from './kafkajs-cluster.ts'
import { CODE, COMPRESS, COMPRESSION_IDS, errorName } from './kafkajs-internals.ts'
import { type RequestBody, requestBody } from './kafkajs-repairs.ts'
import { encodeRecordBatch } from './record-batch-writer.ts'

const ACKS_ALL = -1
const NO_TRANSACTION = -1 // The length of a missing name.
const PRODUCE_VERSION = 7 // The newest of kafkajs: record batches of format 2 with any compression. Brokers since 2.1 have it.
const REPLICATION_TIMEOUT_MS = 30_000 // How long the leader waits for its replicas: Kafka's default.
const MISSING_MS = 10_000 // A topic that was just made is known to every broker after this.
const SEQUENCES = 2 ** 31 // They begin anew there.

/** Errors that pass; the broker has the batch, or not, and recognises it when it comes again. */
const PASSING: ReadonlySet<number> = new Set([
  CODE.leaderNotAvailable,
  CODE.notLeader,
  CODE.requestTimedOut,
  CODE.replicaNotAvailable,
  CODE.networkException,
  CODE.notEnoughReplicas,
  CODE.notEnoughReplicasAfterAppend,
  CODE.storageError,
  CODE.fencedLeaderEpoch,
  CODE.unknownLeaderEpoch,
  CODE.unknownTopic
])

interface Outgoing {
  batch: ProduceBatch
  index: number
  sequence: number
}
interface ProduceAnswer {
  topics: readonly { topicName: string; partitions: readonly { partition: number; errorCode: number; baseOffset: string }[] }[]
}

/** Connects, and gets its identity from the cluster with the first send. */
export function kafkajsProducer(options: KafkaClientOptions): KafkaProducer {
  const cluster = openCluster(options)
  const sequences = new Map<string, number>()
  const leaders = leaderCache(cluster)
  let identity: { producerId: string; producerEpoch: number } | undefined

  async function identify(): Promise<{ producerId: string; producerEpoch: number }> {
    const answer = await cluster.request<{ errorCode: number; producerId: string; producerEpoch: number }>(undefined, 'InitProducerId', {
      transactionalId: null
    })
    if (answer.errorCode !== CODE.none) throw new Error(`the cluster names no producer: ${errorName(answer.errorCode)}`)
    return answer
  }

  async function produce(broker: number, outgoing: readonly Outgoing[]): Promise<ProduceAnswer> {
    const { producerId, producerEpoch } = identity!
    const compression = COMPRESSION_IDS[options.compression]
    const context = { producerId: BigInt(producerId), producerEpoch, compression, compress: COMPRESS[compression]!, atMs: systemClock.nowMs() }
    const encoded = await Promise.all(
      outgoing.map(async ({ batch, sequence }) => ({ ...batch, bytes: await encodeRecordBatch(batch.records, { ...context, sequence }) }))
    )
    return cluster.request<ProduceAnswer>(broker, 'Produce', { acks: ACKS_ALL }, { version: PRODUCE_VERSION, encode: async () => bodyOf(encoded) })
  }

  /** Sends once what is not acknowledged yet. @returns what has to be sent again, with the reason */
  async function sendOnce(outgoing: readonly Outgoing[], offsets: number[]): Promise<{ rest: readonly Outgoing[]; trouble: string }> {
    const byLeader = Map.groupBy(outgoing, ({ batch }) => leaders.of(batch))
    const rest: Outgoing[] = [...(byLeader.get(undefined) ?? [])]
    let trouble = rest.length > 0 ? 'no leader' : ''
    byLeader.delete(undefined)
    const refusals: AppError[] = []
    const sent = [...byLeader].map(async ([broker, list]) => {
      try {
        const answer = await produce(broker!, list)
        for (const one of list) {
          const verdict = verdictOf(answer, one.batch)
          if (verdict.kind === 'written') offsets[one.index] = verdict.offset
          else if (verdict.kind === 'refused') refusals.push(verdict.error)
          else {
            rest.push(one)
            trouble = verdict.reason
          }
        }
      } catch (cause) {
        if (cause instanceof AppError) throw cause
        rest.push(...list)
        trouble = String(cause)
      }
    })
    await Promise.all(sent)
    if (refusals.length > 0) throw refusals[0]!
    return { rest, trouble }
  }

  async function send(batches: readonly ProduceBatch[]): Promise<readonly number[]> {
    const names = batches.map(({ topic, partition }) => `${topic}/${partition}`)
    const offsets = new Array<number>(batches.length)
    let outgoing: readonly Outgoing[] = batches.map((batch, index) => ({ batch, index, sequence: sequences.get(names[index]!) ?? 0 }))
    await cluster.persist(`sending to ${names.join(', ')}`, async () => {
      identity ??= await identify()
      if (outgoing.some(({ batch }) => leaders.of(batch) === undefined)) await leaders.refresh(outgoing.map(({ batch }) => batch.topic))
      const { rest, trouble } = await sendOnce(outgoing, offsets)
      outgoing = rest
      if (rest.length === 0) return
      leaders.forget(rest.map(({ batch }) => batch.topic))
      throw new Error(trouble)
    })
    for (const [index, { records }] of batches.entries()) sequences.set(names[index]!, ((sequences.get(names[index]!) ?? 0) + records.length) % SEQUENCES)
    return offsets
  }

  return { send, close: () => cluster.close() }
}

/** Transactional id, acks, timeout, topics: name, partitions: number, record set. */
function bodyOf(encoded: readonly { topic: string; partition: number; bytes: Buffer }[]): RequestBody {
  const topics = Map.groupBy(encoded, one => one.topic)
  const parts = [int16(NO_TRANSACTION), int16(ACKS_ALL), int32(REPLICATION_TIMEOUT_MS), int32(topics.size)]
  for (const [topic, list] of topics) {
    const name = Buffer.from(topic)
    parts.push(int16(name.length), name, int32(list.length))
    for (const { partition, bytes } of list) parts.push(int32(partition), int32(bytes.length), bytes)
  }
  return requestBody(parts)
}

function int16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(value)
  return bytes
}

type Verdict = { kind: 'written'; offset: number } | { kind: 'again'; reason: string } | { kind: 'refused'; error: AppError }

function verdictOf(answer: ProduceAnswer, { topic, partition }: ProduceBatch): Verdict {
  const part = answer.topics.find(one => one.topicName === topic)?.partitions.find(one => one.partition === partition)
  if (part === undefined) return { kind: 'again', reason: 'the answer does not name the partition' }
  const { errorCode } = part
  // A repeated batch is acknowledged with its first offset; a broker that forgot where it lies says -1.
  const offset = Number(part.baseOffset)
  if (errorCode === CODE.none && offset >= 0) return { kind: 'written', offset }
  const reason = errorCode === CODE.none ? 'the broker does not say where the records are' : errorName(errorCode)
  if (PASSING.has(errorCode)) return { kind: 'again', reason }
  const isTooLarge = errorCode === CODE.messageTooLarge || errorCode === CODE.recordListTooLarge
  const what = `${topic}/${partition} did not take the records: ${reason}`
  const advice = isTooLarge ? '; raise max.message.bytes of the topic' : ''
  return { kind: 'refused', error: new AppError(isTooLarge ? 'record_too_large' : 'log_unavailable', `${what}${advice}`) }
}

/** Who leads which partition, as far as it was asked. */
function leaderCache(cluster: KafkajsCluster) {
  const leaders = new Map<string, readonly (number | undefined)[]>()
  let missingSinceMs: number | undefined
  return {
    of: ({ topic, partition }: ProduceBatch): number | undefined => leaders.get(topic)?.[partition],
    async refresh(topics: readonly string[]): Promise<void> {
      const wanted = [...new Set(topics)]
      const found = await cluster.metadata(wanted)
      for (const { topic, leaders: list } of found) leaders.set(topic, list)
      const missing = wanted.find(topic => !found.some(one => one.topic === topic))
      if (missing === undefined) missingSinceMs = undefined
      else {
        missingSinceMs ??= systemClock.monotonicMs()
        if (systemClock.monotonicMs() - missingSinceMs > MISSING_MS)
          throw new AppError('unknown_topic', `the cluster has no topic ${missing}: run homeostat topics apply`)
      }
    },
    forget(topics: readonly string[]): void {
      for (const topic of topics) leaders.delete(topic)
    }
  }
}
