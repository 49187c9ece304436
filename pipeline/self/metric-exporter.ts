// What Homeostat counts of itself as OTel instruments, sent over OTLP gRPC. The heaviest import of a process: meter.ts loads it last.

import { hostname } from 'node:os'
import type { Attributes, Counter, Gauge } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { HostMetrics } from '@opentelemetry/host-metrics'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { CANARY_METRIC } from '../../schemas/otlp.ts'
import type { MeterReading } from './meter.ts'

/** All that the package knows but the memory of the process, which every process tells for itself. */
const HOST_METRICS = ['system.cpu', 'system.memory', 'system.network', 'process.cpu']
/** Longer than this a send is of no use: the next one is due. */
const EXPORT_TIMEOUT_MS_MAX = 5_000

export interface SelfIdentity {
  environment: string
  version: string
  /** Stable over restarts: several processes of one machine stay apart. */
  instance: string
  roles: readonly string[]
  /** Whether this process sends the metrics of its machine. */
  hostMetrics: boolean
}

export interface MetricExporter {
  record(reading: MeterReading): void
  close(): Promise<void>
}

/** Sends what is recorded every `intervalMs` to an OTLP gRPC endpoint, e.g. `http://127.0.0.1:4317`. */
export function metricExporter(
  { environment, version, instance, roles, hostMetrics }: SelfIdentity,
  { endpoint, intervalMs, headers }: { endpoint: string; intervalMs: number; headers: Readonly<Record<string, string>> }
): MetricExporter {
  const exporter = new OTLPMetricExporter({ url: endpoint, ...(Object.keys(headers).length === 0 ? {} : { headers }) })
  const provider = new MeterProvider({
    resource: resourceFromAttributes({
      'service.name': 'homeostat',
      'service.version': version,
      'service.instance.id': instance,
      'homeostat.roles': roles.join(','),
      'host.name': hostname(),
      'deployment.environment.name': environment
    }),
    readers: [
      new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: intervalMs, exportTimeoutMillis: Math.min(intervalMs, EXPORT_TIMEOUT_MS_MAX) })
    ]
  })
  const otel = provider.getMeter('homeostat')
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, Gauge>()
  const rss = otel.createObservableGauge('process.memory.usage', { unit: 'By', description: 'Resident set size of the Homeostat process.' })
  rss.addCallback(result => result.observe(process.memoryUsage.rss()))
  // Goes the way that all telemetry goes, through a Collector where self.endpoint names one: detectors tell how long it took.
  const canary = otel.createObservableGauge(CANARY_METRIC, { unit: 's', description: 'When this was sent, seconds since 1970.' })
  canary.addCallback(result => result.observe(Date.now() / 1_000))
  if (hostMetrics) new HostMetrics({ meterProvider: provider, name: 'homeostat-host', metricGroups: HOST_METRICS }).start()
  return {
    record({ kind, name, value, attributes }) {
      if (kind === 'counter') instrument(counters, name, () => otel.createCounter(name)).add(value, attributes as Attributes)
      else instrument(gauges, name, () => otel.createGauge(name)).record(value, attributes as Attributes)
    },
    async close() {
      // Our own intake may already be down: what it did not take is of no use to anyone.
      await provider.shutdown().catch(() => undefined)
    }
  }
}

function instrument<T>(made: Map<string, T>, name: string, make: () => T): T {
  const known = made.get(name)
  if (known) return known
  const fresh = make()
  made.set(name, fresh)
  return fresh
}
