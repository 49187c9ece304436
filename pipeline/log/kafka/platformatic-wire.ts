// Connections to the brokers and single requests over @platformatic/kafka's own protocol functions, for fetcher, member and admin.
//
// Its Consumer class hides what the Kafka log must decide itself (when to rejoin, what a lost generation is, which error ends what), so
// those three speak the protocol; the idempotent producer is the library's. Versions are fixed: brokers 3.2 to 4.x serve all of them.

import { isIP } from 'node:net'
import { type API, type Broker, type Connection, ConnectionPool, metadataV12, parseBroker } from '@platformatic/kafka'
import { AppError } from '../../../schemas/errors.ts'
import type { KafkaClientOptions } from './client-options.ts'

const CONNECT_TIMEOUT_MS = 5_000
const CLOSE_TIMEOUT_MS = 2_000 // A stopped broker never takes the bytes that a connection would flush first.
const IN_FLIGHT_MAX = 5

export interface Wire {
  /** One request to the broker with this id, as the newest metadata has it, or to any. @throws what the library throws */
  ask<A extends unknown[], R>(broker: number | 'any' | Broker, api: API<A, R>, ...args: A): Promise<R>
  /** Fresh metadata; errors of single topics are in the answer. `null` = all topics. */
  metadata(topics: readonly string[] | null): Promise<metadataV12.MetadataResponse>
  close(): Promise<void>
}

/** Opens no connection yet. A request without an answer within `requestTimeoutMs` fails, and its connection with it. */
export function openWire(options: KafkaClientOptions, requestTimeoutMs: number): Wire {
  const pool = new ConnectionPool(options.clientId, { ...connectionOptions(options), requestTimeout: requestTimeoutMs, maxInflights: IN_FLIGHT_MAX })
  const bootstrap = options.brokers.map(address => parseBroker(address))
  const brokers = new Map<number, Broker>()
  let turn = 0

  async function anyConnection(): Promise<Connection> {
    const candidates = [...brokers.values(), ...bootstrap]
    let failure: unknown
    for (let tried = 0; tried < candidates.length; tried++) {
      try {
        return await pool.get(candidates[turn % candidates.length]!)
      } catch (error) {
        failure = error
        turn++
      }
    }
    throw failure
  }

  async function ask<A extends unknown[], R>(to: number | 'any' | Broker, api: API<A, R>, ...args: A): Promise<R> {
    if (to === 'any') {
      const connection = await anyConnection()
      return api.async(connection, ...args).catch(error => {
        turn++ // The next request asks another.
        throw error
      })
    }
    const broker = typeof to === 'number' ? brokers.get(to) : to
    if (broker === undefined) throw new AppError('log_unavailable', `broker ${to} is not in the cluster's metadata now`)
    return api.async(await pool.get(broker), ...args)
  }

  return {
    ask,
    async metadata(topics) {
      const answer = await despiteItems(ask('any', metadataV12.api, topics === null ? null : [...topics], false, false))
      brokers.clear()
      for (const { nodeId, host, port } of answer.brokers) brokers.set(nodeId, { host, port })
      return answer
    },
    close: () => closed(pool.close())
  }
}

/** What connections of this library are given, whoever makes them. */
export function connectionOptions({ tls, sasl, brokers }: KafkaClientOptions) {
  return {
    connectTimeout: CONNECT_TIMEOUT_MS,
    // SNI carries names only.
    ...(tls !== undefined && { tls, tlsServerName: !brokers.some(address => isIP(parseBroker(address).host) !== 0) }),
    ...(sasl !== undefined && {
      sasl: {
        mechanism: sasl.mechanism.toUpperCase() as 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512',
        username: sasl.username,
        password: sasl.password
      }
    })
  }
}

/** Waits for a close, but not for ever. */
export async function closed(closing: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>(resolve => {
    timer = setTimeout(resolve, CLOSE_TIMEOUT_MS)
  })
  await Promise.race([closing.catch(() => {}), late])
  clearTimeout(timer)
}

/** The answer also when single topics or partitions of it carry an error: the library throws it then, with the answer inside. */
export async function despiteItems<R>(asked: Promise<R>): Promise<R> {
  try {
    return await asked
  } catch (error) {
    const { response } = error as { response?: R }
    if (response === undefined) throw error
    return response
  }
}

interface LibraryError {
  apiId?: string
  errors?: readonly unknown[]
  cause?: unknown
  message?: string
  serverErrorMessage?: string | null
}

/** Kafka's names of the errors somewhere inside: UNKNOWN_MEMBER_ID, … Empty for trouble with the connection. */
export function errorIds(error: unknown): ReadonlySet<string> {
  return new Set(leaves(error).flatMap(one => one.apiId ?? []))
}

const WRONG_CONFIG = ['INVALID_REPLICATION_FACTOR', 'INVALID_PARTITIONS', 'INVALID_CONFIG', 'INVALID_TOPIC_EXCEPTION', 'POLICY_VIOLATION']

/** As an AppError: `record_too_large`, `config_invalid` for what no repetition cures, else `log_unavailable`. */
export function kafkaError(cause: unknown, doing: string): AppError {
  if (cause instanceof AppError) return cause
  const ids = errorIds(cause)
  const words = [...new Set(leaves(cause).map(one => [one.apiId, one.serverErrorMessage || one.message].filter(Boolean).join(': ')))].join('; ')
  if (ids.has('MESSAGE_TOO_LARGE') || ids.has('RECORD_LIST_TOO_LARGE')) {
    return new AppError('record_too_large', `${doing}: ${words}; raise max.message.bytes of the topic and message.max.bytes of the brokers`, { cause })
  }
  return new AppError(WRONG_CONFIG.some(id => ids.has(id)) ? 'config_invalid' : 'log_unavailable', `${doing}: ${words}`, { cause })
}

/** The same, with a failure as an AppError that says what was being done. */
export async function told<R>(doing: string, asked: Promise<R>): Promise<R> {
  try {
    return await asked
  } catch (error) {
    throw kafkaError(error, doing)
  }
}

/** The errors that hide behind "operation failed 3 times". */
function leaves(error: unknown): LibraryError[] {
  const found: LibraryError[] = []
  const visit = (one: unknown): void => {
    if (one === null || typeof one !== 'object') return
    const { errors, cause } = one as LibraryError
    if (errors !== undefined && errors.length > 0) for (const inner of errors.slice(-LEAVES_MAX)) visit(inner)
    else if (cause !== undefined) visit(cause)
    else if (found.length < LEAVES_MAX) found.push(one as LibraryError)
  }
  visit(error)
  return found.length > 0 ? found : [{ message: String(error) }]
}
const LEAVES_MAX = 100 // A minute of repetitions; the last ones count.
