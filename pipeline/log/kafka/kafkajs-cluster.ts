// Connections to the brokers of one cluster for one purpose (producing, fetching, one group, administration): a long poll
// holds up nobody else. One request at a time to one broker; whoever calls decides what is tried again.
//
//   seeds (configuration) -> metadata -> brokers by id -> connection, made when needed, dropped after any trouble
//
// A request that is not answered in time costs its connection: a half-dead one would swallow the next requests too.
//
// Longer than 300 lines because what it keeps (known brokers, seeds) belongs to every one of its functions.

import { AppError } from '../../../schemas/errors.ts'
import type { Logger } from '../../../schemas/ports.ts'
import { systemClock } from '../../system.ts'
import type { KafkaClientOptions } from './client-options.ts'
import {
  type ApiName,
  apiKeys,
  type Broker,
  BrokerClass,
  CODE,
  connectionPoolBuilder,
  createLogger,
  errorName,
  type LogEntry,
  type ProtocolRequest,
  requests
} from './kafkajs-internals.ts'
import type { RequestBody } from './kafkajs-repairs.ts'
import { answerSockets } from './kafkajs-socket.ts'

const CONNECT_TIMEOUT_MS = 5_000 // Also for the first request: a broker in another region on a bad day.
const REQUEST_TIMEOUT_MS = 30_000 // kafkajs' default. A broker that pauses for less than this costs nothing.
const BACKOFF_MS = 100
const BACKOFF_MS_MAX = 1_000 // What is away is asked once a second.

export interface TopicMetadata {
  topic: string
  /** Leader by partition; undefined while there is none. */
  leaders: readonly (number | undefined)[]
  /** Copies of each partition. */
  replication: number
}

export interface KafkajsCluster {
  /**
   * The decoded answer, whatever error codes it carries.
   * @param broker undefined: any that can be reached
   * @param options.version a version that the request must have
   * @throws Error of kafkajs when there is no answer
   */
  request<Answer>(broker: number | undefined, api: ApiName, args: object, options?: RequestOptions): Promise<Answer>
  /** Fresh; topics that do not exist are left out. */
  metadata(topics: readonly string[]): Promise<readonly TopicMetadata[]>
  brokers(): Promise<readonly { id: number; address: string }[]>
  /** Broker that takes changes of topics. */
  controller(): Promise<number>
  coordinator(group: string): Promise<number>
  /**
   * Repeats `work` until it succeeds, throws an AppError of its own, `forMs` are over (log_unavailable) or the cluster is closed.
   * @param forMs default: without end
   */
  persist<T>(what: string, work: () => Promise<T>, forMs?: number): Promise<T>
  /** What is in flight is rejected. Safe to call twice. */
  close(): Promise<void>
  readonly closed: AbortSignal
}

export interface RequestOptions {
  version?: number
  timeoutMs?: number
  /** Writes the request's body instead of kafkajs' own encoder. */
  encode?(): Promise<RequestBody>
  /** Reads the answer's bytes instead of kafkajs' own decoder. */
  decode?(data: Buffer): Promise<unknown>
}

interface MetadataAnswer {
  brokers: readonly { nodeId: number; host: string; port: number }[]
  topicMetadata: readonly {
    topicErrorCode: number
    topic: string
    partitionMetadata: readonly { partitionId: number; leader: number; replicas: readonly number[] }[]
  }[]
  controllerId: number
}

export interface ClusterOptions {
  /** Whose metadata is asked for with the first request that needs any. */
  topics?: readonly string[]
  /** A request that is not answered within this costs its connection. Default 30 s; longer where Kafka makes a request wait. */
  requestTimeoutMs?: number
}

/** Connects nothing yet. */
export function openCluster(settings: KafkaClientOptions, options: ClusterOptions = {}): KafkajsCluster {
  const { logger } = settings
  const { topics = [], requestTimeoutMs = REQUEST_TIMEOUT_MS } = options
  const ending = new AbortController()
  const kafkajsLogger = createLogger({ level: 4, logCreator: () => (entry: LogEntry) => tell(logger, entry) })
  const pools = connectionPoolBuilder({ ...connectionOptions(settings), logger: kafkajsLogger })
  const known = new Map<number, { address: string; broker: Broker | undefined }>()
  const seeds = new Map<string, Broker>()
  const asked = new Set<string>(topics) // kafkajs turns an empty list of topics into all topics of the cluster.

  async function makeBroker(address: string, nodeId?: number): Promise<Broker> {
    const [host, port] = splitAddress(address)
    return new BrokerClass({ connectionPool: await pools.build({ host, port }), logger: kafkajsLogger, nodeId, allowAutoTopicCreation: false })
  }

  async function connected(broker: Broker): Promise<Broker> {
    if (ending.signal.aborted) throw new AppError('log_unavailable', 'the connection to Kafka is closed')
    if (broker.isConnected() && broker.versions !== null) return broker
    try {
      await broker.connect()
      return broker
    } catch (error) {
      drop(broker, error)
      throw error
    }
  }

  async function reach(id: number | undefined): Promise<Broker> {
    if (id === undefined) return reachAny()
    if (!known.has(id)) await refresh([])
    return connected(await brokerOf(id))
  }

  async function reachAny(): Promise<Broker> {
    const ids = [...known.keys()]
    const isConnected = (id: number): boolean => known.get(id)!.broker?.isConnected() === true
    let trouble: unknown = new Error('no broker is known')
    for (const id of [...ids.filter(isConnected), ...ids.filter(one => !isConnected(one))]) {
      try {
        return await connected(await brokerOf(id))
      } catch (error) {
        trouble = error
      }
    }
    for (const address of settings.brokers) {
      try {
        return await connected(await seedOf(address))
      } catch (error) {
        trouble = error
      }
    }
    throw trouble
  }

  async function brokerOf(id: number): Promise<Broker> {
    const entry = known.get(id)
    if (entry === undefined) throw new Error(`broker ${id} is not in the cluster now`)
    const made = entry.broker ?? (await makeBroker(entry.address, id))
    entry.broker ??= made
    return entry.broker
  }

  async function seedOf(address: string): Promise<Broker> {
    const made = seeds.get(address) ?? (await makeBroker(address))
    if (!seeds.has(address)) seeds.set(address, made)
    return seeds.get(address)!
  }

  /**
   * Rejects what waits for the broker and cuts its connections. The next request has new ones: kafkajs' timers of an attempt that
   * failed go on and would cut a connection that was made since.
   */
  function drop(broker: Broker, cause: unknown): void {
    for (const entry of known.values()) if (entry.broker === broker) entry.broker = undefined
    for (const [address, seed] of seeds) if (seed === broker) seeds.delete(address)
    const error = cause instanceof Error ? cause : new Error(String(cause))
    for (const connection of broker.connectionPool.pool) {
      connection.rejectRequests(error)
      connection.socket?.destroy(error) // With the error: an attempt under way ends at once.
    }
  }

  async function request<Answer>(
    id: number | undefined,
    api: ApiName,
    args: object,
    { version, timeoutMs, encode, decode }: RequestOptions = {}
  ): Promise<Answer> {
    const broker = await reach(id)
    const { requestTimeout, ...protocol } = protocolOf(broker, api, version)(args)
    const whole = encode === undefined ? protocol.request : { ...protocol.request, encode }
    const response = { decode: decode ?? protocol.response.decode, parse: async (data: unknown) => data }
    try {
      return (await broker.connectionPool.send({
        ...protocol,
        request: whole,
        response,
        requestTimeout: timeoutMs ?? requestTimeout ?? requestTimeoutMs
      })) as Answer
    } catch (error) {
      drop(broker, error)
      throw error
    }
  }

  async function refresh(wanted: readonly string[]): Promise<MetadataAnswer> {
    const answer = await request<MetadataAnswer>(undefined, 'Metadata', { topics: [...new Set([...asked, ...wanted])], allowAutoTopicCreation: false })
    for (const { nodeId, host, port } of answer.brokers) {
      const address = `${host}:${port}`
      const old = known.get(nodeId)
      if (old?.address === address) continue
      known.set(nodeId, { address, broker: undefined })
      if (old?.broker !== undefined) drop(old.broker, new Error('the broker moved'))
    }
    const ids = new Set(answer.brokers.map(one => one.nodeId))
    for (const [id, { broker }] of known) {
      if (ids.has(id)) continue
      known.delete(id)
      if (broker !== undefined) drop(broker, new Error('the broker left the cluster'))
    }
    // Seeds have served: from here on brokers are known by their own addresses.
    for (const seed of [...seeds.values()]) drop(seed, new Error('no longer needed'))
    return answer
  }

  async function persist<T>(what: string, work: () => Promise<T>, forMs = Number.POSITIVE_INFINITY): Promise<T> {
    const endMs = systemClock.monotonicMs() + forMs
    for (let attempt = 1, backoffMs = BACKOFF_MS; ; attempt++, backoffMs = Math.min(backoffMs * 2, BACKOFF_MS_MAX)) {
      try {
        return await work()
      } catch (cause) {
        if (cause instanceof AppError) throw cause
        if (ending.signal.aborted) throw new AppError('log_unavailable', `${what}: the connection to Kafka is closed`, { cause })
        if (systemClock.monotonicMs() + backoffMs > endMs) throw new AppError('log_unavailable', `${what}: ${reasonOf(cause)}`, { cause })
        if (attempt === 2)
          logger[forMs === Number.POSITIVE_INFINITY ? 'warn' : 'debug']({ what, reason: reasonOf(cause) }, 'Kafka does not answer, trying again')
        await systemClock.sleep(backoffMs, ending.signal)
      }
    }
  }

  return {
    request,
    persist,
    closed: ending.signal,
    async metadata(wanted) {
      const { topicMetadata } = await refresh(wanted)
      const found = topicMetadata.filter(one => wanted.includes(one.topic) && one.partitionMetadata.length > 0)
      for (const { topic } of found) asked.add(topic)
      return found.map(leadersOf)
    },
    async brokers() {
      return (await refresh([])).brokers.map(({ nodeId, host, port }) => ({ id: nodeId, address: `${host}:${port}` }))
    },
    async controller() {
      return (await refresh([])).controllerId
    },
    async coordinator(group) {
      const answer = await request<{ errorCode: number; coordinator: { nodeId: number } }>(undefined, 'GroupCoordinator', { groupId: group })
      if (answer.errorCode !== CODE.none) throw new Error(`coordinator of group ${group}: ${errorName(answer.errorCode)}`)
      return answer.coordinator.nodeId
    },
    async close() {
      ending.abort()
      for (const broker of [...[...known.values()].map(one => one.broker), ...seeds.values()]) {
        if (broker !== undefined) drop(broker, new Error('the connection to Kafka is closed'))
      }
    }
  }
}

function protocolOf(broker: Broker, api: ApiName, version: number | undefined): (args: object) => ProtocolRequest {
  const range = broker.versions?.[apiKeys[api]]
  const ours = requests[api].versions.map(Number)
  const best = version ?? Math.max(...ours.filter(one => range !== undefined && one <= range.maxVersion))
  if (range === undefined || !ours.includes(best) || best < range.minVersion || best > range.maxVersion) {
    throw new AppError('log_unavailable', `the broker does not speak ${api} as kafkajs does: Kafka 2.3 or newer is needed`, { details: { range } })
  }
  return requests[api].protocol({ version: best })
}

function connectionOptions({ brokers, clientId, tls, sasl }: KafkaClientOptions): object {
  return {
    socketFactory: answerSockets(),
    brokers,
    clientId,
    ssl: tls ?? null,
    sasl: sasl ?? null,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    enforceRequestTimeout: true,
    maxInFlightRequests: null
  }
}

function leadersOf({ topic, partitionMetadata }: MetadataAnswer['topicMetadata'][number]): TopicMetadata {
  const leaders: (number | undefined)[] = []
  for (const { partitionId, leader } of partitionMetadata) leaders[partitionId] = leader < 0 ? undefined : leader
  return { topic, leaders, replication: partitionMetadata[0]?.replicas.length ?? 0 }
}

function splitAddress(address: string): [string, number] {
  const cut = address.lastIndexOf(':')
  return [address.slice(0, cut).replace(/^\[|\]$/g, ''), Number(address.slice(cut + 1))]
}

/** Every line is for debugging: what it reports is repeated, and told by who repeats it. */
function tell(logger: Logger, { namespace, label, log: { message, timestamp: _time, logger: _name, stack: _stack, ...fields } }: LogEntry): void {
  logger.debug({ ...fields, namespace, label }, `kafkajs: ${message}`)
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
