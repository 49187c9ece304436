// Builders of OTLP requests for tests: encoded by protobufjs, not by our own code.

import { otlpRoot } from '../../pipeline/otlp/descriptor.ts'

export type TestSignal = 'metrics' | 'spans' | 'logs'

/** Full names of the request messages. */
export const MESSAGES: Record<TestSignal, string> = {
  metrics: 'opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest',
  spans: 'opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest',
  logs: 'opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest'
}

/** A request as protobuf bytes, from an object with lowerCamelCase keys. */
export function encodeOtlp(signal: TestSignal, request: object): Uint8Array {
  const type = otlpRoot().lookupType(MESSAGES[signal])
  return Uint8Array.from(type.encode(type.fromObject(request)).finish())
}

/** One resource for each service; '' makes an empty resource. */
export function aResource(service: string): object {
  return service === '' ? {} : { attributes: [{ key: 'service.name', value: { stringValue: service } }] }
}

const SCOPE = { name: 'test', version: '1' }

/** Three points of one sum for each service. */
export function aMetricsRequest({ services = ['orders'], atMs = 1_700_000_000_000 }: { services?: string[]; atMs?: number } = {}): Uint8Array {
  const dataPoints = [1, 2, 3].map(asInt => ({
    timeUnixNano: `${atMs}000000`,
    asInt,
    attributes: [{ key: 'cpu', value: { stringValue: `cpu${asInt}` } }]
  }))
  const metrics = [{ name: 'requests', unit: '1', sum: { dataPoints, aggregationTemporality: 2, isMonotonic: true } }]
  return encodeOtlp('metrics', { resourceMetrics: services.map(service => ({ resource: aResource(service), scopeMetrics: [{ scope: SCOPE, metrics }] })) })
}

/** One line for each service. */
export function aLogsRequest({ services = ['orders'], atMs = 1_700_000_000_000 }: { services?: string[]; atMs?: number } = {}): Uint8Array {
  const logRecords = [{ timeUnixNano: `${atMs}000000`, severityNumber: 9, body: { stringValue: 'started' } }]
  return encodeOtlp('logs', { resourceLogs: services.map(service => ({ resource: aResource(service), scopeLogs: [{ scope: SCOPE, logRecords }] })) })
}

/** `traces` traces through every service, `spansPerTrace` spans each in each service. */
export function aSpansRequest({ services = ['orders'], traces = 1, spansPerTrace = 1, atMs = 1_700_000_000_000 } = {}): Uint8Array {
  const spans: object[] = []
  for (let trace = 0; trace < traces; trace++) {
    for (let span = 0; span < spansPerTrace; span++) {
      const spanId = Buffer.alloc(8)
      spanId.writeUInt32BE(trace, 0)
      spanId.writeUInt32BE(span + 1, 4)
      const traceId = Buffer.alloc(16, trace + 1)
      spans.push({ traceId, spanId, name: `span ${trace}.${span}`, kind: 2, startTimeUnixNano: `${atMs}000000`, endTimeUnixNano: `${atMs + 5}000000` })
    }
  }
  const resourceSpans = services.map(service => ({
    resource: aResource(service),
    schemaUrl: 'https://example.test/schema',
    scopeSpans: [{ scope: SCOPE, spans }]
  }))
  return encodeOtlp('spans', { resourceSpans })
}
