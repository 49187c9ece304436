// An ExportTraceServiceRequest as rows of otel_traces, column for column as the Collector's exporter writes them.

import { attributesText, bigintOf, decodeSpans, hexId, numberOf, type Span } from '../../otlp/decode.ts'
import type { SignalRows } from './metric-rows.ts'
import { sightingOf } from './sighting.ts'
import { nanosText, type Row } from './values.ts'

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']

/** Rows of one request. @param receivedMs stands in for a missing start time @throws AppError `malformed_otlp` */
export function spanRows(request: Uint8Array, defaults: { entity: string; environment: string }, receivedMs: number): SignalRows {
  const result: SignalRows = { rows: [], sightings: [], unusable: 0 }
  for (const { resource, scopes } of decodeSpans(request)) {
    const attributes = attributesText(resource?.attributes ?? [])
    let lastMs = 0
    for (const { scope, spans } of scopes) {
      const scoped = {
        ServiceName: attributes['service.name'] ?? '',
        ResourceAttributes: attributes,
        ScopeName: scope?.name ?? '',
        ScopeVersion: scope?.version ?? ''
      }
      for (const span of spans) {
        const timeMs = numberOf(span.startTimeUnixNano) / 1e6 || receivedMs
        if (timeMs > lastMs) lastMs = timeMs
        result.rows.push({ table: 'otel_traces', row: { ...spanColumns(span, receivedMs), ...scoped } })
      }
    }
    if (lastMs > 0) result.sightings.push(sightingOf('span', attributes, defaults, lastMs))
  }
  return result
}

function spanColumns(span: Span, receivedMs: number): Row {
  const durationNanos = bigintOf(span.endTimeUnixNano) - bigintOf(span.startTimeUnixNano)
  return {
    Timestamp: nanosText(span.startTimeUnixNano, receivedMs),
    TraceId: hexId(span.traceId),
    SpanId: hexId(span.spanId),
    ParentSpanId: hexId(span.parentSpanId),
    TraceState: span.traceState,
    SpanName: span.name,
    SpanKind: KINDS[span.kind] ?? KINDS[0],
    SpanAttributes: attributesText(span.attributes),
    // A span that ends before it starts, or never says when, has no duration that could be stated.
    Duration: durationNanos > 0n ? String(durationNanos) : 0,
    StatusCode: STATUSES[span.status?.code ?? 0] ?? STATUSES[0],
    StatusMessage: span.status?.message ?? '',
    ...eventColumns(span),
    ...linkColumns(span)
  }
}

function eventColumns({ events }: Span): Row {
  if (events.length === 0) return {}
  return {
    'Events.Timestamp': events.map(event => nanosText(event.timeUnixNano)),
    'Events.Name': events.map(event => event.name),
    'Events.Attributes': events.map(event => attributesText(event.attributes))
  }
}

function linkColumns({ links }: Span): Row {
  if (links.length === 0) return {}
  return {
    'Links.TraceId': links.map(link => hexId(link.traceId)),
    'Links.SpanId': links.map(link => hexId(link.spanId)),
    'Links.TraceState': links.map(link => link.traceState),
    'Links.Attributes': links.map(link => attributesText(link.attributes))
  }
}
