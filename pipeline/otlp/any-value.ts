// Attribute values as text, made only when somebody asks: a new series, an anomaly, a log body.
//
// Flow: called from the lazy methods of the views. The bytes were checked when the cursor passed them, so nothing here
// fails on structure. Runs in any thread, allocates freely.
//
// Text forms: strings as they are (invalid UTF-8 becomes U+FFFD), booleans true/false, integers exact in decimal, doubles as
// JavaScript prints them, bytes in base64, arrays and maps as JSON.

import { ANY_VALUE_DEPTH_MAX, checkNested, type KeyValueParts, makeKeyValueParts, parseAnyValue, parseKeyValue, VALUE } from './key-value.ts'
import { readStop, skipField, type Wire } from './wire.ts'

const UTF8 = new TextDecoder()
const UTF8_ENCODER = new TextEncoder()

type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** UTF-8 text of [start, end). */
export function textAt(wire: Wire, start: number, end: number): string {
  return start === end ? '' : UTF8.decode(wire.bytes.subarray(start, end))
}

/** Lowercase hex of [start, end). */
export function hexAt(wire: Wire, start: number, end: number): string {
  return bufferAt(wire, start, end).toString('hex')
}

/** The value that `parts` names, as text. */
export function valueText(wire: Wire, parts: KeyValueParts): string {
  switch (parts.type) {
    case VALUE.string:
      return textAt(wire, parts.start, parts.end)
    case VALUE.int:
      return String(integerAt(wire, parts.start, parts.end))
    case VALUE.none:
      return ''
    case VALUE.bool:
    case VALUE.double:
    case VALUE.bytes:
      return String(valueJson(wire, parts, 1))
    default:
      return JSON.stringify(valueJson(wire, parts, 1))
  }
}

/**
 * All attributes in fields `tag` of the message [start, end), as text. Without a prototype, so that any key is harmless.
 * @param attributes to add them to; a key that repeats counts the last time
 */
export function attributesText(
  wire: Wire,
  start: number,
  end: number,
  tag: number,
  attributes: Record<string, string> = Object.create(null)
): Record<string, string> {
  const parts = makeKeyValueParts()
  for (let at = start; at < end; ) {
    if (wire.bytes[at] !== tag) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, wire.bytes, at + 1, end)
    parseKeyValue(wire, parts, wire.next, at)
    checkNested(wire, parts.type, parts.start, parts.end, 1) // A resource comes here unchecked.
    attributes[textAt(wire, parts.keyStart, parts.keyEnd)] = valueText(wire, parts)
  }
  return attributes
}

/**
 * The attribute `name` in fields `tag` of the message [start, end), as text. Compares bytes, so a miss makes no string.
 * @returns the last one when the key repeats, undefined when there is none
 */
export function attributeText(wire: Wire, start: number, end: number, tag: number, name: string): string | undefined {
  const parts = makeKeyValueParts()
  const found = makeKeyValueParts()
  let isFound = false
  for (let at = start; at < end; ) {
    if (wire.bytes[at] !== tag) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, wire.bytes, at + 1, end)
    parseKeyValue(wire, parts, wire.next, at)
    if (!sameText(wire.bytes, parts.keyStart, parts.keyEnd, name)) continue
    isFound = true
    Object.assign(found, parts)
  }
  return isFound ? valueText(wire, found) : undefined
}

/** Whether [start, end) is the UTF-8 form of `text`. */
function sameText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start < text.length) return false // UTF-8 is never shorter than UTF-16 counts.
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code > 127) return Buffer.compare(bytes.subarray(start, end), UTF8_ENCODER.encode(text)) === 0
    if (bytes[start + index] !== code) return false
  }
  return end - start === text.length
}

function valueJson(wire: Wire, parts: KeyValueParts, depth: number): Json {
  const { start, end } = parts
  switch (parts.type) {
    case VALUE.string:
      return textAt(wire, start, end)
    case VALUE.bool:
      return integerAt(wire, start, end) !== 0n
    case VALUE.int: {
      const integer = integerAt(wire, start, end)
      const number = Number(integer)
      return Number.isSafeInteger(number) ? number : String(integer)
    }
    case VALUE.double: {
      const number = wire.view.getFloat64(start, true)
      return Number.isFinite(number) ? number : String(number)
    }
    case VALUE.bytes:
      return bufferAt(wire, start, end).toString('base64')
    case VALUE.array:
      return arrayJson(wire, start, end, depth)
    case VALUE.map:
      return mapJson(wire, start, end, depth)
    default:
      return null
  }
}

function arrayJson(wire: Wire, start: number, end: number, depth: number): Json {
  const values: Json[] = []
  if (depth > ANY_VALUE_DEPTH_MAX) return values // Unreachable for checked bytes; keeps the recursion bounded for any.
  for (let at = start; at < end; ) {
    if (wire.bytes[at] !== 0x0a) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, wire.bytes, at + 1, end)
    const parts = makeKeyValueParts()
    parseAnyValue(wire, parts, wire.next, at)
    values.push(valueJson(wire, parts, depth + 1))
  }
  return values
}

function mapJson(wire: Wire, start: number, end: number, depth: number): Json {
  const values: { [key: string]: Json } = Object.create(null)
  if (depth > ANY_VALUE_DEPTH_MAX) return values
  for (let at = start; at < end; ) {
    if (wire.bytes[at] !== 0x0a) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, wire.bytes, at + 1, end)
    const parts = makeKeyValueParts()
    parseKeyValue(wire, parts, wire.next, at)
    values[textAt(wire, parts.keyStart, parts.keyEnd)] = valueJson(wire, parts, depth + 1)
  }
  return values
}

/** The varint at [start, end) as a signed 64-bit integer. */
function integerAt(wire: Wire, start: number, end: number): bigint {
  let value = 0n
  for (let at = end - 1; at >= start; at--) value = (value << 7n) | BigInt(wire.bytes[at]! & 0x7f)
  return BigInt.asIntN(64, value)
}

function bufferAt(wire: Wire, start: number, end: number): Buffer {
  const { buffer, byteOffset } = wire.bytes
  return Buffer.from(buffer as ArrayBuffer, byteOffset + start, end - start)
}
