// Homeostat's own metrics: every role counts through the Meter port; here the counts become OTel instruments.
//
// The main thread owns the exporter (OTLP gRPC, by default into our own intake, so Homeostat watches itself); worker
// threads send their sums over once a second. Totals are kept beside the instruments for /readyz, the console and doctor.

import { hostname } from 'node:os'
import type { Attributes, Counter, Gauge, Meter as OtelMeter } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { HostMetrics } from '@opentelemetry/host-metrics'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { CANARY_METRIC } from '../../schemas/otlp.ts'
import type { Meter } from '../../schemas/ports.ts'

/** Distinct (name, attributes) pairs kept; names and attributes are ours and few, so reaching this is a bug that must not grow memory. */
const READINGS_MAX = 2_000

export interface MeterReading {
  name: string
  kind: 'counter' | 'gauge'
  attributes: Readonly<Record<string, string>>
  value: number
}

export interface SelfMeter extends Meter {
  /** Everything counted so far. */
  readings(): MeterReading[]
  /** Sum of a counter over its attributes, 0 when never counted. */
  total(name: string): number
  /** Adds readings of another thread: counters as differences, gauges as values. */
  merge(readings: readonly MeterReading[]): void
}

/** A meter without an exporter: threads, tests, the command line. */
export function memoryMeter(onRecord?: (reading: MeterReading) => void): SelfMeter {
  const readings = new Map<string, MeterReading>()
  const record = (kind: MeterReading['kind'], name: string, value: number, attributes: Readonly<Record<string, string>>): void => {
    const key = `${name}${JSON.stringify(attributes)}`
    const known = readings.get(key)
    if (known) known.value = kind === 'counter' ? known.value + value : value
    else if (readings.size < READINGS_MAX) readings.set(key, { name, kind, attributes, value })
    onRecord?.({ name, kind, attributes, value })
  }
  return {
    count: (name, value = 1, attributes = {}) => record('counter', name, value, attributes),
    gauge: (name, value, attributes = {}) => record('gauge', name, value, attributes),
    readings: () => [...readings.values()],
    total: name => {
      let sum = 0
      for (const reading of readings.values()) if (reading.name === name) sum += reading.value
      return sum
    },
    merge(others) {
      for (const { kind, name, value, attributes } of others) record(kind, name, value, attributes)
    }
  }
}

/** The same meter with attributes on everything that is counted. */
export function withAttributes(meter: Meter, attributes: Readonly<Record<string, string>>): Meter {
  return {
    count: (name, value = 1, more = {}) => meter.count(name, value, { ...attributes, ...more }),
    gauge: (name, value, more = {}) => meter.gauge(name, value, { ...attributes, ...more })
  }
}

/**
 * The main thread's meter with its exporter.
 * @param options.instance stable over restarts: several processes of one machine stay apart
 */
export function openSelfMeter(options: { environment: string; version: string; hostMetrics: boolean; instance: string; roles: readonly string[] }): {
  meter: SelfMeter
  /** Sends from now on to an OTLP gRPC endpoint, e.g. `http://127.0.0.1:4317`. */
  start(endpoint: string, intervalMs: number, headers: Readonly<Record<string, string>>): void
  close(): Promise<void>
} {
  let otel: OtelMeter | undefined
  let provider: MeterProvider | undefined
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, Gauge>()
  const meter = memoryMeter(({ kind, name, value, attributes }) => {
    if (!otel) return
    if (kind === 'counter') instrument(counters, name, () => otel!.createCounter(name)).add(value, attributes as Attributes)
    else instrument(gauges, name, () => otel!.createGauge(name)).record(value, attributes as Attributes)
  })
  return {
    meter,
    start(endpoint, intervalMs, headers) {
      const exporter = new OTLPMetricExporter({ url: endpoint, ...(Object.keys(headers).length === 0 ? {} : { headers }) })
      provider = new MeterProvider({
        resource: resourceFromAttributes({
          'service.name': 'homeostat',
          'service.version': options.version,
          'service.instance.id': options.instance,
          'homeostat.roles': options.roles.join(','),
          'host.name': hostname(),
          'deployment.environment.name': options.environment
        }),
        readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: intervalMs, exportTimeoutMillis: Math.min(intervalMs, 5_000) })]
      })
      otel = provider.getMeter('homeostat')
      const rss = otel.createObservableGauge('process.memory.usage', { unit: 'By', description: 'Resident set size of the Homeostat process.' })
      rss.addCallback(result => result.observe(process.memoryUsage.rss()))
      // Goes the way that all telemetry goes, through a Collector where self.endpoint names one: detectors tell how long it took.
      const canary = otel.createObservableGauge(CANARY_METRIC, { unit: 's', description: 'When this was sent, seconds since 1970.' })
      canary.addCallback(result => result.observe(Date.now() / 1_000))
      if (options.hostMetrics) new HostMetrics({ meterProvider: provider, name: 'homeostat-host' }).start()
    },
    async close() {
      // Our own intake may already be down: what it did not take is of no use to anyone.
      await provider?.shutdown().catch(() => undefined)
      provider = undefined
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
