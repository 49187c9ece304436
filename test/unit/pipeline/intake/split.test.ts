import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Signal, Slice } from '../../../../pipeline/intake/slices.ts'
import { splitRequest } from '../../../../pipeline/intake/split.ts'
import { otlpRoot } from '../../../../pipeline/otlp/descriptor.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { keyPartition } from '../../../../schemas/partition.ts'
import { aLogsRequest, aMetricsRequest, aSpansRequest, encodeOtlp, MESSAGES } from '../../../support/otlp.ts'

const options = { fallback: { entity: 'edge-7', environment: 'test' }, partitionOf: (key: string) => keyPartition(key, 4) }

function decode(signal: Signal, bytes: Uint8Array): any {
  const type = otlpRoot().lookupType(MESSAGES[signal])
  return type.toObject(type.decode(bytes), { longs: String, bytes: String })
}
/** One request out of all slices, as a reader of every partition sees it. */
function together(signal: Signal, slices: readonly Slice[]): any {
  return decode(signal, Buffer.concat(slices.map(slice => slice.value)))
}

describe('metrics and logs', () => {
  test('a request of one resource is passed on without a copy', () => {
    const bytes = aMetricsRequest({ services: ['orders'] })
    const { slices, items } = splitRequest('metrics', bytes, options)
    expect(items).toBe(3)
    expect(slices).toHaveLength(1)
    expect(slices[0]!.key).toBe('orders')
    expect(slices[0]!.value.buffer).toBe(bytes.buffer)
    expect(slices[0]!.value).toEqual(bytes)
  })

  test('each entity lands on the partition of its key, and nothing is lost or changed', () => {
    const services = Array.from({ length: 40 }, (_, i) => `service-${i % 13}`)
    const bytes = aLogsRequest({ services })
    const { slices, items } = splitRequest('logs', bytes, options)
    expect(items).toBe(40)
    expect(new Set(slices.map(slice => slice.partition)).size).toBe(slices.length)
    const byName = (a: any, b: any) => JSON.stringify(a).localeCompare(JSON.stringify(b))
    for (const { value, partition } of slices) {
      for (const resourceLogs of decode('logs', value).resourceLogs) {
        expect(keyPartition(resourceLogs.resource.attributes[0].value.stringValue, 4)).toBe(partition)
      }
    }
    expect(together('logs', slices).resourceLogs.sort(byName)).toEqual(decode('logs', bytes).resourceLogs.sort(byName))
  })

  test('an empty resource is named after the fallback inside the record', () => {
    const bytes = aMetricsRequest({ services: [''] })
    const { slices } = splitRequest('metrics', bytes, options)
    expect(slices[0]!.key).toBe('edge-7')
    const [resourceMetrics] = decode('metrics', slices[0]!.value).resourceMetrics
    expect(resourceMetrics.resource.attributes).toEqual([{ key: 'homeostat.entity', value: { stringValue: 'edge-7' } }])
    expect(resourceMetrics.scopeMetrics).toEqual(decode('metrics', bytes).resourceMetrics[0].scopeMetrics)
  })

  test('a request without any resource field is named as well, and keeps its other attributes when it has some', () => {
    const none = encodeOtlp('logs', { resourceLogs: [{ scopeLogs: [{ logRecords: [{ severityNumber: 9 }] }] }] })
    expect(decode('logs', splitRequest('logs', none, options).slices[0]!.value).resourceLogs[0].resource.attributes).toHaveLength(1)
    const other = encodeOtlp('logs', {
      resourceLogs: [{ resource: { attributes: [{ key: 'os.type', value: { stringValue: 'linux' } }] }, scopeLogs: [{ logRecords: [{}] }] }]
    })
    const { attributes } = decode('logs', splitRequest('logs', other, options).slices[0]!.value).resourceLogs[0].resource
    expect(attributes.map((a: any) => a.key)).toEqual(['homeostat.entity', 'os.type'])
  })

  test('a resource that already carries homeostat.entity keeps it', () => {
    const first = splitRequest('metrics', aMetricsRequest({ services: [''] }), options).slices[0]!.value
    const { slices } = splitRequest('metrics', first, { ...options, fallback: { entity: 'another', environment: 'test' } })
    expect(slices[0]!.key).toBe('edge-7')
    expect(slices[0]!.value).toEqual(first)
  })

  test('real hostmetrics of a Collector count their points', () => {
    const bytes = readFileSync(new URL('../../../data/otlp/metrics-hostmetrics-1.bin', import.meta.url))
    const points = decode('metrics', bytes).resourceMetrics.flatMap((r: any) =>
      r.scopeMetrics.flatMap((s: any) => s.metrics.flatMap((m: any) => (m.gauge ?? m.sum).dataPoints))
    )
    expect(splitRequest('metrics', bytes, options).items).toBe(points.length)
  })
})

describe('spans', () => {
  test('a trace is whole on one partition, with its resource and scope', () => {
    const bytes = aSpansRequest({ services: ['orders', 'payments'], traces: 20, spansPerTrace: 3 })
    const { slices, items, rejected } = splitRequest('spans', bytes, options)
    expect([items, rejected]).toEqual([120, 0])
    expect(slices.length).toBeGreaterThan(1)
    const seen: string[] = []
    for (const { value, partition } of slices) {
      for (const { resource, scopeSpans, schemaUrl } of decode('spans', value).resourceSpans) {
        expect(resource.attributes[0].value.stringValue).toMatch(/orders|payments/)
        expect(schemaUrl).toBe('https://example.test/schema')
        for (const { scope, spans } of scopeSpans) {
          expect(scope.name).toBe('test')
          for (const { traceId, name } of spans) {
            expect(keyPartition(Buffer.from(traceId, 'base64').toString('hex'), 4)).toBe(partition)
            seen.push(`${resource.attributes[0].value.stringValue} ${name}`)
          }
        }
      }
    }
    expect(new Set(seen).size).toBe(120)
  })

  test('a request of one trace is passed on without a copy', () => {
    const bytes = aSpansRequest({ services: ['orders'], traces: 1, spansPerTrace: 5 })
    const { slices } = splitRequest('spans', bytes, options)
    expect(slices).toHaveLength(1)
    expect(slices[0]!.value).toEqual(bytes)
    expect(slices[0]!.value.buffer).toBe(bytes.buffer)
  })

  test('spans without a trace id are left out and counted, the others are kept', () => {
    const good = { traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name: 'good' }
    const bytes = encodeOtlp('spans', {
      resourceSpans: [{ scopeSpans: [{ spans: [good, { name: 'no id' }, { traceId: Buffer.alloc(3, 1) }, { traceId: Buffer.alloc(16) }] }] }]
    })
    const { slices, items, rejected, reason } = splitRequest('spans', bytes, options)
    expect([items, rejected]).toEqual([1, 3])
    expect(reason).toContain('trace id')
    const [{ resource, scopeSpans }] = together('spans', slices).resourceSpans
    expect(resource.attributes[0].key).toBe('homeostat.entity')
    expect(scopeSpans[0].spans.map((span: any) => span.name)).toEqual(['good'])
  })
})

describe('bad bytes', () => {
  test('every truncation of a real request is refused or is a shorter request', () => {
    const bytes = aMetricsRequest({ services: ['orders', 'payments'] })
    const whole = decode('metrics', bytes).resourceMetrics.length
    for (let length = 0; length < bytes.length; length++) {
      const cut = bytes.subarray(0, length)
      const outcome = attempt(() => splitRequest('metrics', cut, options))
      if (outcome instanceof AppError) expect(outcome.code).toBe('malformed_otlp')
      else expect(decode('metrics', cut).resourceMetrics?.length ?? 0).toBeLessThan(whole)
    }
  })

  test('the refusal names the offset of the fault', () => {
    const error = attempt(() => splitRequest('metrics', Uint8Array.from([0x0a, 0x05, 0x12, 0x7f, 0, 0, 0]), options))
    expect(error).toBeInstanceOf(AppError)
    expect((error as AppError).details.offset).toBe(3)
  })

  test.each([
    ['a field number of zero', [0x02, 0x00]],
    ['a group without an end', [0x0b, 0x08, 0x01]],
    ['a length of 2^32 - 1', [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['a varint of eleven bytes', [0x08, ...Array(10).fill(0xff), 0x01]],

    ['text', [...Buffer.from('hello world')]]
  ])('%s is refused', (_, bytes) => {
    for (const signal of ['metrics', 'spans', 'logs'] as const) {
      expect(() => splitRequest(signal, Uint8Array.from(bytes), options)).toThrow(AppError)
    }
  })

  test('no mutation of a request makes anything but a refusal or records that hold no more than was sent', () => {
    const requests = {
      metrics: aMetricsRequest({ services: ['a', 'b'] }),
      spans: aSpansRequest({ services: ['a'], traces: 3, spansPerTrace: 2 }),
      logs: aLogsRequest({ services: ['a'] })
    }
    const mutation = fc.record({
      signal: fc.constantFrom('metrics', 'spans', 'logs'),
      edits: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 })
    })
    fc.assert(
      fc.property(mutation, ({ signal, edits }) => {
        const bytes = Uint8Array.from(requests[signal as Signal])
        for (const [at, value] of edits) bytes[at % bytes.length] = value
        const outcome = attempt(() => splitRequest(signal as Signal, bytes, options))
        if (outcome instanceof AppError) return outcome.code === 'malformed_otlp'
        // Regrouping repeats headers at most once a partition and names at most each resource.
        return (outcome as { slices: Slice[] }).slices.reduce((sum, slice) => sum + slice.value.length, 0) <= 5 * bytes.length + 200
      }),
      { numRuns: 3_000 }
    )
  })
})

function attempt<T>(work: () => T): T | AppError {
  try {
    return work()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
}
