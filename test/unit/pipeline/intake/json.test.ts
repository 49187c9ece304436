import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { protobufFromJson } from '../../../../pipeline/intake/json.ts'
import type { Signal } from '../../../../pipeline/intake/slices.ts'
import { otlpRoot } from '../../../../pipeline/otlp/descriptor.ts'
import { MESSAGES } from '../../../support/otlp.ts'

const fixture = (name: string): Buffer => readFileSync(new URL(`../../../data/otlp/${name}`, import.meta.url))
function decode(signal: Signal, bytes: Uint8Array): any {
  const type = otlpRoot().lookupType(MESSAGES[signal])
  return type.toObject(type.decode(bytes), { longs: String, bytes: String })
}
const fromJson = (signal: Signal, json: unknown): any => decode(signal, protobufFromJson(signal, Buffer.from(JSON.stringify(json))))
const firstPoint = (dataPoint: object): any =>
  fromJson('metrics', { resourceMetrics: [{ scopeMetrics: [{ metrics: [{ name: 'm', gauge: { dataPoints: [dataPoint] } }] }] }] }).resourceMetrics[0]
    .scopeMetrics[0].metrics[0].gauge.dataPoints[0]

test('what a real Collector sends as JSON means what it sends as protobuf', () => {
  // The metrics of one scrape; lines and spans were taken at other instants, so only their shape can be compared.
  expect(decode('metrics', protobufFromJson('metrics', fixture('metrics-hostmetrics-first.json')))).toEqual(
    decode('metrics', fixture('metrics-hostmetrics-first.bin'))
  )
})

test('every span and line of a real Collector in JSON comes through with its ids', () => {
  const source = JSON.parse(String(fixture('traces-telemetrygen-ok.json')))
  const spans = decode('spans', protobufFromJson('spans', fixture('traces-telemetrygen-ok.json'))).resourceSpans[0].scopeSpans[0].spans
  const given = source.resourceSpans[0].scopeSpans[0].spans
  expect(spans.map((span: any) => Buffer.from(span.traceId, 'base64').toString('hex'))).toEqual(given.map((span: any) => span.traceId))
  expect(spans.map((span: any) => [span.startTimeUnixNano, span.kind])).toEqual(given.map((span: any) => [String(span.startTimeUnixNano), span.kind]))
  const lines = decode('logs', protobufFromJson('logs', fixture('logs-filelog.json'))).resourceLogs[0].scopeLogs[0].logRecords
  const bodies = JSON.parse(String(fixture('logs-filelog.json'))).resourceLogs[0].scopeLogs[0].logRecords.map((line: any) => line.body.stringValue)
  expect(lines.map((line: any) => line.body.stringValue)).toEqual(bodies)
})

describe('the mapping', () => {
  test('64-bit integers come as strings or numbers and lose no digit', () => {
    expect(firstPoint({ asInt: '-9223372036854775808', timeUnixNano: '18446744073709551615' })).toEqual({
      asInt: '-9223372036854775808',
      timeUnixNano: '18446744073709551615'
    })
    expect(firstPoint({ asInt: 7, timeUnixNano: 1700000000000000000 }).asInt).toBe('7')
  })

  test('a zero in a oneof is a value, not an absence', () => {
    expect(firstPoint({ asInt: '0' })).toEqual({ asInt: '0' })
    expect(firstPoint({ asDouble: 0 })).toEqual({ asDouble: 0 })
    expect(firstPoint({})).toEqual({})
  })

  test('special doubles, packed lists, bytes and nested values', () => {
    expect(firstPoint({ asDouble: 'NaN' }).asDouble).toBeNaN()
    expect(firstPoint({ asDouble: '-Infinity' }).asDouble).toBe(Number.NEGATIVE_INFINITY)
    const value = {
      kvlistValue: { values: [{ key: 'a', value: { arrayValue: { values: [{ intValue: '-3' }, { boolValue: false }, { bytesValue: 'AQI=' }] } } }] }
    }
    expect(firstPoint({ attributes: [{ key: 'k', value }] }).attributes[0].value).toEqual({
      kvlistValue: { values: [{ key: 'a', value: { arrayValue: { values: [{ intValue: '-3' }, { boolValue: false }, { bytesValue: 'AQI=' }] } } }] }
    })
    const histogram = { dataPoints: [{ count: '3', sum: 1.5, bucketCounts: ['1', 2], explicitBounds: [0.5] }], aggregationTemporality: 1 }
    const metrics = [{ name: 'h', histogram }]
    expect(fromJson('metrics', { resourceMetrics: [{ scopeMetrics: [{ metrics }] }] }).resourceMetrics[0].scopeMetrics[0].metrics[0].histogram).toEqual({
      dataPoints: [{ count: '3', sum: 1.5, bucketCounts: ['1', '2'], explicitBounds: [0.5] }],
      aggregationTemporality: 1
    })
    const exponential = { dataPoints: [{ scale: -2, positive: { offset: -5, bucketCounts: ['4'] } }] }
    const encoded = fromJson('metrics', { resourceMetrics: [{ scopeMetrics: [{ metrics: [{ exponentialHistogram: exponential }] }] }] })
    expect(encoded.resourceMetrics[0].scopeMetrics[0].metrics[0].exponentialHistogram.dataPoints[0]).toEqual({
      scale: -2,
      positive: { offset: -5, bucketCounts: ['4'] }
    })
  })

  test('unknown fields and nulls are ignored, prototype keys are only data', () => {
    expect(firstPoint({ asInt: '1', novelty: { deep: [1] }, flags: null })).toEqual({ asInt: '1' })
    const hostile = Buffer.from('{"resourceMetrics":[{"__proto__":{"schemaUrl":"x"},"constructor":1}]}')
    expect(decode('metrics', protobufFromJson('metrics', hostile))).toEqual({ resourceMetrics: [{}] })
  })
})

describe('refusals say where', () => {
  const point = 'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0]'
  test.each([
    [{ asInt: 1.5 }, `an integer is expected at ${point}.asInt`],
    [{ asInt: '9223372036854775808' }, `9223372036854775808 does not fit sfixed64 at ${point}.asInt`],
    [{ flags: -1 }, `-1 does not fit uint32 at ${point}.flags`],
    [{ asDouble: 'high' }, `a number is expected at ${point}.asDouble`],
    [{ attributes: [{ key: 1 }] }, `a string is expected at ${point}.attributes[0].key`],
    [{ attributes: [{ key: 'a', value: { boolValue: 'yes' } }] }, `true or false is expected at ${point}.attributes[0].value.boolValue`],
    [{ attributes: [{ key: 'a', value: { bytesValue: '*' } }] }, `base64 is expected at ${point}.attributes[0].value.bytesValue`],
    [{ exemplars: [{ traceId: 'AAECAwQFBgcICQoLDA0ODw==' }] }, `an id in hex digits is expected at ${point}.exemplars[0].traceId`],
    [[], `an object is expected at ${point}`]
  ])('%j', (dataPoint, message) => {
    expect(() => firstPoint(dataPoint)).toThrow(message)
  })

  test('values nested without end are refused before the stack is', () => {
    const depth = 100_000
    const value = `${'{"arrayValue":{"values":['.repeat(depth)}{}${']}}'.repeat(depth)}`
    const body = Buffer.from(`{"resourceLogs":[{"resource":{"attributes":[{"key":"deep","value":${value}}]}}]}`)
    expect(() => protobufFromJson('logs', body)).toThrow(/nested deeper than 100/)
  })
})
