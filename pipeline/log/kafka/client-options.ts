// What both Kafka client libraries are given, built once from the configuration: addresses, TLS, SASL, compression, names and times.
//
// Secrets and TLS files are read here, at the start: a wrong path or an empty secret stops the process with a sentence, not the first request.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import type { Config } from '../../../schemas/config.ts'
import { AppError } from '../../../schemas/errors.ts'
import type { Logger, Meter } from '../../../schemas/ports.ts'

const INSTANCE_CHARS_MAX = 200 // Kafka refuses names over 249; roles may be many.
const CLIENT_ID = 'homeostat' // Quotas and the brokers' request logs name us by it.
const REBALANCE_TIMEOUT_MS = 30_000 // How long a member may finish and commit what it has in hand before it is thrown out.
const HEARTBEATS_PER_SESSION = 4 // Three may be lost.

export type KafkaCompression = Config['kafka']['compression']

export interface KafkaClientOptions {
  /** `host:port`, at least one. */
  brokers: readonly string[]
  clientId: string
  compression: KafkaCompression
  /** PEM texts. Present (also empty) = TLS. */
  tls?: { ca?: string; cert?: string; key?: string }
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
  /** Names this process to its groups over restarts. */
  instance: string
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  heartbeatMs: number
  logger: Logger
  meter: Meter
}

export interface KafkaClientParts {
  /** Resolves a secret's reference (`env:NAME`, `file:PATH`). */
  secret(reference: string): string
  /** What the process is, for its instance name: `detect`, `store+console`. */
  role: string
  logger: Logger
  meter: Meter
}

/**
 * The options of either client.
 * @throws AppError `config_invalid` when no broker is named, a TLS file cannot be read, or a secret is missing
 */
export function kafkaClientOptions(config: Pick<Config, 'kafka' | 'dataDir'>, parts: KafkaClientParts): KafkaClientOptions {
  const { kafka } = config
  if (kafka.brokers.length === 0) throw new AppError('config_invalid', 'kafka.brokers is empty: name at least one broker as host:port')
  const { tls, sasl } = kafka
  return {
    brokers: kafka.brokers,
    clientId: CLIENT_ID,
    compression: kafka.compression,
    ...(tls !== undefined && {
      tls: {
        ...(tls.caFile !== undefined && { ca: readPem('caFile', tls.caFile) }),
        ...(tls.certFile !== undefined && { cert: readPem('certFile', tls.certFile) }),
        ...(tls.keyFile !== undefined && { key: readPem('keyFile', tls.keyFile) })
      }
    }),
    ...(sasl !== undefined && { sasl: { mechanism: sasl.mechanism, username: sasl.username, password: parts.secret(sasl.password) } }),
    instance: kafka.instance ?? defaultInstance(parts.role, config.dataDir),
    sessionTimeoutMs: kafka.sessionTimeout,
    rebalanceTimeoutMs: Math.max(REBALANCE_TIMEOUT_MS, kafka.sessionTimeout),
    heartbeatMs: Math.ceil(kafka.sessionTimeout / HEARTBEATS_PER_SESSION),
    logger: parts.logger,
    meter: parts.meter
  }
}

/** The same over restarts, another for a second process of the same role on this host: that one has another data directory. */
function defaultInstance(role: string, dataDir: string): string {
  const folder = createHash('sha256').update(resolve(dataDir)).digest('hex').slice(0, 8)
  return `${hostname()}-${role}-${folder}`.replace(/[^A-Za-z0-9._-]/g, '-').slice(-INSTANCE_CHARS_MAX)
}

function readPem(key: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AppError('config_invalid', `kafka.tls.${key}: ${file} cannot be read (${(cause as Error).message})`, { cause })
  }
}
