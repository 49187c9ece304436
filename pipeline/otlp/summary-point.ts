// SummaryDataPoint: count, sum and precomputed quantiles.
//
// Flow: metrics-reader -> summary-point -> cursor. One pass, quantiles into the cursor's scratch.

import { addAttributes } from './attribute-keys.ts'
import { type PointCursor, QUANTILES_MAX } from './point-cursor.ts'
import { doubleField, fixedField, readStop, readVarint, skipField, type Wire } from './wire.ts'

const START = 0x11
const TIME = 0x19
const COUNT = 0x21
const SUM = 0x29
const QUANTILE = 0x32
const ATTRIBUTE = 0x3a
const FLAGS = 0x40
// Fields of ValueAtQuantile.
const AT = 0x09
const VALUE = 0x11

/** Tag of the attribute field, for the lazy text. */
export const SUMMARY_ATTRIBUTE = ATTRIBUTE

/**
 * Fills the cursor from SummaryDataPoint [position, end).
 * @returns '' or the reason why the point cannot be used
 */
export function readSummaryPoint(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number): string {
  let at = position
  let quantileCount = 0
  clear(cursor)
  while (at < end) {
    switch (bytes[at]) {
      case ATTRIBUTE:
        at = addAttributes(cursor, wire, bytes, view, at, end, ATTRIBUTE)
        break
      case QUANTILE:
        at = readStop(wire, bytes, at + 1, end)
        if (quantileCount < QUANTILES_MAX) readQuantile(cursor, wire, bytes, view, wire.next, at, quantileCount)
        quantileCount++
        break
      case START:
        cursor.startMs = fixedField(view, at, end) / 1e6
        at += 9
        break
      case TIME:
        cursor.timeMs = fixedField(view, at, end) / 1e6
        at += 9
        break
      case COUNT:
        cursor.count = fixedField(view, at, end)
        at += 9
        break
      case SUM:
        cursor.sum = doubleField(view, at, end)
        at += 9
        break
      case FLAGS:
        cursor.noRecordedValue = readVarint(wire, at + 1, end) % 2 === 1
        at = wire.next
        break
      default:
        at = skipField(wire, at, end)
    }
  }
  cursor.quantileCount = quantileCount
  return quantileCount > QUANTILES_MAX ? `a summary has more than ${QUANTILES_MAX} quantiles` : ''
}

/** A summary's sum is a plain field: unset means 0, as on the wire. */
function clear(cursor: PointCursor): void {
  cursor.keyLow = cursor.baseLow
  cursor.keyHigh = cursor.baseHigh
  cursor.timeMs = 0
  cursor.startMs = 0
  cursor.count = 0
  cursor.sum = 0
  cursor.noRecordedValue = false
}

function readQuantile(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number, index: number): void {
  cursor.quantiles[index] = 0
  cursor.quantileValues[index] = 0
  for (let at = position; at < end; ) {
    if (bytes[at] === AT) {
      cursor.quantiles[index] = doubleField(view, at, end)
      at += 9
    } else if (bytes[at] === VALUE) {
      cursor.quantileValues[index] = doubleField(view, at, end)
      at += 9
    } else {
      at = skipField(wire, at, end)
    }
  }
}
