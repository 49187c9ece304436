// HistogramDataPoint: explicit buckets.
//
// Flow: metrics-reader -> histogram-point -> cursor. Hot: one pass, bounds and counts into the cursor's scratch.

import { addAttributes } from './attribute-keys.ts'
import { appendDoubles, appendFixed, appendOne } from './buckets.ts'
import { BUCKETS_MAX, type PointCursor } from './point-cursor.ts'
import { doubleField, fixedField, readStop, readVarint, skipField, type Wire } from './wire.ts'

const START = 0x11
const TIME = 0x19
const COUNT = 0x21
const SUM = 0x29
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
  clear(cursor)
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
        bucketCount = appendOne(buckets, bucketCount, fixedField(view, at, end))
        at += 9
        break
      case BOUND:
        boundCount = appendOne(bounds, boundCount, doubleField(view, at, end))
        at += 9
        break
      default:
        at = readHistogramScalar(cursor, wire, bytes, view, at, end)
    }
  }
  cursor.boundCount = boundCount
  cursor.bucketCount = bucketCount
  if (bucketCount > BUCKETS_MAX) return `a histogram has more than ${BUCKETS_MAX} buckets`
  if (bucketCount !== boundCount + 1 && bucketCount + boundCount > 0) return 'a histogram has not one bucket more than bounds'
  return areIncreasing(bounds, boundCount) ? '' : 'the bounds of a histogram do not increase'
}

function clear(cursor: PointCursor): void {
  cursor.keyLow = cursor.baseLow
  cursor.keyHigh = cursor.baseHigh
  cursor.timeMs = 0
  cursor.startMs = 0
  cursor.count = 0
  cursor.sum = Number.NaN
  cursor.min = Number.NaN
  cursor.max = Number.NaN
  cursor.noRecordedValue = false
}

function readHistogramScalar(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, at: number, end: number): number {
  switch (bytes[at]) {
    case START:
      cursor.startMs = fixedField(view, at, end) / 1e6
      return at + 9
    case TIME:
      cursor.timeMs = fixedField(view, at, end) / 1e6
      return at + 9
    case COUNT:
      cursor.count = fixedField(view, at, end)
      return at + 9
    case SUM:
      cursor.sum = doubleField(view, at, end)
      return at + 9
    case MIN:
      cursor.min = doubleField(view, at, end)
      return at + 9
    case MAX:
      cursor.max = doubleField(view, at, end)
      return at + 9
    case FLAGS:
      cursor.noRecordedValue = readVarint(wire, at + 1, end) % 2 === 1
      return wire.next
    default:
      return skipField(wire, at, end)
  }
}

/** False for a NaN among them too. */
function areIncreasing(bounds: Float64Array, count: number): boolean {
  for (let index = 1; index < count; index++) if (!(bounds[index]! > bounds[index - 1]!)) return false
  return count !== 1 || !Number.isNaN(bounds[0])
}
