// Reads Kafka's record batches (message format 2) into records of the log.
//
//   batch  = base offset i64, length i32, leader epoch i32, magic i8 = 2, crc i32, attributes i16, last offset delta i32,
//            first time i64, last time i64, producer i64, its epoch i16, its sequence i32, count i32, records (compressed or not)
//   record = length, attributes i8, time delta, offset delta, key, value, headers: all zigzag varints and bytes with their length
//
// A batch tells where it ends even when nothing is left in it (compaction, transaction markers), so a reader always gets on. One
// that cannot be read is left out and told: a hole, as retention leaves them, never a reader that stands still.

import type { LogRecord, TopicPartition } from '../../../schemas/ports.ts'

export interface DecodedRecords {
  /** From the asked offset on. */
  records: LogRecord[]
  /** Offset after the last whole batch. */
  next: number
  /** Batches that could not be read. */
  broken: readonly { offset: number; error: unknown }[]
}

type Decompress = (data: Buffer) => Promise<Buffer> | Buffer

const OVERHEAD_BYTES = 12 // Base offset and length, which the length does not count.
const HEADER_BYTES = 61
const COMPRESSION_MASK = 0x07
const LOG_APPEND_TIME = 0x08
const TRANSACTIONAL = 0x10
const CONTROL_BATCH = 0x20

/** A transaction that was aborted: what its producer wrote from this offset on, up to its marker, never happened. */
export interface Aborted {
  producerId: bigint
  firstOffset: bigint
}

/**
 * Records of a partition's part of a fetch answer; a batch cut short at the end is left for the next one. Values are views of
 * `data`, or of the decompressed batch.
 * @param decompress by compression number, 1 to 4
 * @param aborted what the broker names beside the records
 */
export async function decodeRecords(
  data: Buffer,
  at: TopicPartition & { offset: number },
  decompress: Readonly<Record<number, Decompress>>,
  aborted: readonly Aborted[] = []
): Promise<DecodedRecords> {
  const isVoid = voidBatches(aborted)
  const records: LogRecord[] = []
  const broken: { offset: number; error: unknown }[] = []
  let next = at.offset
  for (let start = 0; start + HEADER_BYTES <= data.length; ) {
    const end = start + OVERHEAD_BYTES + data.readInt32BE(start + 8)
    if (end > data.length || end < start + HEADER_BYTES) break
    const baseOffset = Number(data.readBigInt64BE(start))
    const after = baseOffset + data.readInt32BE(start + 23) + 1
    const batch = data.subarray(start, end)
    const isSkipped = isVoid(batch)
    if (after > next) {
      try {
        const attributes = batch.readInt16BE(21)
        const inflate = decompress[attributes & COMPRESSION_MASK]
        if (batch.readInt8(16) !== 2) throw new RangeError(`message format ${batch.readInt8(16)}`)
        if (!isSkipped) {
          const body = batch.subarray(HEADER_BYTES)
          readBatch(batch, inflate === undefined ? body : await inflate(body), { ...at, offset: next }, records)
        }
      } catch (error) {
        broken.push({ offset: baseOffset, error })
      }
      next = after
    }
    start = end
  }
  return { records, next, broken }
}

/**
 * Tells for batches in their order which hold no records: markers, and what aborted transactions wrote. Source: KIP-98, "consumer".
 */
function voidBatches(aborted: readonly Aborted[]): (batch: Buffer) => boolean {
  const coming = [...aborted].sort((a, b) => Number(a.firstOffset - b.firstOffset))
  const open = new Set<bigint>()
  return batch => {
    const attributes = batch.readInt16BE(21)
    const producerId = batch.readBigInt64BE(43)
    const last = batch.readBigInt64BE(0) + BigInt(batch.readInt32BE(23))
    while (coming.length > 0 && coming[0]!.firstOffset <= last) open.add(coming.shift()!.producerId)
    if ((attributes & CONTROL_BATCH) === 0) return (attributes & TRANSACTIONAL) !== 0 && open.has(producerId)
    open.delete(producerId) // A commit marker of a producer that is not open changes nothing.
    return true
  }
}

function readBatch(batch: Buffer, body: Buffer, at: TopicPartition & { offset: number }, into: LogRecord[]): void {
  const { topic, partition } = at
  const baseOffset = Number(batch.readBigInt64BE(0))
  const firstMs = Number(batch.readBigInt64BE(27))
  const appendedMs = (batch.readInt16BE(21) & LOG_APPEND_TIME) === 0 ? undefined : Number(batch.readBigInt64BE(35))
  const count = batch.readInt32BE(57)
  const reader = { body, at: 0 }
  const read: LogRecord[] = []
  for (let index = 0; index < count; index++) {
    const end = varint(reader) + reader.at
    reader.at++ // Attributes: none is in use.
    const appendedAtMs = appendedMs ?? firstMs + varint(reader)
    if (appendedMs !== undefined) varint(reader)
    const offset = baseOffset + varint(reader)
    const key = bytes(reader)
    const value = bytes(reader)
    const headers = readHeaders(reader)
    if (reader.at !== end) throw new RangeError(`record ${index} of the batch ends at byte ${reader.at} instead of ${end}`)
    if (offset >= at.offset) read.push({ topic, partition, offset, key: key === null ? null : key.toString('utf8'), value, headers, appendedAtMs })
  }
  for (const record of read) into.push(record)
}

const NO_HEADERS: Readonly<Record<string, string>> = {}

/** Of a repeated name the last one counts. */
function readHeaders(reader: Reader): Readonly<Record<string, string>> {
  const count = varint(reader)
  if (count === 0) return NO_HEADERS
  const pairs: [string, string][] = []
  for (let index = 0; index < count; index++) {
    const name = bytes(reader)?.toString('utf8') ?? ''
    pairs.push([name, bytes(reader)?.toString('utf8') ?? ''])
  }
  return Object.fromEntries(pairs) // An entry named __proto__ is an entry like others.
}

interface Reader {
  body: Buffer
  at: number
}

function bytes(reader: Reader): Buffer | null {
  const length = varint(reader)
  if (length < 0) return null
  const start = reader.at
  reader.at += length
  if (reader.at > reader.body.length) throw new RangeError('a record goes beyond the end of its batch')
  return reader.body.subarray(start, reader.at)
}

/** Zigzag varint of up to 64 bits; exact up to 2^53. */
function varint(reader: Reader): number {
  const { body } = reader
  let byte = body[reader.at++]
  if (byte === undefined) throw new RangeError('a batch ends within a number')
  if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1)
  let value = byte & 0x7f
  for (let scale = 128; byte >= 0x80; scale *= 128) {
    byte = body[reader.at++]
    if (byte === undefined || scale > 2 ** 63) throw new RangeError('a batch ends within a number')
    value += (byte & 0x7f) * scale
  }
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}
