// Writes Kafka's record batches (message format 2, drawn in record-batch.ts) for an idempotent producer.
//
// One pass for the size, one for the bytes, into one buffer: kafkajs' own writer takes a buffer a record and a slower checksum, which
// made records five times as dear (figures in infra/docs/kafka-clients.md).

import { crc32c } from '@platformatic/kafka'
import type { ProduceBatch } from './kafka-client.ts'

export interface BatchContext {
  producerId: bigint
  producerEpoch: number
  /** Of the first record. */
  sequence: number
  /** Epoch ms; the time of every record. */
  atMs: number
  /** Number of the compression, 0 for none. */
  compression: number
  /** Not called for 0. */
  compress(data: Buffer): Promise<Buffer> | Buffer
}

const HEADER_BYTES = 61
const CHECKED_FROM = 21 // The checksum is of everything from the attributes on.
const LENGTH_FROM = 12
const MAGIC = 2
const NONE = -1

/** The batch as a produce request carries it; offsets count from 0, the broker sets its own. */
export async function encodeRecordBatch(records: ProduceBatch['records'], context: BatchContext): Promise<Buffer> {
  const { compression, producerId, producerEpoch, sequence, atMs } = context
  const sizes = records.map((record, index) => recordSize(record, index))
  const bodySize = sizes.reduce((sum, size) => sum + varintSize(size) + size, 0)
  let batch = Buffer.allocUnsafe(HEADER_BYTES + bodySize)
  const writer = { bytes: batch, at: HEADER_BYTES }
  for (const [index, record] of records.entries()) writeRecord(writer, record, index, sizes[index]!)
  if (compression !== 0) batch = Buffer.concat([Buffer.allocUnsafe(HEADER_BYTES), await context.compress(batch.subarray(HEADER_BYTES))])
  batch.writeBigInt64BE(0n, 0)
  batch.writeInt32BE(batch.length - LENGTH_FROM, 8)
  batch.writeInt32BE(-1, 12) // Leader epoch: the broker's.
  batch.writeInt8(MAGIC, 16)
  batch.writeInt16BE(compression, 21)
  batch.writeInt32BE(records.length - 1, 23)
  batch.writeBigInt64BE(BigInt(atMs), 27)
  batch.writeBigInt64BE(BigInt(atMs), 35)
  batch.writeBigInt64BE(producerId, 43)
  batch.writeInt16BE(producerEpoch, 51)
  batch.writeInt32BE(sequence, 53)
  batch.writeInt32BE(records.length, 57)
  batch.writeUInt32BE(crc32c(batch.subarray(CHECKED_FROM)) >>> 0, 17)
  return batch
}

type Record = ProduceBatch['records'][number]

/** Bytes of the record behind its length. */
function recordSize({ key, value, headers }: Record, index: number): number {
  const names = Object.keys(headers)
  let size = 2 + varintSize(index) + bytesSize(key === null ? NONE : Buffer.byteLength(key)) + bytesSize(value === null ? NONE : value.length)
  size += varintSize(names.length)
  for (const name of names) size += bytesSize(Buffer.byteLength(name)) + bytesSize(Buffer.byteLength(headers[name]!))
  return size
}

interface Writer {
  bytes: Buffer
  at: number
}

function writeRecord(writer: Writer, { key, value, headers }: Record, index: number, size: number): void {
  writeVarint(writer, size)
  writer.bytes[writer.at++] = 0 // Attributes: none is in use.
  writer.bytes[writer.at++] = 0 // Time delta: records that are sent together have one time.
  writeVarint(writer, index)
  writeText(writer, key)
  if (value === null) writeVarint(writer, NONE)
  else {
    writeVarint(writer, value.length)
    writer.bytes.set(value, writer.at)
    writer.at += value.length
  }
  const names = Object.keys(headers)
  writeVarint(writer, names.length)
  for (const name of names) {
    writeText(writer, name)
    writeText(writer, headers[name]!)
  }
}

function writeText(writer: Writer, text: string | null): void {
  const length = text === null ? NONE : Buffer.byteLength(text)
  writeVarint(writer, length)
  if (text === null) return
  writer.bytes.write(text, writer.at, length, 'utf8')
  writer.at += length
}

const bytesSize = (length: number): number => varintSize(length) + Math.max(0, length)

/** Bytes of a zigzag varint of 32 bits. */
function varintSize(value: number): number {
  const zigzag = (value << 1) ^ (value >> 31)
  return zigzag === 0 ? 1 : Math.ceil((32 - Math.clz32(zigzag)) / 7)
}

function writeVarint(writer: Writer, value: number): void {
  let zigzag = (value << 1) ^ (value >> 31)
  while ((zigzag & ~0x7f) !== 0) {
    writer.bytes[writer.at++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  writer.bytes[writer.at++] = zigzag
}
