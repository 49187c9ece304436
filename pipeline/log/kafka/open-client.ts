// The Kafka client that the configuration names. Only the chosen library is loaded.

import type { Config } from '../../../schemas/config.ts'
import { type KafkaClientParts, kafkaClientOptions } from './client-options.ts'
import type { KafkaClient } from './kafka-client.ts'

/**
 * Opens no connection before the first use.
 * @throws AppError `config_invalid` when no broker is named, a TLS file cannot be read, or a secret is missing
 */
export async function openKafkaClient(config: Pick<Config, 'kafka' | 'dataDir'>, parts: KafkaClientParts): Promise<KafkaClient> {
  const options = kafkaClientOptions(config, parts)
  if (config.kafka.client === 'platformatic') return (await import('./platformatic-client.ts')).platformaticClient(options)
  return (await import('./kafkajs-client.ts')).kafkajsClient(options)
}
