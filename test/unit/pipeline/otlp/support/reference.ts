// The same request by protobufjs and plain objects: the other side of the differential tests. Slow, simple, allocating.

import type { Type } from 'protobufjs'
import { otlpRoot } from '../../../../../pipeline/otlp/descriptor.ts'
import { entityIdentity } from '../../../../../schemas/entity.ts'
import { FALLBACK, type Resourceful, type SeenLog, type SeenPoint, type SeenSpan } from './collect.ts'

export type Signal = 'metrics' | 'trace' | 'logs'
const MESSAGE = { metrics: 'ExportMetricsServiceRequest', trace: 'ExportTraceServiceRequest', logs: 'ExportLogsServiceRequest' }

export function requestType(signal: Signal): Type {
  return otlpRoot().lookupType(`opentelemetry.proto.collector.${signal}.v1.${MESSAGE[signal]}`)
}

/** A message as protobufjs' toObject gives it: only what is set, 64-bit integers as decimal text. */
type Plain = any

export function plainRequest(signal: Signal, bytes: Uint8Array): Plain {
  const type = requestType(signal)
  return type.toObject(type.decode(bytes), { longs: String, bytes: Buffer, enums: Number, arrays: true, oneofs: true })
}

const DATA = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'] as const
const ms = (nanoseconds: string | undefined): number => Number(BigInt(nanoseconds ?? '0')) / 1e6
const byKind = (kind: number, kinds: readonly number[], value: number): number => (kinds.includes(kind) ? value : Number.NaN)

/** Every point that can be used, with an identity that says in text what a series key must tell apart. */
export function expectedPoints(bytes: Uint8Array): { points: SeenPoint[]; identities: string[]; rejected: number } {
  const points: SeenPoint[] = []
  const identities: string[] = []
  let rejected = 0
  for (const { resource, scopes } of resourceful(plainRequest('metrics', bytes).resourceMetrics, 'scopeMetrics')) {
    for (const metric of scopes.flatMap((scope: Plain) => scope.metrics)) {
      const kind = DATA.indexOf(metric.data)
      if (kind < 0) rejected++
      for (const point of kind < 0 ? [] : metric[metric.data].dataPoints) {
        if (kind < 2 && point.value === undefined && (point.flags ?? 0) % 2 === 0) {
          rejected++
          continue
        }
        points.push(expectedPoint(resource, metric, kind, point))
        identities.push(
          JSON.stringify([resource.environment, resource.entity, metric.name ?? '', kind, point.attributes.map((one: Plain) => typed(one)).sort()])
        )
      }
    }
  }
  return { points, identities, rejected }
}

function expectedPoint(resource: Resourceful, metric: Plain, kind: number, point: Plain): SeenPoint {
  const data = metric[metric.data]
  const noRecordedValue = (point.flags ?? 0) % 2 === 1
  const value = point.value === 'asInt' ? Number(BigInt(point.asInt)) : point.value === 'asDouble' ? point.asDouble : Number.NaN
  return {
    ...resource,
    name: metric.name ?? '',
    unit: metric.unit ?? '',
    description: metric.description ?? '',
    kind,
    temporality: data.aggregationTemporality ?? 0,
    monotonic: data.isMonotonic ?? false,
    timeMs: ms(point.timeUnixNano),
    startMs: ms(point.startTimeUnixNano),
    noRecordedValue,
    attributes: textAttributes(point.attributes),
    value: noRecordedValue || kind > 1 ? Number.NaN : value,
    distribution: kind < 2 ? null : expectedDistribution(kind, point)
  }
}

function expectedDistribution(kind: number, point: Plain): NonNullable<SeenPoint['distribution']> {
  return {
    count: Number(point.count ?? 0),
    sum: point.sum ?? (kind === 4 ? 0 : Number.NaN),
    min: byKind(kind, [2, 3], point.min ?? Number.NaN),
    max: byKind(kind, [2, 3], point.max ?? Number.NaN),
    bounds: point.explicitBounds ?? [],
    buckets: (point.bucketCounts ?? point.positive?.bucketCounts ?? []).map(Number),
    scale: point.scale ?? 0,
    zeroCount: Number(point.zeroCount ?? 0),
    positiveOffset: point.positive?.offset ?? 0,
    negativeOffset: point.negative?.offset ?? 0,
    negativeBuckets: (point.negative?.bucketCounts ?? []).map(Number),
    quantiles: (point.quantileValues ?? []).map((one: Plain) => one.quantile ?? 0),
    quantileValues: (point.quantileValues ?? []).map((one: Plain) => one.value ?? 0)
  }
}

export function expectedSpans(bytes: Uint8Array): SeenSpan[] {
  return resourceful(plainRequest('trace', bytes).resourceSpans, 'scopeSpans').flatMap(({ resource, scopes }) =>
    scopes
      .flatMap((scope: Plain) => scope.spans)
      .map((span: Plain) => {
        const hex = (id: Buffer | undefined, size: number): string => (id?.length ? id : Buffer.alloc(size)).toString('hex')
        return {
          ...resource,
          timeMs: ms(span.startTimeUnixNano),
          durationMs: Math.max(0, ms(span.endTimeUnixNano) - ms(span.startTimeUnixNano)),
          kind: span.kind ?? 0,
          status: span.status?.code ?? 0,
          name: span.name ?? '',
          statusMessage: span.status?.message ?? '',
          traceId: span.traceId?.toString('hex') ?? '',
          spanId: span.spanId?.toString('hex') ?? '',
          parentLanes: hex(span.parentSpanId, 8),
          spanLanes: hex(span.spanId, 8),
          traceLanes: hex(span.traceId, 16).slice(16),
          attributes: textAttributes(span.attributes)
        }
      })
  )
}

export function expectedLogs(bytes: Uint8Array): SeenLog[] {
  return resourceful(plainRequest('logs', bytes).resourceLogs, 'scopeLogs').flatMap(({ resource, scopes }) =>
    scopes
      .flatMap((scope: Plain) => scope.logRecords)
      .map((record: Plain) => ({
        ...resource,
        timeMs: ms(record.timeUnixNano) || ms(record.observedTimeUnixNano),
        observedMs: ms(record.observedTimeUnixNano),
        severityNumber: record.severityNumber ?? 0,
        severityText: record.severityText ?? '',
        body: text(record.body),
        bytes: record.body?.value === 'stringValue' ? record.body.stringValue : '',
        traceId: record.traceId?.toString('hex') ?? '',
        attributes: textAttributes(record.attributes)
      }))
  )
}

function resourceful(list: Plain[], scopes: string): { resource: Resourceful; scopes: Plain[] }[] {
  return list.map(one => {
    const attributes = textAttributes(one.resource?.attributes ?? [])
    const { entity, environment } = entityIdentity(name => (Object.hasOwn(attributes, name) ? attributes[name] : undefined), FALLBACK)
    return { resource: { entity, environment, resource: attributes }, scopes: one[scopes] }
  })
}

function textAttributes(list: Plain[]): Record<string, string> {
  return Object.fromEntries(list.map(one => [one.key ?? '', text(one.value)]))
}

function text(value: Plain): string {
  switch (value?.value) {
    case undefined:
      return ''
    case 'arrayValue':
    case 'kvlistValue':
      return JSON.stringify(json(value))
    case 'intValue':
      return value.intValue
    default:
      return String(json(value))
  }
}

function json(value: Plain): unknown {
  switch (value?.value) {
    case 'intValue':
      return Number.isSafeInteger(Number(value.intValue)) ? Number(value.intValue) : value.intValue
    case 'doubleValue':
      return Number.isFinite(value.doubleValue) ? value.doubleValue : String(value.doubleValue)
    case 'bytesValue':
      return value.bytesValue.toString('base64')
    case 'arrayValue':
      return value.arrayValue.values.map(json)
    case 'kvlistValue': {
      const map = Object.create(null)
      for (const one of value.kvlistValue.values) map[one.key ?? ''] = json(one.value)
      return map
    }
    default:
      return value?.[value.value] ?? null
  }
}

/** One attribute with the type of its value: `1` and `true` and `"1"` are different series. */
function typed(one: Plain): string {
  return JSON.stringify([one.key ?? '', one.value?.value ?? 'none', text(one.value)])
}
