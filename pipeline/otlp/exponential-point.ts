// ExponentialHistogramDataPoint: buckets whose bounds are powers of 2^(2^-scale).
//
// Flow: metrics-reader -> exponential-point -> cursor. Hot: one pass, both bucket runs into the cursor's scratch.

import { addAttributes } from './attribute-keys.ts'
import { appendOne, appendVarints } from './buckets.ts'
import { clearDistribution, readDistributionField } from './distribution.ts'
import { BUCKETS_MAX, type PointCursor } from './point-cursor.ts'
import { readDouble, readFixed64, readStop, readVarint, skipField, type Wire, zigzag32 } from './wire.ts'

const ATTRIBUTE = 0x0a
const SCALE = 0x30
const ZERO_COUNT = 0x39
const POSITIVE = 0x42
const NEGATIVE = 0x4a
const FLAGS = 0x50
const MIN = 0x61
const MAX = 0x69
// Fields of Buckets.
const OFFSET = 0x08
const BUCKET = 0x10
const BUCKETS_PACKED = 0x12

/** Tag of the attribute field, for the lazy text. */
export const EXPONENTIAL_ATTRIBUTE = ATTRIBUTE

/** What `readBuckets` found besides the counts. */
const run = { offset: 0, count: 0 }

/**
 * Fills the cursor from ExponentialHistogramDataPoint [position, end).
 * @returns '' or the reason why the point cannot be used
 */
export function readExponentialPoint(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number): string {
  let at = position
  clear(cursor)
  while (at < end) {
    switch (bytes[at]) {
      case ATTRIBUTE:
        at = addAttributes(cursor, wire, bytes, view, at, end, ATTRIBUTE)
        break
      case POSITIVE:
        at = readStop(wire, bytes, at + 1, end)
        readBuckets(wire, bytes, wire.next, at, cursor.buckets)
        cursor.positiveOffset = run.offset
        cursor.bucketCount = run.count
        break
      case NEGATIVE:
        at = readStop(wire, bytes, at + 1, end)
        readBuckets(wire, bytes, wire.next, at, cursor.negativeBuckets)
        cursor.negativeOffset = run.offset
        cursor.negativeBucketCount = run.count
        break
      default:
        at = readExponentialScalar(cursor, wire, bytes, view, at, end)
    }
  }
  if (cursor.bucketCount > BUCKETS_MAX || cursor.negativeBucketCount > BUCKETS_MAX) return `an exponential histogram has more than ${BUCKETS_MAX} buckets`
  return ''
}

function clear(cursor: PointCursor): void {
  clearDistribution(cursor, Number.NaN)
  cursor.scale = 0
  cursor.zeroCount = 0
  cursor.positiveOffset = 0
  cursor.bucketCount = 0
  cursor.negativeOffset = 0
  cursor.negativeBucketCount = 0
}

/** Reads one Buckets message into `scratch` and `run`. */
function readBuckets(wire: Wire, bytes: Uint8Array, position: number, end: number, scratch: Float64Array): void {
  let at = position
  let offset = 0
  let count = 0
  while (at < end) {
    switch (bytes[at]) {
      case OFFSET:
        offset = zigzag32(readVarint(wire, at + 1, end))
        at = wire.next
        break
      case BUCKETS_PACKED:
        at = readStop(wire, bytes, at + 1, end)
        count = appendVarints(wire, bytes, scratch, count, wire.next, at)
        break
      case BUCKET:
        count = appendOne(scratch, count, readVarint(wire, at + 1, end))
        at = wire.next
        break
      default:
        at = skipField(wire, at, end)
    }
  }
  run.offset = offset
  run.count = count
}

function readExponentialScalar(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, at: number, end: number): number {
  switch (bytes[at]) {
    case SCALE:
      cursor.scale = zigzag32(readVarint(wire, at + 1, end))
      return wire.next
    case ZERO_COUNT:
      readFixed64(wire, view, at, end)
      cursor.zeroCount = wire.number
      return at + 9
    case FLAGS:
      cursor.noRecordedValue = readVarint(wire, at + 1, end) % 2 === 1
      return wire.next
    case MIN:
      readDouble(wire, view, at, end)
      cursor.min = wire.number
      return at + 9
    case MAX:
      readDouble(wire, view, at, end)
      cursor.max = wire.number
      return at + 9
    default:
      return readDistributionField(cursor, wire, bytes, view, at, end)
  }
}
