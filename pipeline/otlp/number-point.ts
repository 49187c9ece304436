// NumberDataPoint: one point of a gauge or a sum.
//
// Flow: metrics-reader -> number-point -> cursor. Hot: one pass over the fields in whatever order they come, no allocation.

import { addAttributes } from './attribute-keys.ts'
import type { PointCursor } from './point-cursor.ts'
import { readDouble, readFixed64, readSignedFixed64, readVarint, skipField, type Wire } from './wire.ts'

const START = 0x11
const TIME = 0x19
const AS_DOUBLE = 0x21
const AS_INT = 0x31
const ATTRIBUTE = 0x3a
const FLAGS = 0x40

/** Tag of the attribute field, for the lazy text. */
export const NUMBER_ATTRIBUTE = ATTRIBUTE

/**
 * Fills the cursor from NumberDataPoint [position, end).
 * @returns '' or the reason why the point cannot be used
 */
export function readNumberPoint(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number): string {
  let at = position
  let value = Number.NaN
  let hasValue = false
  let flags = 0
  let timeMs = 0
  let startMs = 0
  cursor.keyLow = cursor.baseLow
  cursor.keyHigh = cursor.baseHigh
  while (at < end) {
    switch (bytes[at]) {
      case ATTRIBUTE:
        at = addAttributes(cursor, wire, bytes, view, at, end, ATTRIBUTE)
        break
      case START:
        readFixed64(wire, view, at, end)
        startMs = wire.number / 1e6
        at += 9
        break
      case TIME:
        readFixed64(wire, view, at, end)
        timeMs = wire.number / 1e6
        at += 9
        break
      case AS_DOUBLE:
        readDouble(wire, view, at, end)
        value = wire.number
        hasValue = true
        at += 9
        break
      case AS_INT:
        readSignedFixed64(wire, view, at, end)
        value = wire.number
        hasValue = true
        at += 9
        break
      case FLAGS:
        flags = readVarint(wire, at + 1, end)
        at = wire.next
        break
      default:
        at = skipField(wire, at, end)
    }
  }
  const noRecordedValue = flags % 2 === 1
  if (!hasValue && !noRecordedValue) return 'a number point has no value'
  cursor.timeMs = timeMs
  cursor.startMs = startMs
  cursor.value = noRecordedValue ? Number.NaN : value
  cursor.noRecordedValue = noRecordedValue
  return ''
}
