// SummaryDataPoint: count, sum and precomputed quantiles.
//
// Flow: metrics-reader -> summary-point -> cursor. One pass, quantiles into the cursor's scratch.

import { addAttributes } from './attribute-keys.ts'
import { clearDistribution, readDistributionField } from './distribution.ts'
import { type PointCursor, QUANTILES_MAX } from './point-cursor.ts'
import { readDouble, readStop, readVarint, skipField, type Wire } from './wire.ts'

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
  clearDistribution(cursor, 0) // A summary's sum is a plain field: unset means 0, as on the wire.
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
      case FLAGS:
        cursor.noRecordedValue = readVarint(wire, at + 1, end) % 2 === 1
        at = wire.next
        break
      default:
        at = readDistributionField(cursor, wire, bytes, view, at, end)
    }
  }
  cursor.quantileCount = quantileCount
  return quantileCount > QUANTILES_MAX ? `a summary has more than ${QUANTILES_MAX} quantiles` : ''
}

function readQuantile(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number, index: number): void {
  cursor.quantiles[index] = 0
  cursor.quantileValues[index] = 0
  for (let at = position; at < end; ) {
    if (bytes[at] === AT) {
      readDouble(wire, view, at, end)
      cursor.quantiles[index] = wire.number
      at += 9
    } else if (bytes[at] === VALUE) {
      readDouble(wire, view, at, end)
      cursor.quantileValues[index] = wire.number
      at += 9
    } else {
      at = skipField(wire, at, end)
    }
  }
}
