// The peer of `bench kafka`: the same points as one JSON message each, and a reader of them with the OTLP reader's own interface,
// so that the consumer and the scoring behind it are the same code.
//
// A careful implementation of its kind: one JSON.parse a message, attributes sorted into a text key, one Map look-up a point.

import { openReader as openOtlpReader } from '../../pipeline/otlp/reader.ts'
import { type OpenReader, POINT_KIND, type PointKind, type PointView, type ReadResult, type ResourceView } from '../../schemas/otlp.ts'
import { TOPICS } from '../../schemas/topics.ts'

/** The topic that holds the points of a format; the detector takes both for metrics. */
export const INPUTS = { otlp: TOPICS.metrics.name, json: TOPICS.logs.name } as const

interface JsonPoint {
  entity: string
  resource: Record<string, string>
  name: string
  unit: string
  kind: PointKind
  temporality: number
  monotonic: boolean
  timeMs: number
  startMs: number
  value: number
  attributes: Record<string, string>
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const EMPTY = new Float64Array(0)

/** Each gauge and sum point of the request as a message of its own. */
export function jsonMessages(request: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = []
  const reader = openOtlpReader({ fallback: { entity: 'bench', environment: 'bench' }, seed: 1 })
  reader.readMetrics(request, {
    point(view) {
      const { kind, temporality, monotonic, timeMs, startMs, value, resource } = view
      const numbers = { kind, temporality, monotonic, timeMs, startMs, value }
      const texts = { entity: resource.entity, resource: resource.attributes(), name: view.name(), unit: view.unit(), attributes: view.attributes() }
      messages.push(encoder.encode(JSON.stringify({ ...texts, ...numbers } satisfies JsonPoint)))
    }
  })
  return messages
}

/** Reads one such message a record. */
export const openJsonReader: OpenReader = ({ fallback }) => {
  const resources = new Map<string, ResourceView>()
  const series = new Map<string, number>()
  let current: JsonPoint
  const view = {
    ...{ resource: undefined as unknown as ResourceView, keyLow: 0, keyHigh: 0, kind: POINT_KIND.gauge as PointKind, temporality: 0, monotonic: false },
    ...{ timeMs: 0, startMs: 0, value: 0, noRecordedValue: false, count: Number.NaN, sum: Number.NaN, min: Number.NaN, max: Number.NaN },
    ...{ boundCount: 0, bucketCount: 0, bounds: EMPTY, buckets: EMPTY, scale: 0, zeroCount: 0, positiveOffset: 0, negativeOffset: 0 },
    ...{ negativeBucketCount: 0, negativeBuckets: EMPTY, quantileCount: 0, quantiles: EMPTY, quantileValues: EMPTY },
    name: () => current.name,
    unit: () => current.unit,
    description: () => '',
    attributes: () => current.attributes
  }

  function resourceOf({ entity, resource }: JsonPoint): ResourceView {
    let known = resources.get(entity)
    if (known === undefined) {
      const service = resource['service.name'] ?? entity
      known = {
        entityIndex: resources.size,
        entity,
        service,
        environment: fallback.environment,
        version: resource['service.version'] ?? '',
        attributes: () => resource
      }
      resources.set(entity, known)
    }
    return known
  }

  function readMetrics(message: Uint8Array, sink: { point(point: PointView): void }): ReadResult {
    current = JSON.parse(decoder.decode(message)) as JsonPoint
    const { entity, name, kind, attributes } = current
    const sorted = Object.keys(attributes)
      .sort()
      .map(attribute => `${attribute}=${attributes[attribute]}`)
    const key = `${entity}\u0000${name}\u0000${kind}\u0000${sorted.join('\u0000')}`
    let number = series.get(key)
    if (number === undefined) {
      number = series.size + 1
      series.set(key, number)
    }
    view.resource = resourceOf(current)
    view.keyLow = Math.imul(number, 0x9e3779b1) | 0
    view.keyHigh = number
    view.kind = kind
    view.temporality = current.temporality
    view.monotonic = current.monotonic
    view.timeMs = current.timeMs
    view.startMs = current.startMs
    view.value = current.value
    sink.point(view)
    return { accepted: 1, rejected: 0, reason: '' }
  }

  const none = (): ReadResult => ({ accepted: 0, rejected: 0, reason: '' })
  return { readMetrics, readSpans: none, readLogs: none }
}
