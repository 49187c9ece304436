// Homeostat's own metrics: every role counts through the Meter port; here the counts are kept, and handed to an exporter.
//
// The main thread owns the exporter (OTLP gRPC, by default into our own intake, so Homeostat watches itself); worker
// threads send their sums over once a second. Totals are kept beside the instruments for /readyz, the console and doctor.

import type { Meter } from '../../schemas/ports.ts'
import type { MetricExporter, SelfIdentity } from './metric-exporter.ts'

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

/** The main thread's meter with its exporter, which is loaded when it starts: threads and hosted processes do without. */
export function openSelfMeter(identity: SelfIdentity): {
  meter: SelfMeter
  /** Sends from now on to an OTLP gRPC endpoint, e.g. `http://127.0.0.1:4317`. */
  start(endpoint: string, intervalMs: number, headers: Readonly<Record<string, string>>): Promise<void>
  close(): Promise<void>
} {
  let exporter: MetricExporter | undefined
  return {
    meter: memoryMeter(reading => exporter?.record(reading)),
    async start(endpoint, intervalMs, headers) {
      const { metricExporter } = await import('./metric-exporter.ts')
      exporter = metricExporter(identity, { endpoint, intervalMs, headers })
    },
    async close() {
      await exporter?.close()
      exporter = undefined
    }
  }
}
