// Repeated numbers into scratch arrays: packed and unpacked doubles, fixed64 and varints.
//
// Flow: the histogram and summary readers append chunk after chunk, as protobuf allows; the count may exceed the scratch,
// which stores what fits and lets the caller reject the point. No allocation.

import { malformed, readVarint, type Wire } from './wire.ts'

const DOUBLE_BYTES = 8
const TWO_32 = 4_294_967_296

/** Appends the packed doubles of [position, end) behind `count`. @returns the new count, which may exceed the scratch */
export function appendDoubles(view: DataView, scratch: Float64Array, count: number, position: number, end: number): number {
  if ((end - position) % DOUBLE_BYTES !== 0) throw malformed(position, 'packed doubles are cut off')
  const total = count + (end - position) / DOUBLE_BYTES
  const stored = Math.min(total, scratch.length)
  for (let index = count, at = position; index < stored; index++, at += DOUBLE_BYTES) scratch[index] = view.getFloat64(at, true)
  return total
}

/** Appends the packed fixed64 counts of [position, end) behind `count`. @returns the new count, which may exceed the scratch */
export function appendFixed(view: DataView, scratch: Float64Array, count: number, position: number, end: number): number {
  if ((end - position) % DOUBLE_BYTES !== 0) throw malformed(position, 'packed counts are cut off')
  const total = count + (end - position) / DOUBLE_BYTES
  const stored = Math.min(total, scratch.length)
  for (let index = count, at = position; index < stored; index++, at += DOUBLE_BYTES)
    scratch[index] = view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true)
  return total
}

/** Appends the packed varints of [position, end) behind `count`. @returns the new count, which may exceed the scratch */
export function appendVarints(wire: Wire, bytes: Uint8Array, scratch: Float64Array, count: number, position: number, end: number): number {
  let total = count
  let at = position
  while (at < end) {
    let value = bytes[at]!
    if (value < 0x80) at++
    else {
      value = readVarint(wire, at, end)
      at = wire.next
    }
    if (total < scratch.length) scratch[total] = value
    total++
  }
  return total
}

/** Appends one value behind `count`. @returns the new count, which may exceed the scratch */
export function appendOne(scratch: Float64Array, count: number, value: number): number {
  if (count < scratch.length) scratch[count] = value
  return count + 1
}
