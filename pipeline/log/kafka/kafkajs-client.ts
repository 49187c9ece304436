// The Kafka client on kafkajs 2.2.4: its connections and protocol, with our own producer, fetcher and group member on them.
//
// kafkajs' ready-made producer and consumer are not used: they lose acknowledged records when sends overlap or retries end, and a
// consumer may stop for ever (infra/docs/kafka-clients.md has the figures). The rules that avoid it are built in here: one send at a
// time, every record with its partition, retries without end, a new producer after a rejected send, members that rejoin whatever
// happens. After a crash: nothing to do, the brokers keep what was acknowledged.

import type { KafkaClientOptions } from './client-options.ts'
import type { KafkaClient } from './kafka-client.ts'
import { kafkajsAdmin } from './kafkajs-admin.ts'
import { kafkajsFetcher } from './kafkajs-fetcher.ts'
import { joinKafkajsGroup } from './kafkajs-member.ts'
import { kafkajsProducer } from './kafkajs-producer.ts'

/** The client. Opens no connection before the first use. */
export function kafkajsClient(options: KafkaClientOptions): KafkaClient {
  return {
    openProducer: async () => kafkajsProducer(options),
    openFetcher: async () => kafkajsFetcher(options),
    openAdmin: async () => kafkajsAdmin(options),
    join: async group => joinKafkajsGroup(options, group)
  }
}
