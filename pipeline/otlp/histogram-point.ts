// HistogramDataPoint: explicit buckets.
//
// Flow: metrics-reader -> histogram-point -> cursor. Hot: one pass, bounds and counts into the cursor's scratch.

import { addAttributes } from './attribute-keys.ts'
import { appendDoubles, appendFixed, appendOne } from './buckets.ts'
import { clearDistribution, readDistributionField } from './distribution.ts'
import { BUCKETS_MAX, type PointCursor } from './point-cursor.ts'
import { readDouble, readFixed64, readStop, readVarint, type Wire } from './wire.ts'

const BUCKET = 0x31
const BUCKETS_PACKED = 0x32
const BOUND = 0x39
const BOUNDS_PACKED = 0x3a
const ATTRIBUTE = 0x4a
const FLAGS = 0x50
const MIN = 0x59
const MAX = 0x61

/** Tag of the attribute field, for the lazy text. */
export const HISTOGRAM_ATTRIBUTE = ATTRIBUTE

/**
 * Fills the cursor from HistogramDataPoint [position, end).
 * @returns '' or the reason why the point cannot be used
 */
export function readHistogramPoint(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number): string {
  const { bounds, buckets } = cursor
  let at = position
  let boundCount = 0
  let bucketCount = 0
  clearDistribution(cursor, Number.NaN)
  while (at < end) {
    switch (bytes[at]) {
      case ATTRIBUTE:
        at = addAttributes(cursor, wire, bytes, view, at, end, ATTRIBUTE)
        break
      case BUCKETS_PACKED:
        at = readStop(wire, bytes, at + 1, end)
        bucketCount = appendFixed(view, buckets, bucketCount, wire.next, at)
        break
      case BOUNDS_PACKED:
        at = readStop(wire, bytes, at + 1, end)
        boundCount = appendDoubles(view, bounds, boundCount, wire.next, at)
        break
      case BUCKET:
        readFixed64(wire, view, at, end)
        bucketCount = appendOne(buckets, bucketCount, wire.number)
        at += 9
        break
      case BOUND:
        readDouble(wire, view, at, end)
        boundCount = appendOne(bounds, boundCount, wire.number)
        at += 9
        break
      case MIN:
        readDouble(wire, view, at, end)
        cursor.min = wire.number
        at += 9
        break
      case MAX:
        readDouble(wire, view, at, end)
        cursor.max = wire.number
        at += 9
        break
      case FLAGS:
        cursor.noRecordedValue = readVarint(wire, at + 1, end) % 2 === 1
        at = wire.next
        break
      default:
        at = readDistributionField(cursor, wire, bytes, view, at, end)
    }
  }
  cursor.boundCount = boundCount
  cursor.bucketCount = bucketCount
  if (bucketCount > BUCKETS_MAX) return `a histogram has more than ${BUCKETS_MAX} buckets`
  if (bucketCount !== boundCount + 1 && bucketCount + boundCount > 0) return 'a histogram has not one bucket more than bounds'
  return areIncreasing(bounds, boundCount) ? '' : 'the bounds of a histogram do not increase'
}

/** False for a NaN among them too. */
function areIncreasing(bounds: Float64Array, count: number): boolean {
  for (let index = 1; index < count; index++) if (!(bounds[index]! > bounds[index - 1]!)) return false
  return count !== 1 || !Number.isNaN(bounds[0])
}
