// An ExportLogsServiceRequest as rows of otel_logs, column for column as the Collector's exporter writes them.

import { attributesText, decodeLogs, hexId, type LogEntry, numberOf, valueText } from '../../otlp/decode.ts'
import type { SignalRows } from './metric-rows.ts'
import { sightingOf } from './sighting.ts'
import { count, nanosText, type Row } from './values.ts'

const UINT8_MAX = 255

/** Rows of one request. A record's time is its own, else when it was observed, else `receivedMs`. @throws AppError `malformed_otlp` */
export function logRows(request: Uint8Array, defaults: { entity: string; environment: string }, receivedMs: number): SignalRows {
  const result: SignalRows = { rows: [], sightings: [], unusable: 0 }
  for (const { resource, schemaUrl, scopes } of decodeLogs(request)) {
    const attributes = attributesText(resource?.attributes ?? [])
    let lastMs = 0
    for (const { scope, schemaUrl: scopeSchemaUrl, logRecords } of scopes) {
      const scoped = {
        ServiceName: attributes['service.name'] ?? '',
        ResourceSchemaUrl: schemaUrl,
        ResourceAttributes: attributes,
        ScopeSchemaUrl: scopeSchemaUrl,
        ScopeName: scope?.name ?? '',
        ScopeVersion: scope?.version ?? '',
        ScopeAttributes: attributesText(scope?.attributes ?? [])
      }
      for (const entry of logRecords) {
        const timeMs = numberOf(entry.timeUnixNano) / 1e6 || numberOf(entry.observedTimeUnixNano) / 1e6 || receivedMs
        if (timeMs > lastMs) lastMs = timeMs
        result.rows.push({ table: 'otel_logs', row: { ...logColumns(entry, receivedMs), ...scoped } })
      }
    }
    if (lastMs > 0) result.sightings.push(sightingOf('log', attributes, defaults, lastMs))
  }
  return result
}

function logColumns(entry: LogEntry, receivedMs: number): Row {
  const time = numberOf(entry.timeUnixNano) > 0 ? entry.timeUnixNano : entry.observedTimeUnixNano
  return {
    Timestamp: nanosText(time, receivedMs),
    TraceId: hexId(entry.traceId),
    SpanId: hexId(entry.spanId),
    TraceFlags: entry.flags & UINT8_MAX,
    SeverityText: entry.severityText,
    SeverityNumber: count(entry.severityNumber, UINT8_MAX),
    Body: valueText(entry.body),
    LogAttributes: attributesText(entry.attributes),
    EventName: entry.eventName
  }
}
