// Protobuf wire primitives on which the OTLP readers stand: varints, lengths, fixed fields, skipping.
//
// Flow: reader.ts loads a request into one Wire; every reader walks [position, end) ranges of it and never past its
// parent's end. Nothing here allocates except the error of a malformed request. Runs in any thread; no state but Wire.
//
// Hot callers read one-byte tags and lengths themselves and come here only for the long forms. A second result is left in
// `wire.next`, and doubles in `wire.number`: V8 boxes a double that a function returns wherever it does not inline
// the function (measured: 11 bytes a histogram point), while a field of doubles is overwritten in place.

import { AppError } from '../../schemas/errors.ts'

/** Deepest nesting of unknown groups that is skipped; protobuf libraries stop at 100, and OTLP has no groups at all. */
const GROUP_DEPTH_MAX = 32
const VARINT_BYTES_MAX = 10
const TWO_32 = 4_294_967_296

export interface Wire {
  /** The request. Always a plain Uint8Array on a fixed ArrayBuffer: one buffer kind keeps the hot functions monomorphic. */
  bytes: Uint8Array
  /** The same bytes, for loads of four and eight. */
  view: DataView
  /** Position after what `readVarint` read. */
  next: number
  /** What `readFixed64`, `readSignedFixed64` and `readDouble` read. */
  number: number
}

const NOTHING = new Uint8Array(0)
const NOTHING_VIEW = new DataView(NOTHING.buffer)

export function makeWire(): Wire {
  return { bytes: NOTHING, view: NOTHING_VIEW, next: 0, number: 0.5 } // 0.5: a field of doubles from the start.
}

/**
 * Points the wire at a request without copying it. A Buffer is viewed as a plain Uint8Array; bytes on a buffer that can
 * change its size are copied, since one DataView of that kind makes V8 compile the hot loops for the general case
 * (measured: ten times slower, for good; a shared buffer of fixed size costs nothing).
 */
export function loadWire(wire: Wire, request: Uint8Array): void {
  const { buffer } = request
  const fixed = buffer instanceof SharedArrayBuffer ? !buffer.growable : !buffer.resizable
  const bytes = fixed ? new Uint8Array(buffer, request.byteOffset, request.byteLength) : new Uint8Array(request)
  wire.bytes = bytes
  wire.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  wire.next = 0
}

/** Lets go of the request, so that a reader at rest keeps no body alive. */
export function unloadWire(wire: Wire): void {
  wire.bytes = NOTHING
  wire.view = NOTHING_VIEW
}

/** The error of a malformed request. `offset` is the byte where the fault was noticed. */
export function malformed(offset: number, what: string): AppError {
  return new AppError('malformed_otlp', `The request is not valid OTLP: ${what} at byte ${offset}. Check the sender.`, { details: { offset } })
}

/**
 * Reads a varint of any length. Values of 2^53 and more lose their low bits.
 * @returns the unsigned value; `wire.next` is the position after it
 */
export function readVarint(wire: Wire, position: number, end: number): number {
  const bytes = wire.bytes
  const limit = Math.min(end, position + VARINT_BYTES_MAX)
  let value = 0
  let scale = 1
  for (let at = position; at < limit; at++) {
    const byte = bytes[at]!
    value += (byte & 0x7f) * scale
    if (byte < 0x80) {
      wire.next = at + 1
      return value
    }
    scale *= 128
  }
  throw malformed(position, limit === end ? 'a number is cut off' : 'a number is longer than ten bytes')
}

/**
 * Reads the length of a nested field and checks it against the parent.
 * @returns the end of the nested field; `wire.next` is its start
 */
export function readSpan(wire: Wire, position: number, end: number): number {
  const length = readVarint(wire, position, end)
  const stop = wire.next + length
  if (stop > end) throw malformed(position, `a field of ${length} bytes is longer than what holds it`)
  return stop
}

/**
 * Reads a length-delimited field's length, quick for one byte.
 * @returns the end of the nested field; `wire.next` is its start
 */
export function readStop(wire: Wire, bytes: Uint8Array, position: number, end: number): number {
  if (position >= end) throw malformed(position, 'a length is missing')
  const length = bytes[position]!
  if (length > 127) return readSpan(wire, position, end)
  const stop = position + 1 + length
  if (stop > end) throw malformed(position, `a field of ${length} bytes is longer than what holds it`)
  wire.next = position + 1
  return stop
}

/** Reads the fixed64 after the one-byte tag at `position` into `wire.number`: exact below 2^53, else rounded. */
export function readFixed64(wire: Wire, view: DataView, position: number, end: number): void {
  if (position + 9 > end) throw malformed(position, 'a fixed-size field is cut off')
  wire.number = view.getUint32(position + 5, true) * TWO_32 + view.getUint32(position + 1, true)
}

/** Reads the sfixed64 after the one-byte tag at `position` into `wire.number`: exact between -2^53 and 2^53, else rounded. */
export function readSignedFixed64(wire: Wire, view: DataView, position: number, end: number): void {
  if (position + 9 > end) throw malformed(position, 'a fixed-size field is cut off')
  wire.number = view.getInt32(position + 5, true) * TWO_32 + view.getUint32(position + 1, true)
}

/** Reads the double after the one-byte tag at `position` into `wire.number`. */
export function readDouble(wire: Wire, view: DataView, position: number, end: number): void {
  if (position + 9 > end) throw malformed(position, 'a fixed-size field is cut off')
  wire.number = view.getFloat64(position + 1, true)
}

/** Undoes zigzag of a 32-bit value (sint32). */
export function zigzag32(value: number): number {
  const bits = value >>> 0
  return (bits >>> 1) ^ -(bits & 1)
}

/**
 * Skips one field, its tag included: unknown numbers, and known ones with another wire type.
 * @param position of the tag
 * @returns the position after the field
 */
export function skipField(wire: Wire, position: number, end: number): number {
  const tag = readTag(wire, position, end)
  if ((tag & 7) === 3) return skipGroup(wire, wire.next, end, tag)
  return skipValue(wire, wire.next, end, tag & 7)
}

/** A tag is at most 32 bits, names no field 0, and is as short as it can be: a longer spelling would hide a known field. */
function readTag(wire: Wire, position: number, end: number): number {
  const tag = readVarint(wire, position, end)
  if (tag < 8 || tag >= TWO_32) throw malformed(position, 'no field has this number')
  if (wire.bytes[wire.next - 1] === 0) throw malformed(position, 'a field number is spelled too long')
  return tag
}

function skipValue(wire: Wire, position: number, end: number, wireType: number): number {
  let next: number
  switch (wireType) {
    case 0:
      readVarint(wire, position, end)
      return wire.next
    case 1:
      next = position + 8
      break
    case 2:
      return readSpan(wire, position, end)
    case 5:
      next = position + 4
      break
    default:
      throw malformed(position, `wire type ${wireType} is out of place`)
  }
  if (next > end) throw malformed(position, 'a fixed-size field is cut off')
  return next
}

/** Groups are long deprecated but legal; the loop counts depth instead of recursing. */
function skipGroup(wire: Wire, position: number, end: number, first: number): number {
  const open = [first]
  let at = position
  while (open.length > 0) {
    if (at >= end) throw malformed(at, 'a group has no end')
    const tag = readTag(wire, at, end)
    const type = tag & 7
    if (type === 3) {
      if (open.length === GROUP_DEPTH_MAX) throw malformed(at, `groups are nested deeper than ${GROUP_DEPTH_MAX}`)
      open.push(tag)
      at = wire.next
    } else if (type === 4) {
      if (open.pop()! + 1 !== tag) throw malformed(at, 'a group ends that was not begun')
      at = wire.next
    } else {
      at = skipValue(wire, wire.next, end, type)
    }
  }
  return at
}
