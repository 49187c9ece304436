// The parts of kafkajs below its public interface that the Kafka log stands on, typed as far as they are used.
//
// kafkajs has no reading by position without a group, tells nobody the generation of a group, and its producer and consumer
// lose records or stop for ever on some errors. What is sound in it is the protocol: connections with TLS and SASL, version
// negotiation, requests and responses. Version 2.2.4 is pinned and frozen (its source is of February 2023), so its inner files
// are as stable as its interface; another version must pass test/contract/kafka-log.test.ts first.

import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { gunzip, gzip, zstdCompress, zstdDecompress } from 'node:zlib'
import { compressionsAlgorithms } from '@platformatic/kafka'
import type { RequestBody } from './kafkajs-repairs.ts'
import './kafkajs-repairs.ts' // Before anything of kafkajs is loaded.

const require = createRequire(import.meta.url)

/** A request with its way to read the answer; `decode` reads the bytes, `parse` throws the answer's error. */
export interface ProtocolRequest {
  request: { apiKey: number; apiName: string; apiVersion: number; encode(): Promise<RequestBody> }
  response: { decode(data: Buffer): Promise<unknown>; parse(data: unknown): Promise<unknown> }
  requestTimeout?: number
  logResponseError?: boolean
}
interface RequestFamily {
  versions: readonly string[]
  protocol(version: { version: number }): (args: object) => ProtocolRequest
}
export type ApiName =
  | 'Produce'
  | 'Fetch'
  | 'ListOffsets'
  | 'Metadata'
  | 'OffsetCommit'
  | 'OffsetFetch'
  | 'GroupCoordinator'
  | 'JoinGroup'
  | 'Heartbeat'
  | 'LeaveGroup'
  | 'SyncGroup'
  | 'InitProducerId'
  | 'CreateTopics'
  | 'CreatePartitions'
  | 'DescribeConfigs'
  | 'AlterConfigs'
  | 'ListGroups'

export interface Connection {
  rejectRequests(error: Error): void
  socket?: { destroy(error: Error): void }
}
export interface ConnectionPool {
  pool: readonly Connection[]
  send(request: ProtocolRequest): Promise<unknown>
}
export interface Broker {
  connectionPool: ConnectionPool
  versions: Readonly<Record<number, { minVersion: number; maxVersion: number }>> | null
  isConnected(): boolean
  connect(): Promise<void>
}
export interface Decoder {
  readInt16(): number
  readInt32(): number
  readInt64(): bigint
  readString(): string | null
  readArray<T>(read: (decoder: Decoder) => T): T[]
  /** A view of the given length; without one it is read first, -1 giving null. */
  readBytes(byteLength?: number): Buffer | null
}
export interface KafkajsLogger {
  namespace(name: string): KafkajsLogger
}
export interface LogEntry {
  namespace: string
  label: string
  log: Record<string, unknown> & { message: string }
}

export const { requests } = require('kafkajs/src/protocol/requests') as { requests: Readonly<Record<ApiName, RequestFamily>> }
export const apiKeys = require('kafkajs/src/protocol/requests/apiKeys') as Readonly<Record<ApiName, number>>
export const DecoderClass = require('kafkajs/src/protocol/decoder') as new (buffer: Buffer) => Decoder
export const BrokerClass = require('kafkajs/src/broker') as new (options: object) => Broker
export const connectionPoolBuilder = require('kafkajs/src/cluster/connectionPoolBuilder') as (options: object) => {
  build(address: { host: string; port: number }): Promise<ConnectionPool>
}
export const createLogger = (require('kafkajs/src/loggers') as { createLogger(options: object): KafkajsLogger }).createLogger
export const { MemberMetadata, MemberAssignment } = require('kafkajs/src/consumer/assignerProtocol') as {
  MemberMetadata: { encode(data: object): Buffer; decode(data: Buffer): { topics: string[]; userData: Buffer | null } }
  MemberAssignment: { encode(data: object): Buffer; decode(data: Buffer): { assignment: Record<string, number[]>; userData: Buffer | null } | null }
}

/** Text of a protocol error code. */
export function errorName(code: number): string {
  const known = errorCodes.find(one => one.code === code)
  return known === undefined ? `error ${code}` : `${known.type}: ${known.message}`
}
const { errorCodes } = require('kafkajs/src/protocol/error') as { errorCodes: readonly { code: number; type: string; message: string }[] }

/** Kafka's protocol error codes that mean something to us. */
export const CODE = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopic: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  replicaNotAvailable: 9,
  messageTooLarge: 10,
  networkException: 13,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  invalidTopic: 17,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  illegalGeneration: 22,
  unknownMember: 25,
  rebalanceInProgress: 27,
  topicExists: 36,
  invalidPartitions: 37,
  invalidReplication: 38,
  invalidConfig: 40,
  policyViolation: 44,
  storageError: 56,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  offsetNotAvailable: 78,
  memberIdRequired: 79,
  fencedInstance: 82
} as const

// ── Compression ──────────────────────────────────────────────────────────────────────────────────────────────

const { compressSync: lz4Compress, decompressSync: lz4Decompress } = compressionsAlgorithms.lz4
const { compressSync: snappyCompress, decompressSync: snappyDecompress } = compressionsAlgorithms.snappy
const DECOMPRESSED_BYTES_MAX = 512 * 2 ** 20 // A batch of the largest size that a broker takes, at the ratio of the best telemetry measured (13).
const [gzipAsync, gunzipAsync] = [promisify(gzip), promisify(gunzip)]
const [zstdCompressAsync, zstdDecompressAsync] = [promisify(zstdCompress), promisify(zstdDecompress)]

export const COMPRESSION_IDS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
export const COMPRESS: Readonly<Record<number, (data: Buffer) => Promise<Buffer> | Buffer>> = {
  1: data => gzipAsync(data),
  2: data => snappyCompress(data),
  3: data => lz4Compress(data),
  4: data => zstdCompressAsync(data)
}
/** By the number in a record batch's attributes. gzip and zstd run on libuv's threads, the others are faster than the way there. */
export const DECOMPRESS: Readonly<Record<number, (data: Buffer) => Promise<Buffer> | Buffer>> = {
  1: data => gunzipAsync(data, { maxOutputLength: DECOMPRESSED_BYTES_MAX }),
  2: data => snappyDecompress(data),
  3: data => lz4Decompress(data),
  4: data => zstdDecompressAsync(data, { maxOutputLength: DECOMPRESSED_BYTES_MAX })
}
