import { describe, expect, test } from 'vitest'
import { encodeDerived } from '../../../../pipeline/otlp/writer.ts'
import type { DerivedPoint } from '../../../../schemas/otlp.ts'
import { seenPoints } from './support/collect.ts'
import { expectedPoints } from './support/reference.ts'

const AT_MS = 1_760_000_000_000

function aPoint(change: Partial<DerivedPoint> = {}): DerivedPoint {
  return {
    entity: { namespace: 'shop', service: 'orders', instance: 'orders-1', environment: 'live' },
    name: 'span.requests',
    unit: '{request}',
    timeMs: AT_MS,
    startMs: AT_MS - 10_000,
    attributes: { operation: 'GET /basket', kind: 'server' },
    data: { kind: 'deltaSum', value: 12 },
    ...change
  }
}

const aHistogram = (counts: number[], offset = -3): DerivedPoint['data'] => ({
  ...{ kind: 'deltaExponentialHistogram', count: counts.reduce((a, b) => a + b, 0), sum: 8.5, min: 0.25, max: 4, scale: 2, zeroCount: 1 },
  ...{ offset, counts }
})

describe('derived points', () => {
  test('come back from the reader as they were', () => {
    const [encoded, ...others] = encodeDerived([
      aPoint(),
      aPoint({ name: 'span.error.ratio', unit: '1', data: { kind: 'gauge', value: 0.25 } }),
      aPoint({ name: 'span.duration', unit: 'ms', data: aHistogram([3, 0, 300, 70_000]) })
    ])
    expect(others).toEqual([])
    const { points, result } = seenPoints(encoded!.request)
    expect(result).toEqual({ accepted: 3, rejected: 0, reason: '' })
    const common = { entity: 'shop/orders@orders-1', environment: 'live', timeMs: AT_MS, startMs: AT_MS - 10_000 }
    expect(points[0]).toMatchObject({ ...common, name: 'span.requests', unit: '{request}', kind: 1, temporality: 1, monotonic: true, value: 12 })
    expect(points[0]!.attributes).toEqual({ operation: 'GET /basket', kind: 'server' })
    expect(points[1]).toMatchObject({ ...common, kind: 0, temporality: 0, value: 0.25 })
    expect(points[2]).toMatchObject({ ...common, kind: 3, temporality: 1 })
    expect(points[2]!.distribution).toMatchObject({ count: 70_303, sum: 8.5, min: 0.25, max: 4, scale: 2, zeroCount: 1, positiveOffset: -3 })
    expect(points[2]!.distribution!.buckets).toEqual([3, 0, 300, 70_000])
  })

  test('read the same by protobufjs', () => {
    const [encoded] = encodeDerived([aPoint(), aPoint({ data: aHistogram([1, 2]) })])
    expect(seenPoints(encoded!.request).points).toEqual(expectedPoints(encoded!.request).points)
  })

  test('are one request per entity, under the entity that a reader finds in it', () => {
    const bare = { namespace: '', service: '', instance: 'web-7', environment: 'live' }
    const encoded = encodeDerived([aPoint(), aPoint({ entity: bare }), aPoint({ name: 'other' })])
    expect(encoded.map(one => one.entity)).toEqual(['shop/orders@orders-1', '@web-7'])
    for (const { entity, request } of encoded) expect(new Set(seenPoints(request).points.map(point => point.entity))).toEqual(new Set([entity]))
    expect(seenPoints(encoded[0]!.request).points.map(point => point.name)).toEqual(['span.requests', 'other'])
  })

  test('keep the microseconds of their start', () => {
    const startMs = AT_MS - 10_000 + 0.013
    const [encoded] = encodeDerived([aPoint({ startMs })])
    expect(Math.round((seenPoints(encoded!.request).points[0]!.startMs % 1) * 1000)).toBe(13)
  })

  test('of an empty histogram carry no minimum and no maximum', () => {
    const data = { ...aHistogram([]), min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY } as DerivedPoint['data']
    const [encoded] = encodeDerived([aPoint({ data })])
    expect(seenPoints(encoded!.request).points[0]!.distribution).toMatchObject({ min: Number.NaN, max: Number.NaN, count: 0 })
  })

  test('give the same bytes twice, and nothing gives nothing', () => {
    expect(encodeDerived([aPoint()])).toEqual(encodeDerived([aPoint()]))
    expect(encodeDerived([])).toEqual([])
  })
})
