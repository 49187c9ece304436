// Just enough of the protobuf wire format to cut OTLP requests apart without decoding them.
//
// Reading: a Scan walks the fields of one message between two offsets; every length is checked against its parent, so a
// forged length can neither leave the message nor make the walk long. Writing: the few bytes that a cut needs around it.

import { AppError } from '../../schemas/errors.ts'

/** A walk over the fields of one message; `nextField` moves it. Reused for message after message: no allocation a field. */
export interface Scan {
  bytes: Uint8Array
  at: number
  end: number
  /** The current field: its number, wire type, first byte of the tag, and payload [start, stop). A varint's payload is its bytes. */
  field: number
  wire: number
  tagAt: number
  start: number
  stop: number
}

export const WIRE = { varint: 0, fixed64: 1, length: 2, fixed32: 5 } as const

/** A walk over the whole of `bytes`, or over [start, end). */
export function scanOf(bytes: Uint8Array, start = 0, end = bytes.length): Scan {
  return { bytes, at: start, end, field: 0, wire: 0, tagAt: start, start, stop: start }
}

/** Points `scan` at the payload of the field that `parent` stands on. */
export function enter(scan: Scan, parent: Scan): void {
  scan.bytes = parent.bytes
  scan.at = parent.start
  scan.end = parent.stop
}

/**
 * Moves to the next field.
 * @returns false at the end of the message
 * @throws AppError `malformed_otlp` with the offset when a tag or length does not fit its message
 */
export function nextField(scan: Scan): boolean {
  const { bytes, end } = scan
  let at = scan.at
  if (at >= end) return false
  scan.tagAt = at
  let tag = bytes[at++]!
  if (tag >= 0x80) {
    scan.at = at - 1
    tag = varint32(scan)
    at = scan.at
  }
  const field = tag >>> 3
  const wire = tag & 7
  if (field === 0) throw malformed(scan.tagAt, 'field number 0')
  scan.field = field
  scan.wire = wire
  let stop: number
  if (wire === WIRE.length) {
    let length = at < end ? bytes[at++]! : 0x80
    if (length >= 0x80) {
      scan.at = at - 1
      length = varint32(scan)
      at = scan.at
    }
    scan.start = at
    stop = at + length
  } else {
    scan.start = at
    if (wire === WIRE.varint) stop = varintEnd(bytes, at, end)
    else if (wire === WIRE.fixed64) stop = at + 8
    else if (wire === WIRE.fixed32) stop = at + 4
    else throw malformed(scan.tagAt, `wire type ${wire}`)
  }
  if (stop > end) throw malformed(scan.tagAt, `field ${field} ends ${stop - end} bytes behind its message`)
  scan.stop = stop
  scan.at = stop
  return true
}

/** The payload of a length-delimited field as a view. */
export function payload(scan: Scan): Uint8Array {
  return scan.bytes.subarray(scan.start, scan.stop)
}

/** The error every fault of the wire ends in: a permanent refusal that names the offset in the decompressed body. */
export function malformed(offset: number, what: string): AppError {
  return new AppError('malformed_otlp', `not an OTLP request: ${what} at byte ${offset} of the decompressed body`, { details: { offset } })
}

const VARINT32_BYTES_MAX = 5
const VARINT64_BYTES_MAX = 10

function varint32(scan: Scan): number {
  const { bytes, end } = scan
  const first = scan.at
  let value = 0
  for (let i = 0; i < VARINT32_BYTES_MAX && first + i < end; i++) {
    const byte = bytes[first + i]!
    value += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) {
      if (value > 0x7fff_ffff) break
      scan.at = first + i + 1
      return value
    }
  }
  throw malformed(first, 'an unfinished or oversized length')
}

function varintEnd(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end && at - start < VARINT64_BYTES_MAX; at++) if (bytes[at]! < 0x80) return at + 1
  throw malformed(start, 'an unfinished varint')
}

/** Value of the varint field that `scan` stands on, as a signed 64-bit integer. */
export function varintValue(scan: Scan): bigint {
  let value = 0n
  for (let at = scan.start; at < scan.stop; at++) value |= BigInt(scan.bytes[at]! & 0x7f) << BigInt(7 * (at - scan.start))
  return BigInt.asIntN(64, value)
}

/** Value of the fixed64 field that `scan` stands on, as a double. */
export function doubleValue(scan: Scan): number {
  return new DataView(scan.bytes.buffer, scan.bytes.byteOffset + scan.start, 8).getFloat64(0, true)
}

/** Bytes that `value` takes as a varint, 0 <= value < 2^53. */
export function varintLength(value: number): number {
  let length = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) length++
  return length
}

/** Writes `value` as a varint. @returns the offset behind it */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let at = offset
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) target[at++] = (rest % 128) | 0x80
  target[at++] = rest
  return at
}

/** Bytes of the length-delimited field `field` (< 16) around `length` bytes of payload. */
export function lengthFieldSize(length: number): number {
  return 1 + varintLength(length) + length
}

/** Writes tag and length of a length-delimited field (number < 16). @returns the offset of its payload */
export function writeLengthField(target: Uint8Array, offset: number, field: number, length: number): number {
  target[offset] = (field << 3) | WIRE.length
  return writeVarint(target, offset + 1, length)
}

/** One length-delimited field (number < 16) around the parts laid end to end. */
export function lengthField(field: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = totalLength(parts)
  const result = new Uint8Array(lengthFieldSize(length))
  writeParts(result, writeLengthField(result, 0, field, length), parts)
  return result
}

/** One varint field (number < 16). */
export function varintField(field: number, value: number): Uint8Array {
  const result = new Uint8Array(1 + varintLength(value))
  result[0] = (field << 3) | WIRE.varint
  writeVarint(result, 1, value)
  return result
}

export function totalLength(parts: readonly Uint8Array[]): number {
  let length = 0
  for (const part of parts) length += part.length
  return length
}

/** Copies the parts end to end. @returns the offset behind them */
export function writeParts(target: Uint8Array, offset: number, parts: readonly Uint8Array[]): number {
  let at = offset
  for (const part of parts) {
    target.set(part, at)
    at += part.length
  }
  return at
}
