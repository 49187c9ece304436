// Appends of the Kafka log: one idempotent producer, one send at a time; what waits meanwhile goes together.
//
//   call ─► queue ─► group ─► one record batch a partition ─► send ─► offsets from each batch's first
//
// A call's records for one partition stay in one batch, so they are written as a whole or not at all. After a rejected send it is not
// known what was written: its calls are rejected (who sends again may write twice, readers are made for that), and the next send
// has a new producer. A crash loses what was not acknowledged.

import { AppError } from '../../../schemas/errors.ts'
import type { Clock, Logger, Meter } from '../../../schemas/ports.ts'
import { type AppendQueue, appendQueue } from '../append-queue.ts'
import type { AppendResult } from '../writer-protocol.ts'
import type { KafkaClient, KafkaProducer, ProduceBatch } from './kafka-client.ts'

const FLUSH_BYTES = 256 * 2 ** 10 // From here on waiting for company saves nothing.
const GROUP_BYTES_MAX = 8 * 2 ** 20 // One send: encoded in tens of milliseconds, far below what a broker takes at once (100 MB).
const BATCH_BYTES_MAX = 900_000 // Below the 1 MiB that a topic takes by default. A larger call goes alone.
const QUEUE_BYTES_MAX = 128 * 2 ** 20 // A few seconds of a busy intake.
const STALL_MS = 3_000 // Below the time that intake gives an append: its senders are told to wait before they give up.
const RECORD_OVERHEAD_BYTES = 32 // Lengths and deltas; generous.

export interface KafkaCall {
  topic: string
  /** Partition and record at the same index belong together. */
  partitions: readonly number[]
  records: ProduceBatch['records']
}

export interface KafkaAppendsOptions {
  client: KafkaClient
  clock: Clock
  logger: Logger
  meter: Meter
  groupCommitMs: number
}

export interface KafkaAppends extends AppendQueue<KafkaCall> {
  /** Rejects what is under way, and closes the producer. */
  close(): Promise<void>
}

export function kafkaAppends({ client, clock, logger, meter, groupCommitMs }: KafkaAppendsOptions): KafkaAppends {
  let producer: KafkaProducer | undefined
  let isClosed = false

  async function send(calls: readonly KafkaCall[]): Promise<AppendResult[]> {
    if (isClosed) throw new AppError('log_unavailable', 'the log is closed')
    const { batches, places } = batchesOf(calls)
    producer ??= await client.openProducer()
    try {
      const bases = await producer.send(batches)
      return places.map(list => ({ ok: true, offsets: list.map(({ batch, index }) => bases[batch]! + index) }))
    } catch (cause) {
      meter.count('homeostat.log.rejected_sends')
      logger.warn({ topics: [...new Set(batches.map(one => one.topic))], error: cause }, 'a send was rejected, the next one has a new producer')
      const spent = producer
      producer = undefined
      await spent?.close().catch(() => {}) // Its connections may be what is broken.
      throw cause
    }
  }

  /** What refuses one call must not refuse those beside it. */
  async function write(calls: readonly KafkaCall[]): Promise<readonly AppendResult[]> {
    try {
      return await send(calls)
    } catch (cause) {
      if (!(cause instanceof AppError) || cause.retriable || calls.length === 1) throw cause
      const results: AppendResult[] = []
      for (const call of calls) results.push(...(await send([call]).catch(refused)))
      return results
    }
  }

  const queue = appendQueue<KafkaCall>({
    write,
    sizeOf: callBytes,
    openGroup: () => groupLimits(),
    clock,
    groupCommitMs,
    limits: { flushBytes: FLUSH_BYTES, groupsInFlightMax: 1, queueBytesMax: QUEUE_BYTES_MAX, stallMs: STALL_MS },
    waitsFor: 'Kafka'
  })
  return {
    ...queue,
    async close() {
      isClosed = true
      await producer?.close()
    }
  }
}

function refused(cause: unknown): AppendResult[] {
  if (!(cause instanceof AppError)) throw cause
  return [{ ok: false, code: cause.code, message: cause.message }]
}

/** A group's bytes in all and for each partition. */
function groupLimits(): (call: KafkaCall) => boolean {
  const partitions = new Map<string, number>()
  let bytes = 0
  return call => {
    let fits = true
    for (const [index, record] of call.records.entries()) {
      const name = `${call.topic}/${call.partitions[index]}`
      const size = recordBytes(record)
      const sum = (partitions.get(name) ?? 0) + size
      partitions.set(name, sum)
      bytes += size
      if (sum > BATCH_BYTES_MAX) fits = false
    }
    return fits && bytes <= GROUP_BYTES_MAX
  }
}

/** One batch a partition, and where each record of each call lies in them. */
function batchesOf(calls: readonly KafkaCall[]) {
  const indexes = new Map<string, number>()
  const batches: { topic: string; partition: number; records: ProduceBatch['records'][number][] }[] = []
  const places = calls.map(({ topic, partitions, records }) =>
    records.map((record, at) => {
      const partition = partitions[at]!
      const name = `${topic}/${partition}`
      let batch = indexes.get(name)
      if (batch === undefined) {
        batch = batches.push({ topic, partition, records: [] }) - 1
        indexes.set(name, batch)
      }
      return { batch, index: batches[batch]!.records.push(record) - 1 }
    })
  )
  return { batches, places }
}

const callBytes = ({ records }: KafkaCall): number => records.reduce((sum, record) => sum + recordBytes(record), 0)

function recordBytes({ key, value, headers }: ProduceBatch['records'][number]): number {
  let bytes = RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0)
  for (const name in headers) bytes += name.length + headers[name]!.length
  return bytes
}
