// The one object through which every data point of a reader is seen: fields overwritten in place, text made when asked for.
//
// Flow: metrics-reader positions it, the point readers fill it, the sink looks at it. One thread, one reader, fixed shape:
// fields that will hold doubles start as doubles, so that V8 settles the object's layout before the first request.

import { POINT_KIND, type PointKind, type PointView } from '../../schemas/otlp.ts'
import { attributesText, textAt } from './any-value.ts'
import type { Hasher } from './hash.ts'
import type { ResourceCursor } from './resources.ts'
import type { Wire } from './wire.ts'

/**
 * Buckets of one histogram. SDKs send 16 explicit and at most 160 exponential ones, Prometheus' native histograms a few hundred;
 * a point with more is rejected with its reason.
 */
export const BUCKETS_MAX = 1024
/** Quantiles of one summary; clients send three to nine. */
export const QUANTILES_MAX = 128

export interface PointCursor extends PointView {
  resource: ResourceCursor
  kind: PointKind
  readonly hasher: Hasher
  /** Key lanes of entity, kind and name: where each point's key starts. */
  baseLow: number
  baseHigh: number
  /** Ranges of the metric's texts and of the current point's message, and the tag of its attributes. */
  nameStart: number
  nameEnd: number
  unitStart: number
  unitEnd: number
  descriptionStart: number
  descriptionEnd: number
  pointStart: number
  pointEnd: number
  attributeTag: number
}

export function makePointCursor(wire: Wire, hasher: Hasher, resource: ResourceCursor): PointCursor {
  const cursor: PointCursor = {
    ...{ resource, hasher, kind: POINT_KIND.gauge, temporality: 0, monotonic: false, noRecordedValue: false },
    ...{ keyLow: 0, keyHigh: 0, baseLow: 0, baseHigh: 0, attributeTag: 0, scale: 0, positiveOffset: 0, negativeOffset: 0 },
    ...{ timeMs: 0.5, startMs: 0.5, value: Number.NaN, count: 0.5, sum: 0.5, min: 0.5, max: 0.5, zeroCount: 0.5 },
    ...{ boundCount: 0, bucketCount: 0, negativeBucketCount: 0, quantileCount: 0 },
    ...{ nameStart: 0, nameEnd: 0, unitStart: 0, unitEnd: 0, descriptionStart: 0, descriptionEnd: 0, pointStart: 0, pointEnd: 0 },
    bounds: new Float64Array(BUCKETS_MAX),
    buckets: new Float64Array(BUCKETS_MAX),
    negativeBuckets: new Float64Array(BUCKETS_MAX),
    quantiles: new Float64Array(QUANTILES_MAX),
    quantileValues: new Float64Array(QUANTILES_MAX),
    name: () => textAt(wire, cursor.nameStart, cursor.nameEnd),
    unit: () => textAt(wire, cursor.unitStart, cursor.unitEnd),
    description: () => textAt(wire, cursor.descriptionStart, cursor.descriptionEnd),
    attributes: () => attributesText(wire, cursor.pointStart, cursor.pointEnd, cursor.attributeTag)
  }
  return cursor
}

/** Clears what a kind of point does not set, once per metric. */
export function resetPoint(cursor: PointCursor): void {
  cursor.value = Number.NaN
  cursor.count = 0
  cursor.sum = Number.NaN
  cursor.min = Number.NaN
  cursor.max = Number.NaN
  cursor.zeroCount = 0
  cursor.scale = 0
  cursor.positiveOffset = 0
  cursor.negativeOffset = 0
  cursor.boundCount = 0
  cursor.bucketCount = 0
  cursor.negativeBucketCount = 0
  cursor.quantileCount = 0
}
