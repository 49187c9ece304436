// Points as the OTLP reader would hand them over: one cursor per series, written in place, so that a week of a fleet costs no garbage.

import { entityService } from '../../../schemas/entity.ts'
import { POINT_KIND, type PointKind, type PointView, type ResourceView, TEMPORALITY } from '../../../schemas/otlp.ts'

export const ENVIRONMENT = 'simulated'

/** Boundaries of the semantic conventions for durations, seconds. */
export const BOUNDS_S = Float64Array.of(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

let entities = 0

export function resourceOf(entity: string): ResourceView {
  const service = entity.startsWith('@') ? '' : entityService(entity).split('/').at(-1)!
  return { entityIndex: entities++, entity, service, environment: ENVIRONMENT, version: '', attributes: () => ({}) }
}

export interface Instruments {
  readonly resource: ResourceView
  gauge(name: string, unit: string, attributes?: Record<string, string>): PointView
  /** Cumulative and monotonic: add to its value. */
  counter(name: string, unit: string, attributes?: Record<string, string>): PointView
  /** Cumulative and not monotonic. */
  level(name: string, unit: string, attributes?: Record<string, string>): PointView
  /** Cumulative, explicit bounds. */
  histogram(name: string, unit: string, attributes?: Record<string, string>): PointView
  /** What detectors/derive makes of a window of spans or logs. */
  derivedSum(name: string, unit: string, attributes: Record<string, string>): PointView
  derivedHistogram(name: string, unit: string, attributes: Record<string, string>): PointView
}

/** Instruments of one entity that was started at `startMs`. */
export function instrumentsOf(entity: string, startMs: number): Instruments {
  const resource = resourceOf(entity)
  const make = (name: string, unit: string, kind: PointKind, temporality: number, monotonic: boolean, attributes: Record<string, string> = {}): PointView => {
    const view = cursor(resource, name, unit, kind, attributes)
    view.temporality = temporality
    view.monotonic = monotonic
    view.startMs = temporality === TEMPORALITY.cumulative ? startMs : 0
    if (kind === POINT_KIND.gauge || kind === POINT_KIND.sum) view.value = 0
    return view
  }
  return {
    resource,
    gauge: (name, unit, attributes) => make(name, unit, POINT_KIND.gauge, TEMPORALITY.unspecified, false, attributes),
    counter: (name, unit, attributes) => make(name, unit, POINT_KIND.sum, TEMPORALITY.cumulative, true, attributes),
    level: (name, unit, attributes) => make(name, unit, POINT_KIND.sum, TEMPORALITY.cumulative, false, attributes),
    histogram(name, unit, attributes) {
      const view = make(name, unit, POINT_KIND.histogram, TEMPORALITY.cumulative, false, attributes)
      view.bounds = BOUNDS_S
      view.boundCount = BOUNDS_S.length
      view.bucketCount = BOUNDS_S.length + 1
      view.buckets = new Float64Array(view.bucketCount)
      return view
    },
    derivedSum: (name, unit, attributes) => make(name, unit, POINT_KIND.sum, TEMPORALITY.delta, true, attributes),
    derivedHistogram: (name, unit, attributes) => make(name, unit, POINT_KIND.exponentialHistogram, TEMPORALITY.delta, false, attributes)
  }
}

/** A point of nothing yet; its key is a hash of what it is. */
export function cursor(resource: ResourceView, name: string, unit: string, kind: PointKind, attributes: Record<string, string>): PointView {
  const identity = JSON.stringify([resource.entity, name, kind, Object.entries(attributes).sort()])
  return {
    resource,
    keyLow: hash(identity, 17),
    keyHigh: hash(identity, 91),
    kind,
    temporality: TEMPORALITY.unspecified,
    monotonic: false,
    timeMs: 0,
    startMs: 0,
    value: Number.NaN,
    noRecordedValue: false,
    count: 0,
    sum: 0,
    min: Number.NaN,
    max: Number.NaN,
    boundCount: 0,
    bucketCount: 0,
    bounds: new Float64Array(0),
    buckets: new Float64Array(0),
    scale: 0,
    zeroCount: 0,
    positiveOffset: 0,
    negativeOffset: 0,
    negativeBucketCount: 0,
    negativeBuckets: new Float64Array(0),
    quantileCount: 0,
    quantiles: new Float64Array(0),
    quantileValues: new Float64Array(0),
    name: () => name,
    unit: () => unit,
    description: () => '',
    attributes: () => attributes
  }
}

/** 32 bits of a text; another seed, another hash. */
export function hash(text: string, seed: number): number {
  let value = seed
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x9e3779b1) ^ (value >>> 15)
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  return (value ^ (value >>> 13)) | 0
}
