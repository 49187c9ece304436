// What every process of the fleet sends: OTel metrics over gRPC, traces and logs over HTTP/protobuf, once a second or faster.
//
// The exporters are the SDK's own: they retry while the endpoint is away (it is killed on purpose in some runs), their
// queues are bounded, and what does not fit is dropped by the sender: a service never waits for its telemetry.

import { type Attributes, type Meter, metrics, type Tracer, trace } from '@opentelemetry/api'
import { type Logger, SeverityNumber } from '@opentelemetry/api-logs'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { type LabLayout, NAMESPACE } from '../layout.ts'

const METRIC_INTERVAL_MS = 1_000 // Fast settings: detection within seconds needs a point a second.
const BATCH_DELAY_MS = 500 // Traces and logs arrive well inside the detector's lateness of a second.
const BATCH = { scheduledDelayMillis: BATCH_DELAY_MS, exportTimeoutMillis: 10_000, maxQueueSize: 2_048, maxExportBatchSize: 512 }
const EXPORT_TIMEOUT_MS = 10_000 // Time in which the SDK retries one batch; a killed Homeostat is back within it.
const CLOSE_TIMEOUT_MS = 700 // A stopping service gives its last telemetry this long.

export interface Telemetry {
  meter: Meter
  tracer: Tracer
  info(message: string, attributes?: Attributes): void
  warn(message: string, attributes?: Attributes): void
  error(message: string, attributes?: Attributes): void
  /** Sends what is left, within CLOSE_TIMEOUT_MS. */
  close(): Promise<void>
}

/** `attributes` are more of the resource, or in place of those here: `service.version`, `service.instance.id`, … */
export function openTelemetry(
  service: string,
  { environment, otlp }: Pick<LabLayout, 'otlp'> & { environment: string },
  attributes: Attributes = {}
): Telemetry {
  const resource = resourceFromAttributes({
    'service.namespace': NAMESPACE,
    'service.name': service,
    'service.instance.id': `${service}-1`,
    'deployment.environment.name': environment,
    ...attributes
  })
  const http = `http://${otlp.http}/v1`
  const tracerProvider = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: `${http}/traces`, timeoutMillis: EXPORT_TIMEOUT_MS }), BATCH)]
  })
  tracerProvider.register() // W3C trace context and AsyncLocalStorage.
  const loggerProvider = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${http}/logs`, timeoutMillis: EXPORT_TIMEOUT_MS }), ...BATCH })]
  })
  const meterProvider = new MeterProvider({
    resource,
    readers: [
      new PeriodicExportingMetricReader({
        exporter: new OTLPMetricExporter({ url: `http://${otlp.grpc}`, timeoutMillis: METRIC_INTERVAL_MS }),
        exportIntervalMillis: METRIC_INTERVAL_MS,
        exportTimeoutMillis: METRIC_INTERVAL_MS
      })
    ]
  })
  metrics.setGlobalMeterProvider(meterProvider)
  const meter = meterProvider.getMeter('lab')
  observeProcess(meter)
  const logger = loggerProvider.getLogger('lab')
  const providers = [tracerProvider, loggerProvider, meterProvider]
  return {
    meter,
    tracer: trace.getTracer('lab'),
    info: (message, attributes) => emit(logger, SeverityNumber.INFO, 'INFO', message, attributes),
    warn: (message, attributes) => emit(logger, SeverityNumber.WARN, 'WARN', message, attributes),
    error: (message, attributes) => emit(logger, SeverityNumber.ERROR, 'ERROR', message, attributes),
    async close() {
      const flushed = Promise.allSettled(providers.map(provider => provider.forceFlush()))
      await Promise.race([flushed, new Promise(resolve => setTimeout(resolve, CLOSE_TIMEOUT_MS))])
    }
  }
}

function emit(logger: Logger, severityNumber: SeverityNumber, severityText: string, body: string, attributes: Attributes = {}): void {
  logger.emit({ severityNumber, severityText, body, attributes })
}

function observeProcess(meter: Meter): void {
  meter
    .createObservableGauge('process.memory.usage', { unit: 'By', description: 'Resident set size.' })
    .addCallback(result => result.observe(process.memoryUsage.rss()))
  meter.createObservableCounter('process.cpu.time', { unit: 's', description: 'CPU seconds used.' }).addCallback(result => {
    const { user, system } = process.cpuUsage()
    result.observe(user / 1e6, { 'process.cpu.state': 'user' })
    result.observe(system / 1e6, { 'process.cpu.state': 'system' })
  })
}
