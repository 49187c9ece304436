// Adds the attributes of one point to its series key, on the wire bytes.
//
// Flow: the point readers call `addAttributes` at the first attribute of a run (encoders write them next to each other).
// The hot loop of the whole product: no allocation, no string, no closure. Formats and reasons are in hash.ts.

import { type Hasher, hashRange } from './hash.ts'
import { checkNested, isPlainKeyValue, makeKeyValueParts, parseKeyValue, plainSizeMax, writePlainKeyValue } from './key-value.ts'
import type { PointCursor } from './point-cursor.ts'
import { readStop, type Wire } from './wire.ts'

/** Scratch for the plain form of unusual attributes; a larger one (a text of pages) is rewritten in a buffer of its own. */
const SCRATCH_BYTES = 65_536

const scratch = new Uint8Array(SCRATCH_BYTES)
const scratchView = new DataView(scratch.buffer)
const parts = makeKeyValueParts()

/**
 * Adds the hashes of consecutive attribute fields to `cursor.keyLow` and `cursor.keyHigh`. An attribute that occurs twice is
 * added twice: the key is another one, and the same every time.
 * @param position after the tag of the first one
 * @param tag      the one-byte tag of the attribute field
 * @returns the position after the last one
 */
export function addAttributes(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number, tag: number): number {
  const { hasher } = cursor
  const { seedLow, seedHigh } = hasher
  let { keyLow, keyHigh } = cursor
  let at = position
  while (true) {
    const stop = readStop(wire, bytes, at, end)
    const start = wire.next
    if (isPlainKeyValue(bytes, start, stop)) hashRange(hasher, view, start, stop, seedLow, seedHigh)
    else hashUnusual(hasher, wire, start, stop)
    keyLow = (keyLow + hasher.low) | 0
    keyHigh = (keyHigh + hasher.high) | 0
    at = stop
    if (at >= end || bytes[at] !== tag) break
    at++
  }
  cursor.keyLow = keyLow
  cursor.keyHigh = keyHigh
  return at
}

/** Nested, long and oddly spelled attributes: checked to their depth, then hashed in plain form. */
function hashUnusual(hasher: Hasher, wire: Wire, start: number, end: number): void {
  parseKeyValue(wire, parts, start, end)
  checkNested(wire, parts.type, parts.start, parts.end, 1)
  const size = plainSizeMax(parts)
  const fits = size <= SCRATCH_BYTES
  const out = fits ? scratch : new Uint8Array(size)
  const written = writePlainKeyValue(wire, parts, out)
  hashRange(hasher, fits ? scratchView : new DataView(out.buffer), 0, written, hasher.seedLow, hasher.seedHigh)
}
