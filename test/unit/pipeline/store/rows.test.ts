// OTLP requests and control records as rows: nothing rounded, nothing invented, nothing lost.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { logRows } from '../../../../pipeline/store/rows/log-rows.ts'
import { metricRows } from '../../../../pipeline/store/rows/metric-rows.ts'
import { spanRows } from '../../../../pipeline/store/rows/span-rows.ts'
import { count64, float, msText, nanosText } from '../../../../pipeline/store/rows/values.ts'
import { encodeOtlp } from '../../../support/otlp.ts'

const DEFAULTS = { entity: 'fallback', environment: 'lab' }
const RECEIVED_MS = 1_795_176_000_500
const NANOS = '1795176000123456789'
const recorded = (file: string): Uint8Array => readFileSync(new URL(`../../../data/otlp/${file}`, import.meta.url))

const ofMetric = (metric: object, resource: object = {}): ReturnType<typeof metricRows> =>
  metricRows(encodeOtlp('metrics', { resourceMetrics: [{ resource, scopeMetrics: [{ metrics: [{ name: 'm', ...metric }] }] }] }), DEFAULTS, RECEIVED_MS)
const firstRow = (metric: object): Record<string, unknown> => ofMetric(metric).rows[0]!.row
const ofLog = (record: object): Record<string, unknown> =>
  logRows(encodeOtlp('logs', { resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] }), DEFAULTS, RECEIVED_MS).rows[0]!.row
const ofSpan = (span: object): Record<string, unknown> =>
  spanRows(encodeOtlp('spans', { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }), DEFAULTS, RECEIVED_MS).rows[0]!.row

describe('values', () => {
  test('times are epoch text with ten digits of seconds, whatever their size', () => {
    expect(nanosText(0)).toBe('0000000000.000000')
    expect(nanosText(0, RECEIVED_MS)).toBe('1795176000.500000')
    expect(msText(1.5)).toBe('0000000000.001500')
    expect(msText(-5)).toBe('0000000000.000000')
    expect(nanosText({ low: -1, high: -1, unsigned: true })).toBe('9223372036.854775807')
  })

  test('a float that JSON cannot say is null or text, never 0', () => {
    expect([float(Number.NaN), float(Number.POSITIVE_INFINITY), float(Number.NEGATIVE_INFINITY), float(-0.5)]).toEqual([null, 'inf', '-inf', -0.5])
  })

  test('a 64-bit count is exact', () => {
    expect(count64({ low: -1, high: -1, unsigned: true })).toBe('18446744073709551615')
    expect(count64({ low: 5, high: 0, unsigned: true })).toBe(5)
  })
})

describe('metric points', () => {
  test('a point has the value the sender set: zero, an integer, a double', () => {
    const value = (point: object): unknown => firstRow({ gauge: { dataPoints: [{ timeUnixNano: NANOS, ...point }] } }).Value
    expect(value({ asDouble: 0 })).toBe(0)
    expect(value({ asInt: 0 })).toBe(0)
    expect(value({ asInt: '-7' })).toBe(-7)
    expect(value({ asDouble: 0.25 })).toBe(0.25)
  })

  test('a point without a value, or flagged as without one, is not a number', () => {
    expect(firstRow({ gauge: { dataPoints: [{ timeUnixNano: NANOS }] } }).Value).toBeNull()
    expect(firstRow({ gauge: { dataPoints: [{ timeUnixNano: NANOS, asDouble: 3, flags: 1 }] } })).toMatchObject({ Value: null, Flags: 1 })
  })

  test('nanoseconds are exact, and a point without time has the time of its arrival', () => {
    expect(firstRow({ gauge: { dataPoints: [{ asDouble: 1, timeUnixNano: NANOS }] } }).TimeUnix).toBe('1795176000.123456789')
    expect(firstRow({ gauge: { dataPoints: [{ asDouble: 1 }] } }).TimeUnix).toBe('1795176000.500000')
  })

  test('sums keep temporality and monotonicity', () => {
    const sum = { dataPoints: [{ asInt: 1, timeUnixNano: NANOS, startTimeUnixNano: '1795175999000000000' }], aggregationTemporality: 2, isMonotonic: true }
    const { table, row } = ofMetric({ sum }).rows[0]!
    expect(table).toBe('otel_metrics_sum')
    expect(row).toMatchObject({ AggregationTemporality: 2, IsMonotonic: true, StartTimeUnix: '1795175999.000000000' })
  })

  test('histograms keep every bucket, and an unset sum, min or max is not a zero', () => {
    const point = { timeUnixNano: NANOS, count: 6, bucketCounts: [1, 2, 3], explicitBounds: [0.1, 1] }
    expect(firstRow({ histogram: { dataPoints: [point] } })).toMatchObject({
      Count: 6,
      BucketCounts: [1, 2, 3],
      ExplicitBounds: [0.1, 1],
      Sum: null,
      Min: null,
      Max: null
    })
    expect(firstRow({ histogram: { dataPoints: [{ ...point, sum: 0, min: 0, max: 0 }] } })).toMatchObject({ Sum: 0, Min: 0, Max: 0 })
  })

  test('exponential histograms keep scale, zeros and both sides', () => {
    const point = {
      timeUnixNano: NANOS,
      count: 9,
      sum: 4,
      scale: -2,
      zeroCount: 1,
      positive: { offset: -3, bucketCounts: [1, 2] },
      negative: { offset: 4, bucketCounts: [5] }
    }
    expect(firstRow({ exponentialHistogram: { dataPoints: [point], aggregationTemporality: 1 } })).toMatchObject({
      Count: 9,
      Scale: -2,
      ZeroCount: 1,
      PositiveOffset: -3,
      PositiveBucketCounts: [1, 2],
      NegativeOffset: 4,
      NegativeBucketCounts: [5],
      AggregationTemporality: 1
    })
  })

  test('summaries keep their quantiles, exemplars their trace', () => {
    const summary = {
      dataPoints: [
        {
          timeUnixNano: NANOS,
          count: 2,
          sum: 3,
          quantileValues: [
            { quantile: 0.5, value: 1 },
            { quantile: 1, value: 2 }
          ]
        }
      ]
    }
    expect(firstRow({ summary })).toMatchObject({ 'ValueAtQuantiles.Quantile': [0.5, 1], 'ValueAtQuantiles.Value': [1, 2] })
    const exemplar = {
      asInt: 0,
      timeUnixNano: NANOS,
      traceId: Buffer.alloc(16, 0xab),
      spanId: Buffer.alloc(8, 0xcd),
      filteredAttributes: [{ key: 'a', value: { stringValue: 'b' } }]
    }
    expect(firstRow({ gauge: { dataPoints: [{ asDouble: 1, timeUnixNano: NANOS, exemplars: [exemplar] }] } })).toMatchObject({
      'Exemplars.Value': [0],
      'Exemplars.TraceId': ['ab'.repeat(16)],
      'Exemplars.SpanId': ['cd'.repeat(8)],
      'Exemplars.FilteredAttributes': [{ a: 'b' }]
    })
  })

  test('a metric of an unknown kind is counted, not silently dropped', () => {
    expect(ofMetric({})).toMatchObject({ rows: [], unusable: 1 })
  })

  test('the entity of a resource is seen with the newest time; an empty resource is the fallback', () => {
    const gauge = { dataPoints: [{ asDouble: 1, timeUnixNano: NANOS }] }
    expect(ofMetric({ gauge }).sightings).toEqual([{ environment: 'lab', entity: 'fallback', service: '', signal: 'metric', atMs: 1_795_176_000_123.4568 }])
    const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'orders' } }] }
    expect(ofMetric({ gauge }, resource).sightings).toMatchObject([{ entity: 'orders', service: 'orders' }])
  })
})

describe('attributes', () => {
  const attribute = (value: object): unknown => (ofLog({ timeUnixNano: NANOS, attributes: [{ key: 'k', value }] }).LogAttributes as Record<string, string>).k

  test('become text as the Collector writes it', () => {
    expect(attribute({ stringValue: '' })).toBe('')
    expect(attribute({ boolValue: false })).toBe('false')
    expect(attribute({ intValue: '9007199254740993' })).toBe('9007199254740993')
    expect(attribute({ intValue: -3 })).toBe('-3')
    expect(attribute({ doubleValue: 0.5 })).toBe('0.5')
    expect(attribute({ bytesValue: Buffer.from('hi') })).toBe('aGk=')
    expect(attribute({ arrayValue: { values: [{ intValue: 1 }, { stringValue: 'a' }, {}] } })).toBe('[1,"a",null]')
    expect(attribute({ kvlistValue: { values: [{ key: 'x', value: { boolValue: true } }] } })).toBe('{"x":true}')
    expect(attribute({})).toBe('')
  })

  test('keep names that JavaScript gives a meaning of its own', () => {
    const row = ofLog({ attributes: [{ key: '__proto__', value: { stringValue: 'kept' } }] })
    expect(JSON.parse(JSON.stringify(row.LogAttributes))).toHaveProperty(['__proto__'], 'kept')
  })
})

describe('logs', () => {
  test("the time is the record's own, else when it was observed, else when it arrived", () => {
    expect(ofLog({ timeUnixNano: NANOS, observedTimeUnixNano: '1' }).Timestamp).toBe('1795176000.123456789')
    expect(ofLog({ observedTimeUnixNano: NANOS }).Timestamp).toBe('1795176000.123456789')
    expect(ofLog({}).Timestamp).toBe('1795176000.500000')
  })

  test('body, severity, ids and event name are kept', () => {
    const record = {
      body: { kvlistValue: { values: [{ key: 'a', value: { intValue: 1 } }] } },
      severityNumber: 17,
      severityText: 'Error',
      flags: 1,
      eventName: 'e',
      traceId: Buffer.alloc(16, 1),
      spanId: Buffer.alloc(8)
    }
    expect(ofLog(record)).toMatchObject({
      Body: '{"a":1}',
      SeverityNumber: 17,
      SeverityText: 'Error',
      TraceFlags: 1,
      EventName: 'e',
      TraceId: '01'.repeat(16),
      SpanId: ''
    })
  })
})

describe('spans', () => {
  test('kind, status, duration in nanoseconds, events and links are kept', () => {
    const row = ofSpan({
      traceId: Buffer.alloc(16, 2),
      spanId: Buffer.alloc(8, 3),
      parentSpanId: Buffer.alloc(8, 4),
      name: 'GET /cart',
      kind: 3,
      startTimeUnixNano: NANOS,
      endTimeUnixNano: '1795176000123456999',
      status: { code: 2, message: 'boom' },
      events: [{ name: 'exception', timeUnixNano: NANOS, attributes: [{ key: 'a', value: { intValue: 1 } }] }],
      links: [{ traceId: Buffer.alloc(16, 5), spanId: Buffer.alloc(8, 6), traceState: 's' }]
    })
    expect(row).toMatchObject({
      SpanKind: 'Client',
      StatusCode: 'Error',
      StatusMessage: 'boom',
      Duration: '210',
      ParentSpanId: '04'.repeat(8),
      'Events.Name': ['exception'],
      'Events.Timestamp': ['1795176000.123456789'],
      'Events.Attributes': [{ a: '1' }],
      'Links.TraceId': ['05'.repeat(16)],
      'Links.Attributes': [{}]
    })
  })

  test('a span that ends before it starts has no duration', () => {
    expect(ofSpan({ startTimeUnixNano: NANOS, endTimeUnixNano: '5' })).toMatchObject({ Duration: 0, StatusCode: 'Unset', SpanKind: 'Unspecified' })
  })
})

describe('what a real Collector sent', () => {
  test.each([
    ['metrics-hostmetrics-first.bin', metricRows, { otel_metrics_gauge: 10, otel_metrics_sum: 69 }],
    ['metrics-telemetrygen-exphistogram.bin', metricRows, { otel_metrics_exponential_histogram: 10 }],
    ['metrics-telemetrygen-histogram.bin', metricRows, { otel_metrics_histogram: 10 }],
    ['logs-filelog.bin', logRows, { otel_logs: 12 }],
    ['traces-telemetrygen-ok.bin', spanRows, { otel_traces: 12 }]
  ])('%s gives a row for each of its points', (file, read, expected) => {
    const counts: Record<string, number> = {}
    for (const { table } of read(recorded(file), DEFAULTS, RECEIVED_MS).rows) counts[table] = (counts[table] ?? 0) + 1
    expect(counts).toEqual(expected)
  })

  test('cut anywhere it is refused as malformed, or read without an error of ours', () => {
    const whole = recorded('traces-telemetrygen-ok.bin')
    for (let length = 0; length < whole.length; length += 7) {
      try {
        spanRows(whole.subarray(0, length), DEFAULTS, RECEIVED_MS)
      } catch (error) {
        expect(error).toMatchObject({ code: 'malformed_otlp' })
      }
    }
  })
})
