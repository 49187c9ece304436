// What a reader shows of a request, copied out of its cursors: the one side of the differential tests.

import type { LogView, OtlpReader, PointView, ReadResult, ResourceView, SpanView } from '../../../../../schemas/otlp.ts'
import { openReader } from '../../../../../pipeline/otlp/reader.ts'

export const FALLBACK = { entity: 'nobody', environment: 'test' }

/** A reader as the tests use it. */
export function aReader(seed = 1): OtlpReader {
  return openReader({ fallback: FALLBACK, seed })
}

export interface Resourceful {
  entity: string
  environment: string
  resource: Record<string, string>
}
export interface SeenPoint extends Resourceful {
  name: string
  unit: string
  description: string
  kind: number
  temporality: number
  monotonic: boolean
  timeMs: number
  startMs: number
  noRecordedValue: boolean
  attributes: Record<string, string>
  value: number
  /** Numbers of the other kinds, null for a number point. */
  distribution: Distribution | null
}
export interface Distribution {
  count: number
  sum: number
  min: number
  max: number
  bounds: number[]
  buckets: number[]
  scale: number
  zeroCount: number
  positiveOffset: number
  negativeOffset: number
  negativeBuckets: number[]
  quantiles: number[]
  quantileValues: number[]
}

const seenResource = (view: ResourceView): Resourceful => ({ entity: view.entity, environment: view.environment, resource: { ...view.attributes() } })
const head = (values: Float64Array, count: number): number[] => [...values.subarray(0, count)]

export function seenPoint(view: PointView): SeenPoint {
  return {
    ...seenResource(view.resource),
    name: view.name(),
    unit: view.unit(),
    description: view.description(),
    kind: view.kind,
    temporality: view.temporality,
    monotonic: view.monotonic,
    timeMs: view.timeMs,
    startMs: view.startMs,
    noRecordedValue: view.noRecordedValue,
    attributes: { ...view.attributes() },
    value: view.value,
    distribution: view.kind < 2 ? null : seenDistribution(view)
  }
}

function seenDistribution(view: PointView): Distribution {
  return {
    count: view.count,
    sum: view.sum,
    min: view.min,
    max: view.max,
    bounds: head(view.bounds, view.boundCount),
    buckets: head(view.buckets, view.bucketCount),
    scale: view.scale,
    zeroCount: view.zeroCount,
    positiveOffset: view.positiveOffset,
    negativeOffset: view.negativeOffset,
    negativeBuckets: head(view.negativeBuckets, view.negativeBucketCount),
    quantiles: head(view.quantiles, view.quantileCount),
    quantileValues: head(view.quantileValues, view.quantileCount)
  }
}

/** All points of a request with their keys, and the reader's count. */
export function seenPoints(request: Uint8Array, reader = aReader()): { points: SeenPoint[]; keys: string[]; result: ReadResult } {
  const points: SeenPoint[] = []
  const keys: string[] = []
  const result = reader.readMetrics(request, {
    point(view) {
      points.push(seenPoint(view))
      keys.push(`${view.keyLow}/${view.keyHigh}`)
    }
  })
  return { points, keys, result }
}

export interface SeenSpan extends Resourceful {
  timeMs: number
  durationMs: number
  kind: number
  status: number
  name: string
  statusMessage: string
  traceId: string
  spanId: string
  parentLanes: string
  spanLanes: string
  traceLanes: string
  attributes: Record<string, string | undefined>
}

const lane = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')

/** @param names attributes to ask for, span by span in order */
export function seenSpans(request: Uint8Array, names: readonly (readonly string[])[] = []): { spans: SeenSpan[]; result: ReadResult } {
  const spans: SeenSpan[] = []
  const result = aReader().readSpans(request, { span: view => spans.push(seenSpan(view, names[spans.length] ?? [])) })
  return { spans, result }
}

function seenSpan(view: SpanView, names: readonly string[]): SeenSpan {
  return {
    ...seenResource(view.resource),
    timeMs: view.timeMs,
    durationMs: view.durationMs,
    kind: view.kind,
    status: view.status,
    name: view.name(),
    statusMessage: view.statusMessage(),
    traceId: view.traceId(),
    spanId: view.spanId(),
    parentLanes: lane(view.parentIdHigh) + lane(view.parentIdLow),
    spanLanes: lane(view.spanIdHigh) + lane(view.spanIdLow),
    traceLanes: lane(view.traceIdHigh) + lane(view.traceIdLow),
    attributes: Object.fromEntries(names.map(name => [name, view.attribute(name)]))
  }
}

export interface SeenLog extends Resourceful {
  timeMs: number
  observedMs: number
  severityNumber: number
  severityText: string
  body: string
  /** The body as its bytes show it, '' when it is not a string. */
  bytes: string
  traceId: string
  attributes: Record<string, string | undefined>
}

/** @param names attributes to ask for, record by record in order */
export function seenLogs(request: Uint8Array, names: readonly (readonly string[])[] = []): { logs: SeenLog[]; result: ReadResult } {
  const logs: SeenLog[] = []
  const result = aReader().readLogs(request, { log: view => logs.push(seenLog(view, names[logs.length] ?? [])) })
  return { logs, result }
}

function seenLog(view: LogView, names: readonly string[]): SeenLog {
  return {
    ...seenResource(view.resource),
    timeMs: view.timeMs,
    observedMs: view.observedMs,
    severityNumber: view.severityNumber,
    severityText: view.severityText(),
    body: view.body(1_000_000),
    bytes: new TextDecoder().decode(view.bytes.subarray(view.bodyStart, view.bodyEnd)),
    traceId: view.traceId(),
    attributes: Object.fromEntries(names.map(name => [name, view.attribute(name)]))
  }
}
