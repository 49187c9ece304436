// Whole OTLP requests as objects, for the store: protobufjs messages with typed shapes and the readings they need.
//
// The hot path does not come here (pipeline/otlp/reader.ts walks the bytes); the store decodes each slice once more because
// it keeps everything: exemplars, links, nested attributes. Pure functions, any thread.
//
// Traps of protobufjs that `has` and the 64-bit helpers answer: an unset oneof member reads 0 or '' from the prototype, and
// 64-bit fields are Long objects whose numbers are exact only up to 2^53.

import type { Message, Type } from 'protobufjs'
import { AppError } from '../../schemas/errors.ts'
import { otlpRoot } from './descriptor.ts'

/** A 64-bit integer as protobufjs gives it: two 32-bit halves. */
export interface Long64 {
  low: number
  high: number
  unsigned: boolean
}
export interface AnyValue {
  stringValue: string
  boolValue: boolean
  intValue: Long64
  doubleValue: number
  arrayValue: { values: AnyValue[] }
  kvlistValue: { values: KeyValue[] }
  bytesValue: Uint8Array
}
export interface KeyValue {
  key: string
  value?: AnyValue | null
}
export interface Resource {
  attributes: KeyValue[]
}
export interface Scope {
  name: string
  version: string
  attributes: KeyValue[]
  droppedAttributesCount: number
}
export interface Exemplar {
  filteredAttributes: KeyValue[]
  timeUnixNano: Long64
  asDouble: number
  asInt: Long64
  spanId: Uint8Array
  traceId: Uint8Array
}
interface Point {
  attributes: KeyValue[]
  startTimeUnixNano: Long64
  timeUnixNano: Long64
  flags: number
}
export interface NumberPoint extends Point {
  asDouble: number
  asInt: Long64
  exemplars: Exemplar[]
}
interface DistributionPoint extends Point {
  count: Long64
  sum: number
  min: number
  max: number
  exemplars: Exemplar[]
}
export interface HistogramPoint extends DistributionPoint {
  bucketCounts: Long64[]
  explicitBounds: number[]
}
export interface Buckets {
  offset: number
  bucketCounts: Long64[]
}
export interface ExponentialPoint extends DistributionPoint {
  scale: number
  zeroCount: Long64
  positive?: Buckets | null
  negative?: Buckets | null
}
export interface SummaryPoint extends Point {
  count: Long64
  sum: number
  quantileValues: { quantile: number; value: number }[]
}
export interface Metric {
  name: string
  description: string
  unit: string
  gauge?: { dataPoints: NumberPoint[] } | null
  sum?: { dataPoints: NumberPoint[]; aggregationTemporality: number; isMonotonic: boolean } | null
  histogram?: { dataPoints: HistogramPoint[]; aggregationTemporality: number } | null
  exponentialHistogram?: { dataPoints: ExponentialPoint[]; aggregationTemporality: number } | null
  summary?: { dataPoints: SummaryPoint[] } | null
}
export interface Span {
  traceId: Uint8Array
  spanId: Uint8Array
  parentSpanId: Uint8Array
  traceState: string
  name: string
  kind: number
  startTimeUnixNano: Long64
  endTimeUnixNano: Long64
  attributes: KeyValue[]
  events: { timeUnixNano: Long64; name: string; attributes: KeyValue[] }[]
  links: { traceId: Uint8Array; spanId: Uint8Array; traceState: string; attributes: KeyValue[] }[]
  status?: { message: string; code: number } | null
}
export interface LogEntry {
  timeUnixNano: Long64
  observedTimeUnixNano: Long64
  severityNumber: number
  severityText: string
  body?: AnyValue | null
  attributes: KeyValue[]
  flags: number
  traceId: Uint8Array
  spanId: Uint8Array
  eventName: string
}
interface OfResource<ScopePart> {
  resource?: Resource | null
  schemaUrl: string
  scopes: ScopePart[]
}
interface OfScope {
  scope?: Scope | null
  schemaUrl: string
}
export type ResourceMetrics = OfResource<OfScope & { metrics: Metric[] }>
export type ResourceSpans = OfResource<OfScope & { spans: Span[] }>
export type ResourceLogs = OfResource<OfScope & { logRecords: LogEntry[] }>

const types = new Map<string, Type>()

/** Resources of an ExportMetricsServiceRequest. @throws AppError `malformed_otlp` */
export function decodeMetrics(request: Uint8Array): ResourceMetrics[] {
  return resources<{ resourceMetrics: (ResourceMetrics & { scopeMetrics: ResourceMetrics['scopes'] })[] }>('metrics', 'Metrics', request).resourceMetrics.map(
    part => ({ resource: part.resource ?? null, schemaUrl: part.schemaUrl, scopes: part.scopeMetrics })
  )
}

/** Resources of an ExportTraceServiceRequest. @throws AppError `malformed_otlp` */
export function decodeSpans(request: Uint8Array): ResourceSpans[] {
  return resources<{ resourceSpans: (ResourceSpans & { scopeSpans: ResourceSpans['scopes'] })[] }>('trace', 'Trace', request).resourceSpans.map(part => ({
    resource: part.resource ?? null,
    schemaUrl: part.schemaUrl,
    scopes: part.scopeSpans
  }))
}

/** Resources of an ExportLogsServiceRequest. @throws AppError `malformed_otlp` */
export function decodeLogs(request: Uint8Array): ResourceLogs[] {
  return resources<{ resourceLogs: (ResourceLogs & { scopeLogs: ResourceLogs['scopes'] })[] }>('logs', 'Logs', request).resourceLogs.map(part => ({
    resource: part.resource ?? null,
    schemaUrl: part.schemaUrl,
    scopes: part.scopeLogs
  }))
}

function resources<Shape>(signal: string, service: string, request: Uint8Array): Shape {
  const name = `opentelemetry.proto.collector.${signal}.v1.Export${service}ServiceRequest`
  let type = types.get(name)
  if (!type) {
    type = otlpRoot().lookupType(name)
    types.set(name, type)
  }
  try {
    return type.decode(request) as Message & Shape
  } catch (cause) {
    throw new AppError('malformed_otlp', `not a valid Export${service}ServiceRequest: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** True when the sender set this field, which a prototype's default cannot say. */
export function has(message: object, field: string): boolean {
  return Object.hasOwn(message, field) && (message as Record<string, unknown>)[field] != null
}

/** The exact value of a 64-bit field. */
export function bigintOf(value: Long64 | number): bigint {
  if (typeof value === 'number') return BigInt(value)
  const bits = (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0)
  return value.unsigned ? bits : BigInt.asIntN(64, bits)
}

/** The value as a number, rounded beyond 2^53. */
export function numberOf(value: Long64 | number): number {
  if (typeof value === 'number') return value
  const high = value.unsigned ? value.high >>> 0 : value.high
  return high * 2 ** 32 + (value.low >>> 0)
}

/** Id bytes as lower-case hex; '' for an empty or an all-zero id, which OTLP calls invalid. */
export function hexId(bytes: Uint8Array): string {
  return bytes.every(byte => byte === 0) ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Any value as text, the way the Collector does: strings as they are, bytes base64, lists and maps as JSON. */
export function valueText(value: AnyValue | null | undefined): string {
  if (!value) return ''
  if (has(value, 'stringValue')) return value.stringValue
  const plain = plainValue(value)
  return plain === null ? '' : typeof plain === 'object' ? JSON.stringify(plain) : String(plain)
}

/** Any value as JSON data; integers beyond 2^53 as text. */
export function plainValue(value: AnyValue | null | undefined): unknown {
  if (!value) return null
  if (has(value, 'stringValue')) return value.stringValue
  if (has(value, 'boolValue')) return value.boolValue
  if (has(value, 'intValue')) {
    const number = numberOf(value.intValue)
    return Number.isSafeInteger(number) ? number : String(bigintOf(value.intValue))
  }
  if (has(value, 'doubleValue')) return Number.isFinite(value.doubleValue) ? value.doubleValue : String(value.doubleValue)
  if (has(value, 'arrayValue')) return value.arrayValue.values.map(plainValue)
  if (has(value, 'kvlistValue')) return Object.fromEntries(value.kvlistValue.values.map(pair => [pair.key, plainValue(pair.value)]))
  if (has(value, 'bytesValue')) return Buffer.from(value.bytesValue).toString('base64')
  return null
}

/** Attributes as text by name; of a name given twice the last value wins, as in a map. */
export function attributesText(attributes: readonly KeyValue[]): Record<string, string> {
  const map = Object.create(null) as Record<string, string> // Without a prototype even `__proto__` is a name like any other.
  for (const { key, value } of attributes) map[key] = valueText(value)
  return map
}
