// A Kafka log for tests: our topics under a prefix of their own on the shared broker, and any number of logs on them.

import { randomUUID } from 'node:crypto'
import type { KafkaClientOptions } from '../../pipeline/log/kafka/client-options.ts'
import type { KafkaAdmin, KafkaClient, TopicSettings } from '../../pipeline/log/kafka/kafka-client.ts'
import { KafkaLog, type KafkaLogOptions } from '../../pipeline/log/kafka/kafka-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { deadLetterTopic, topicSpec } from '../../schemas/topics.ts'
import { kafkaOptions } from './kafka-tools.ts'

import { prefixedKafka } from './prefixed-kafka.ts'

export type ClientName = 'kafkajs' | 'platformatic'

const RECORD_BYTES_MAX = 70_000_000 // As our topics have it.

/** The library's client; only the asked one is loaded. */
export async function kafkaClientBy(name: ClientName, options: KafkaClientOptions): Promise<KafkaClient> {
  if (name === 'kafkajs') return (await import('../../pipeline/log/kafka/kafkajs-client.ts')).kafkajsClient(options)
  return (await import('../../pipeline/log/kafka/platformatic-client.ts')).platformaticClient(options)
}

export interface KafkaWorld {
  prefix: string
  admin: KafkaAdmin
  /** A log as another process has it, on another library if named. The same `instance` stands for the same process over restarts. */
  open(more?: Partial<KafkaLogOptions>, by?: ClientName): Promise<KafkaLog>
  /** Closes every log. */
  close(): Promise<void>
}

/** Makes the topics, each with its dead letters. */
export async function kafkaWorld(
  library: ClientName,
  brokers: readonly string[],
  topics: readonly { name: string; configs?: Readonly<Record<string, string>> }[],
  options: Partial<KafkaClientOptions> = {}
): Promise<KafkaWorld> {
  const prefix = `t${randomUUID().slice(0, 8)}.`
  const given = kafkaOptions(brokers, options)
  const clientOf = async (by: ClientName): Promise<KafkaClient> => prefixedKafka(await kafkaClientBy(by, given), prefix)
  const admin = await (await clientOf(library)).openAdmin()
  const opened: KafkaLog[] = []
  const names = topics.flatMap(({ name }) => [name, deadLetterTopic(name)])
  await admin.create(topics.flatMap(({ name, configs = {} }) => [settings(name, configs), settings(deadLetterTopic(name), {})]))
  return {
    prefix,
    admin,
    async open(more = {}, by = library) {
      const { sessionTimeoutMs, rebalanceTimeoutMs, heartbeatMs } = given
      const log = await KafkaLog.open({
        client: await clientOf(by),
        topics: names,
        instance: `instance-${opened.length}`,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        heartbeatMs,
        groupCommitMs: 1,
        clock: systemClock,
        logger: given.logger,
        meter: given.meter,
        ...more
      })
      opened.push(log)
      return log
    },
    async close() {
      await Promise.all(opened.map(log => log.close()))
      await admin.close()
    }
  }
}

function settings(name: string, configs: Readonly<Record<string, string>>): TopicSettings {
  const spec = topicSpec(name)!
  return {
    name,
    partitions: spec.partitions,
    replication: 1,
    configs: { 'cleanup.policy': spec.cleanup, 'max.message.bytes': String(RECORD_BYTES_MAX), ...configs }
  }
}
