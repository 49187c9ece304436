// The log that the configuration asks for: files on this machine, or a Kafka cluster. Every thread opens its own; threads and processes
// share the files, or the cluster. Only the one of the two is loaded.

import { join } from 'node:path'
import { type Config, environmentsOf } from '../../schemas/config.ts'
import type { Clock, Log, Logger, Meter } from '../../schemas/ports.ts'
import { commandsTopic, TOPICS } from '../../schemas/topics.ts'
import { resolveSecret } from '../config/load.ts'

export interface LogPorts {
  clock: Clock
  logger: Logger
  meter: Meter
  /** What this process is, for the name by which consumer groups know it: `detect`. Default: `process`. */
  role?: string
}

/** @throws AppError `config_invalid` | `log_unavailable` */
export async function openLog(config: Config, { role = 'process', ...ports }: LogPorts): Promise<Log> {
  if (config.log.kind === 'embedded') {
    const { EmbeddedLog } = await import('../log/embedded-log.ts')
    return EmbeddedLog.open({ ...ports, dir: join(config.dataDir, 'log'), bytesMax: config.log.bytesMax, groupCommitMs: config.log.groupCommit })
  }
  const [{ kafkaClientOptions }, { KafkaLog }, { openKafkaClient }] = await Promise.all([
    import('../log/kafka/client-options.ts'),
    import('../log/kafka/kafka-log.ts'),
    import('../log/kafka/open-client.ts')
  ])
  const parts = { ...ports, role, secret: (reference: string) => resolveSecret(reference, process.env) }
  const { instance, sessionTimeoutMs, rebalanceTimeoutMs, heartbeatMs } = kafkaClientOptions(config, parts)
  const topics = Object.values(TOPICS).flatMap(({ name }) => (name === TOPICS.commands.name ? environmentsOf(config).map(commandsTopic) : [name]))
  return KafkaLog.open({
    ...ports,
    client: await openKafkaClient(config, parts),
    topics,
    staysOverRestart: config.kafka.instance !== undefined,
    groupCommitMs: config.log.groupCommit,
    ...{ instance, sessionTimeoutMs, rebalanceTimeoutMs, heartbeatMs }
  })
}
