// The Kafka client on @platformatic/kafka: its idempotent producer, and fetcher, member and admin on its protocol functions.
//
// After a crash: nothing to do, the brokers keep what was acknowledged. infra/docs/kafka-clients.md says when to choose it.

import { Producer } from '@platformatic/kafka'
import { AppError } from '../../../schemas/errors.ts'
import type { KafkaClientOptions } from './client-options.ts'
import type { KafkaClient, KafkaProducer, ProduceBatch } from './kafka-client.ts'
import { platformaticAdmin } from './platformatic-admin.ts'
import { platformaticFetcher } from './platformatic-fetcher.ts'
import { joinPlatformaticGroup } from './platformatic-member.ts'
import { closed, connectionOptions, kafkaError } from './platformatic-wire.ts'

// Within a send the library repeats what it sent with the same sequence numbers, which the broker drops when it has them.
const RETRIES_MAX = Number.MAX_SAFE_INTEGER
const RETRY_MIN_MS = 50
const RETRY_MAX_MS = 1_000 // How late a send may notice that the brokers are back.
const SEND_TIMEOUT_MS = 120_000 // As Kafka's own producer: a topic that is gone would be asked for without end.
// A leader that moved is found again after this at the latest: the library renews metadata by age only, after its first try.
const METADATA_MAX_AGE_MS = 2_000

/** The client. Opens no connection before the first use. */
export function platformaticClient(options: KafkaClientOptions): KafkaClient {
  return {
    openProducer: () => Promise.resolve(platformaticProducer(options)),
    openFetcher: () => Promise.resolve(platformaticFetcher(options)),
    openAdmin: () => Promise.resolve(platformaticAdmin(options)),
    join: group => joinPlatformaticGroup(options, group)
  }
}

function platformaticProducer(options: KafkaClientOptions): KafkaProducer {
  const producer = new Producer({
    clientId: options.clientId,
    bootstrapBrokers: [...options.brokers],
    ...connectionOptions(options),
    idempotent: true, // Implies acks from all replicas in sync, and one request at a time.
    compression: options.compression,
    autocreateTopics: false,
    retries: RETRIES_MAX,
    retryDelay: (_client, _operation, attempt) => Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(attempt - 1, 10)),
    metadataMaxAge: METADATA_MAX_AGE_MS
  })
  return {
    async send(batches) {
      try {
        const { offsets = [] } = await withinTime(producer.send({ messages: batches.flatMap(messagesOf) }))
        const found = new Map(offsets.map(({ topic, partition, offset }) => [`${topic}/${partition}`, Number(offset)]))
        return batches.map(({ topic, partition }) => {
          const offset = found.get(`${topic}/${partition}`) ?? -1
          // A broker that no longer knows where a repeated batch lies says -1.
          if (offset < 0) throw new AppError('log_unavailable', `${topic}/${partition} took the records, but the broker does not say where`)
          return offset
        })
      } catch (error) {
        throw kafkaError(error, `${batches.map(({ topic, partition }) => `${topic}/${partition}`).join(', ')} did not take the records`)
      }
    },
    close: () => closed(producer.close())
  }
}

async function withinTime<R>(sending: Promise<R>): Promise<R> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new AppError('log_unavailable', `no acknowledgement within ${SEND_TIMEOUT_MS / 1_000} s`)), SEND_TIMEOUT_MS)
  })
  try {
    return await Promise.race([sending, late])
  } finally {
    clearTimeout(timer)
  }
}

// The library's types name Buffer for what its writer takes as bytes, null included (a tombstone, a missing key).
interface Message {
  topic: string
  partition: number
  key: Buffer
  value: Buffer
  headers: Map<Buffer, Buffer>
}

function messagesOf({ topic, partition, records }: ProduceBatch): Message[] {
  return records.map(({ key, value, headers }) => ({
    topic,
    partition,
    key: (key === null ? null : Buffer.from(key)) as Buffer,
    value: (value === null ? null : bufferOf(value)) as Buffer,
    headers: new Map(Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)]))
  }))
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
