// Adds the attributes of one point to its series key, on the wire bytes.
//
// Flow: the point readers call `addAttributes` at the first attribute of a run (encoders write them next to each other).
// The hot loop of the whole product: no allocation, no string, no closure. Formats and reasons are in hash.ts.

import { finish, type Hasher, hashRange } from './hash.ts'
import { checkNested, makeKeyValueParts, parseKeyValue, plainSizeMax, VALUE, writePlainKeyValue } from './key-value.ts'
import type { PointCursor } from './point-cursor.ts'
import { readStop, type Wire } from './wire.ts'

/** Scratch for the plain form of unusual attributes; a larger one (a text of pages) is rewritten in a buffer of its own. */
const SCRATCH_BYTES = 65_536

const VARINT_BYTES_MAX = 10
/** The first word of an attribute whose lengths take one byte each: any tag, length below 128, key first, key below 128. */
const PLAIN_HEAD = 0x000a0000
const PLAIN_HEAD_MASK = 0x80ff80ff | 0
/** The first word of a value that is a text, without its two lengths. */
const PLAIN_TEXT = 0x000a0012

const scratch = new Uint8Array(SCRATCH_BYTES)
const scratchView = new DataView(scratch.buffer)
const parts = makeKeyValueParts()

/**
 * Adds the hashes of consecutive attribute fields to `cursor.keyLow` and `cursor.keyHigh`. An attribute that occurs twice is
 * added twice: the key is another one, and the same every time.
 * @param position of the first tag
 * @param tag      the one-byte tag of the attribute field
 * @returns the position after the last one
 */
export function addAttributes(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number, tag: number): number {
  const { hasher } = cursor
  const { seedLow, seedHigh, k1, k2, k3, k4 } = hasher
  const plainHead = tag | PLAIN_HEAD
  const lastHead = end - 4
  let { keyLow, keyHigh } = cursor
  let at = position
  while (true) {
    // A plain attribute is known by two words: <tag> <length> 0A <key length>, and behind the key 12 <value length> 0A <text length>.
    const head = at <= lastHead ? view.getInt32(at, true) : 0
    const size = (head >> 8) & 0x7f
    const stop = at + 2 + size
    const value = at + 4 + (head >>> 24)
    const valueSize = stop - value - 2
    if ((head & PLAIN_HEAD_MASK) === plainHead && size >= 8 && stop <= end && valueSize >= 2 && isPlainValue(bytes, view, value, valueSize, stop)) {
      // hashRange(at + 2, stop), written out: V8 inlines the call in some runs only (measured: 206 ns a point, else 162).
      const last = stop - 8
      let low = seedLow ^ size
      let high = seedHigh
      at += 2
      while (true) {
        const first = view.getInt32(at, true)
        const second = view.getInt32(at + 4, true)
        low = (Math.imul((low << 13) | (low >>> 19), 5) + Math.imul(first, k1) + Math.imul(second, k2)) | 0
        high = (Math.imul((high << 17) | (high >>> 15), 9) + Math.imul(first, k3) + Math.imul(second, k4)) | 0
        if (at === last) break
        at = Math.min(at + 8, last)
      }
      at = stop
      low = finish((low + high) | 0)
      keyLow = (keyLow + low) | 0
      keyHigh = (keyHigh + finish(low ^ high)) | 0
    } else {
      if (at >= end || bytes[at] !== tag) break
      at = hashUnusual(hasher, wire, at + 1, end)
      keyLow = (keyLow + hasher.low) | 0
      keyHigh = (keyHigh + hasher.high) | 0
    }
  }
  cursor.keyLow = keyLow
  cursor.keyHigh = keyHigh
  return at
}

/** Whether the value field at `position`, whose content is `size` bytes and ends at `end`, is one text, boolean, number or byte string. */
function isPlainValue(bytes: Uint8Array, view: DataView, position: number, size: number, end: number): boolean {
  const head = view.getInt32(position, true)
  const tail = (size << 8) | ((size - 2) << 24)
  if (head === (PLAIN_TEXT | tail)) return true
  if ((head & 0xffff) !== (0x12 | (size << 8))) return false
  switch (bytes[position + 2]) {
    case VALUE.int:
      return isPlainVarint(bytes, position + 3, end)
    case VALUE.bool:
      return size === 2 && bytes[position + 3]! < 2
    case VALUE.double:
      return size === 9
    case VALUE.bytes:
      return bytes[position + 3] === size - 2
    default:
      return false
  }
}

/** Whether [start, end) is exactly one varint, as short as it can be. */
function isPlainVarint(bytes: Uint8Array, start: number, end: number): boolean {
  const last = end - 1
  if (last - start >= VARINT_BYTES_MAX) return false
  for (let at = start; at < last; at++) if (bytes[at]! < 0x80) return false
  return bytes[last]! < 0x80 && (bytes[last] !== 0 || start === last)
}

/**
 * Nested, long and oddly spelled attributes: checked to their depth, then hashed in plain form.
 * @param position of the length, after the tag
 * @returns the position after the attribute
 */
function hashUnusual(hasher: Hasher, wire: Wire, position: number, end: number): number {
  const stop = readStop(wire, wire.bytes, position, end)
  parseKeyValue(wire, parts, wire.next, stop)
  checkNested(wire, parts.type, parts.start, parts.end, 1)
  const size = plainSizeMax(parts)
  const fits = size <= SCRATCH_BYTES
  const out = fits ? scratch : new Uint8Array(size)
  const written = writePlainKeyValue(wire, parts, out)
  hashRange(hasher, fits ? scratchView : new DataView(out.buffer), 0, written, hasher.seedLow, hasher.seedHigh)
  return stop
}
