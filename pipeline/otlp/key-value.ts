// KeyValue and AnyValue messages: the quick check for the plain spelling, the full parse, the rewrite to plain form.
//
// Flow: every attribute passes `isPlainKeyValue`; the rare other ones are parsed, checked to their depth and, where a
// series key is wanted, rewritten. What passes here is structurally sound, so that rendering it as text (any-value.ts)
// cannot fail later. Runs in any thread.
//
// Plain form: 0A <key length> key 12 <value length> value, lengths in one byte, one value field, integers as short as
// they can be. Everything else (value before key, no key, long lengths, unknown fields, nested values) is legal too.

import { malformed, readStop, readVarint, skipField, type Wire } from './wire.ts'

/** Nesting of arrays and maps inside one attribute value. Protobuf libraries stop at 100; nobody reads past three. */
export const ANY_VALUE_DEPTH_MAX = 32

/** Tags of AnyValue's fields: what kind of value it is. NONE is an AnyValue with nothing set. */
export const VALUE = { none: 0, string: 0x0a, bool: 0x10, int: 0x18, double: 0x21, array: 0x2a, map: 0x32, bytes: 0x3a } as const

/** Where the parts of one parsed KeyValue or AnyValue lie. Reused, so that parsing allocates nothing. */
export interface KeyValueParts {
  keyStart: number
  keyEnd: number
  /** One of VALUE. */
  type: number
  /** The content of the value: text, bytes, nested message, the varint, or the eight bytes of a double. */
  start: number
  end: number
}

export function makeKeyValueParts(): KeyValueParts {
  return { keyStart: 0, keyEnd: 0, type: 0, start: 0, end: 0 }
}

/** Checks KeyValue [start, end) to its full depth. @throws AppError malformed_otlp */
export function checkKeyValue(wire: Wire, parts: KeyValueParts, start: number, end: number): void {
  parseKeyValue(wire, parts, start, end)
  checkNested(wire, parts.type, parts.start, parts.end, 1)
}

/** Finds key and value of KeyValue [start, end). A field that occurs twice counts the last time. Nested values are not entered. */
export function parseKeyValue(wire: Wire, parts: KeyValueParts, start: number, end: number): void {
  const { bytes } = wire
  parts.keyStart = parts.keyEnd = start
  let valueStart = start
  let valueEnd = start
  let at = start
  while (at < end) {
    const tag = bytes[at]
    if (tag === 0x0a) {
      parts.keyEnd = at = readStop(wire, bytes, at + 1, end)
      parts.keyStart = wire.next
    } else if (tag === 0x12) {
      valueEnd = at = readStop(wire, bytes, at + 1, end)
      valueStart = wire.next
    } else {
      at = skipField(wire, at, end)
    }
  }
  parseAnyValue(wire, parts, valueStart, valueEnd)
}

/** Finds the value in AnyValue [start, end): the last field that is set, as a oneof demands. */
export function parseAnyValue(wire: Wire, parts: KeyValueParts, start: number, end: number): void {
  const { bytes } = wire
  parts.type = VALUE.none
  parts.start = parts.end = start
  let at = start
  while (at < end) {
    const tag = bytes[at]!
    if (tag === VALUE.string || tag === VALUE.bytes || tag === VALUE.array || tag === VALUE.map) {
      const stop = readStop(wire, bytes, at + 1, end)
      setValue(parts, tag, wire.next, stop)
      at = stop
    } else if (tag === VALUE.bool || tag === VALUE.int) {
      readVarint(wire, at + 1, end)
      setValue(parts, tag, at + 1, wire.next)
      at = wire.next
    } else if (tag === VALUE.double) {
      if (at + 9 > end) throw malformed(at, 'a double is cut off')
      setValue(parts, tag, at + 1, at + 9)
      at += 9
    } else {
      at = skipField(wire, at, end)
    }
  }
}

function setValue(parts: KeyValueParts, type: number, start: number, end: number): void {
  parts.type = type
  parts.start = start
  parts.end = end
}

/** Walks arrays and maps below a value, so that nothing malformed or too deep is left for later. */
export function checkNested(wire: Wire, type: number, start: number, end: number, depth: number): void {
  if (type !== VALUE.array && type !== VALUE.map) return
  if (depth > ANY_VALUE_DEPTH_MAX) throw malformed(start, `an attribute is nested deeper than ${ANY_VALUE_DEPTH_MAX}`)
  const parts = makeKeyValueParts()
  let at = start
  while (at < end) {
    if (wire.bytes[at] !== 0x0a) {
      at = skipField(wire, at, end)
      continue
    }
    const stop = readStop(wire, wire.bytes, at + 1, end)
    if (type === VALUE.array) parseAnyValue(wire, parts, wire.next, stop)
    else parseKeyValue(wire, parts, wire.next, stop)
    checkNested(wire, parts.type, parts.start, parts.end, depth + 1)
    at = stop
  }
}

/**
 * Writes the plain form of parsed `parts` into `out`, with lengths of any size as short as they can be.
 * @param out at least `plainSizeMax(parts)` bytes
 * @returns bytes written
 */
export function writePlainKeyValue(wire: Wire, parts: KeyValueParts, out: Uint8Array): number {
  const { bytes } = wire
  const contentSize = parts.end - parts.start
  let at = writeBytes(out, 0, 0x0a, bytes, parts.keyStart, parts.keyEnd)
  out[at++] = 0x12
  switch (parts.type) {
    case VALUE.none:
      out[at++] = 0
      return at
    case VALUE.double:
      out[at++] = 9
      out[at++] = parts.type
      out.set(bytes.subarray(parts.start, parts.end), at)
      return at + 8
    case VALUE.bool:
    case VALUE.int:
      return writePlainNumber(wire, parts, out, at)
    default:
      at = writeLength(out, at, 1 + lengthSize(contentSize) + contentSize)
      return writeBytes(out, at, parts.type, bytes, parts.start, parts.end)
  }
}

/** Upper bound of what `writePlainKeyValue` writes: the contents, three tags and three lengths. */
export function plainSizeMax(parts: KeyValueParts): number {
  return parts.keyEnd - parts.keyStart + (parts.end - parts.start) + 24
}

/** Integers keep their bits but lose padding; any true boolean becomes 1. */
function writePlainNumber(wire: Wire, parts: KeyValueParts, out: Uint8Array, position: number): number {
  let end = parts.end
  while (end - 1 > parts.start && wire.bytes[end - 1] === 0) end--
  const isBool = parts.type === VALUE.bool
  const size = isBool ? 1 : end - parts.start
  let at = position
  out[at++] = size + 1
  out[at++] = parts.type
  for (let from = parts.start; from < parts.start + size; from++) out[at++] = wire.bytes[from]!
  if (isBool) out[at - 1] = readVarint(wire, parts.start, parts.end) === 0 ? 0 : 1
  else out[at - 1] = out[at - 1]! & 0x7f
  return at
}

function writeBytes(out: Uint8Array, position: number, tag: number, from: Uint8Array, start: number, end: number): number {
  out[position] = tag
  const at = writeLength(out, position + 1, end - start)
  out.set(from.subarray(start, end), at)
  return at + end - start
}

function writeLength(out: Uint8Array, position: number, length: number): number {
  let at = position
  let rest = length
  while (rest > 127) {
    out[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  out[at++] = rest
  return at
}

function lengthSize(length: number): number {
  let size = 1
  for (let rest = length >>> 7; rest > 0; rest >>>= 7) size++
  return size
}
