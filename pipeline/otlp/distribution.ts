// What histograms, exponential histograms and summaries have in common: times, count and sum under the same field numbers.
//
// Flow: the readers of the three kinds clear the cursor and hand here what is not their own.

import type { PointCursor } from './point-cursor.ts'
import { readDouble, readFixed64, skipField, type Wire } from './wire.ts'

const START = 0x11
const TIME = 0x19
const COUNT = 0x21
const SUM = 0x29

/** Prepares the cursor for the next point. @param sum what an unset sum means */
export function clearDistribution(cursor: PointCursor, sum: number): void {
  cursor.keyLow = cursor.baseLow
  cursor.keyHigh = cursor.baseHigh
  cursor.timeMs = 0
  cursor.startMs = 0
  cursor.count = 0
  cursor.sum = sum
  cursor.min = Number.NaN
  cursor.max = Number.NaN
  cursor.noRecordedValue = false
}

/** Reads one field that the kinds share, or skips it. @returns the position after it */
export function readDistributionField(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, at: number, end: number): number {
  switch (bytes[at]) {
    case START:
      readFixed64(wire, view, at, end)
      cursor.startMs = wire.number / 1e6
      return at + 9
    case TIME:
      readFixed64(wire, view, at, end)
      cursor.timeMs = wire.number / 1e6
      return at + 9
    case COUNT:
      readFixed64(wire, view, at, end)
      cursor.count = wire.number
      return at + 9
    case SUM:
      readDouble(wire, view, at, end)
      cursor.sum = wire.number
      return at + 9
    default:
      return skipField(wire, at, end)
  }
}
