import { describe, expect, test } from 'vitest'
import { openReader } from '../../../../pipeline/otlp/reader.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { otlpLoad } from '../../../bench/otlp-load.ts'
import { aReader, FALLBACK, seenPoints } from './support/collect.ts'
import { aMetric, aNestedPoint, aPoint, aRequest, attribute, bytesOf } from './support/requests.ts'

const keyOf = (request: Uint8Array, seed?: number): string => seenPoints(request, aReader(seed)).keys[0]!

function refusalOf(request: Uint8Array): AppError {
  try {
    seenPoints(request)
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('the request was read')
}

describe('points', () => {
  test('without a value are rejected, counted and named', () => {
    const request = aMetric(5, writer => writer.fixed64(3, 1n))
    expect(seenPoints(request).result).toEqual({ accepted: 0, rejected: 1, reason: 'metric queue.length: a number point has no value' })
  })

  test('flagged as without recorded value are handed out as NaN, whatever value they carry', () => {
    const [point] = seenPoints(
      aMetric(5, writer => {
        writer.double(4, 3)
        writer.varint(8, 1)
      })
    ).points
    expect(point).toMatchObject({ value: Number.NaN, noRecordedValue: true })
  })

  test('with a NaN value are no missing ones', () => {
    expect(seenPoints(aPoint({ value: Number.NaN })).points[0]).toMatchObject({ value: Number.NaN, noRecordedValue: false })
  })

  test('keep integers exact to 2^53 and their sign', () => {
    for (const integer of [-1n, -(2n ** 53n), 2n ** 53n, 0n]) {
      expect(seenPoints(aMetric(7, writer => writer.fixed64(6, integer))).points[0]!.value).toBe(Number(integer))
    }
  })

  test('keep their time to the microsecond', () => {
    const [point] = seenPoints(
      aMetric(5, writer => {
        writer.fixed64(3, 1_760_000_000_123_457_000n)
        writer.double(4, 1)
      })
    ).points
    expect(Math.round(point!.timeMs * 1000)).toBe(1_760_000_000_123_457)
  })

  test.each([
    ['of an unknown kind', aMetric(13, writer => writer.double(4, 1)), 'no data of a known kind'],
    [
      'with more buckets than the scratch',
      aMetric(9, writer => {
        writer.packedFixed64(6, new Array(1026).fill(1))
        writer.packedDoubles(7, new Array(1025).fill(0))
      }),
      'a histogram has more than 1024 buckets'
    ],
    ['with as many buckets as bounds', aMetric(9, writer => bounds(writer, [1, 2], [1, 2])), 'not one bucket more than bounds'],
    ['with bounds out of order', aMetric(9, writer => bounds(writer, [2, 1], [1, 2, 3])), 'do not increase'],
    ['with a bound that is no number', aMetric(9, writer => bounds(writer, [Number.NaN], [1, 2])), 'do not increase'],
    [
      'with more exponential buckets than the scratch',
      aMetric(10, writer => writer.message(8, () => writer.packedVarints(2, new Array(1025).fill(1)))),
      'more than 1024 buckets'
    ],
    [
      'with more quantiles than the scratch',
      aMetric(11, writer => {
        for (let index = 0; index < 129; index++) writer.message(6, () => writer.double(1, index))
      }),
      'more than 128 quantiles'
    ]
  ])('%s are rejected with the reason', (_what, request, reason) => {
    const { result } = seenPoints(request)
    expect(result).toMatchObject({ accepted: 0, rejected: 1 })
    expect(result.reason).toContain(reason)
  })

  test('after a rejected one are still read', () => {
    const request = Buffer.concat([aMetric(5, () => undefined), aPoint()])
    expect(seenPoints(request).result).toMatchObject({ accepted: 1, rejected: 1 })
  })

  test('cost no memory each', () => {
    const { request, pointCount } = otlpLoad({ seed: 1, metricCount: 50, pointCount: 100 })
    const reader = aReader()
    const sink = {
      lanes: 0,
      point(view: { keyLow: number }) {
        this.lanes ^= view.keyLow
      }
    }
    for (let turn = 0; turn < 200; turn++) reader.readMetrics(request, sink) // Until V8 has optimised it.
    const grown = Array.from({ length: 20 }, () => {
      const before = process.memoryUsage().heapUsed
      for (let turn = 0; turn < 4; turn++) reader.readMetrics(request, sink)
      return (process.memoryUsage().heapUsed - before) / (4 * pointCount)
    })
    // One boxed number a point would be 16 bytes; a collection in between makes a turn negative, so look at the median.
    expect(grown.sort((a, b) => a - b)[10]).toBeLessThan(2)
  })
})

function bounds(writer: Parameters<Parameters<typeof aMetric>[1]>[0], explicit: number[], counts: number[]): void {
  writer.packedDoubles(7, explicit)
  writer.packedFixed64(6, counts)
}

describe('malformed requests', () => {
  const whole = aPoint()
  test('every truncation is refused as malformed with an offset inside, or ends between two fields', () => {
    for (let size = 1; size < whole.length; size++) {
      const error = refusalOf(whole.subarray(0, size))
      expect(error.code).toBe('malformed_otlp')
      expect(error.details['offset']).toBeLessThanOrEqual(size)
      expect(error.message).toContain(`at byte ${error.details['offset']}`)
    }
  })

  test.each([
    ['a length beyond its parent', Uint8Array.of(0x0a, 0x02, 0x12, 0x7f)],
    ['a length of 2^63', Uint8Array.of(0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)],
    ['a number of eleven bytes', new Uint8Array(12).fill(0xff)],
    ['field number 0', Uint8Array.of(0x02, 0x00)],
    ['an end of no group', Uint8Array.of(0x0c)],
    ['a group without an end', Uint8Array.of(0x1b, 0x08, 0x01)],
    ['groups in groups without end', new Uint8Array(1000).fill(0x1b)],
    ['wire type 7', Uint8Array.of(0x0f)],
    ['a known field number spelled in two bytes', Uint8Array.of(0x8a, 0x00, 0x00)]
  ])('%s is refused', (_what, request) => {
    expect(refusalOf(request).code).toBe('malformed_otlp')
  })

  test('an attribute that reaches into the next point is refused', () => {
    const point = bytesOf(writer => attribute(writer, 7, 'queue', 'main-line'))
    const request = aRequest({
      item: writer =>
        writer.message(5, () => {
          writer.bytes(1, point.subarray(0, -1))
          writer.bytes(1, point)
        })
    })
    expect(refusalOf(request).message).toContain('longer than what holds it')
  })

  test('attributes nested to the limit are read, deeper ones refused without a deep stack', () => {
    expect(seenPoints(aNestedPoint(32)).points[0]!.attributes['deep']).toBe(`${'['.repeat(32)}true${']'.repeat(32)}`)
    expect(refusalOf(aNestedPoint(33)).message).toContain('nested deeper than 32')
    expect(refusalOf(aNestedPoint(900)).message).toContain('nested deeper than 32')
  })

  test('an empty request holds nothing', () => {
    expect(seenPoints(new Uint8Array(0)).result).toEqual({ accepted: 0, rejected: 0, reason: '' })
  })
})

describe('the reader', () => {
  test('reads the same from a pooled Buffer, a resizable buffer and shared memory', () => {
    const request = aPoint()
    const expected = seenPoints(request)
    const resizable = new Uint8Array(new ArrayBuffer(request.length, { maxByteLength: 4096 }))
    const shared = new Uint8Array(new SharedArrayBuffer(request.length))
    const pooled = Buffer.from(request)
    for (const copy of [resizable, shared, pooled]) {
      copy.set(request)
      expect(seenPoints(copy)).toEqual(expected)
    }
  })

  test('serves again after its sink threw', () => {
    const reader = aReader()
    const fail = (): void => {
      throw new Error('full')
    }
    expect(() => reader.readMetrics(aPoint(), { point: fail })).toThrow('full')
    expect(seenPoints(aPoint(), reader).points).toHaveLength(1)
  })

  test('refuses to be called by its own sink', () => {
    const reader = aReader()
    expect(() => reader.readMetrics(aPoint(), { point: () => reader.readMetrics(aPoint(), { point: () => undefined }) })).toThrow(/sink called the reader/)
  })

  test('gives one entity one index, in every reader and under every resource that names it', () => {
    const indexOf = (request: Uint8Array, seed: number): number => {
      let index = -1
      openReader({ fallback: FALLBACK, seed }).readMetrics(request, {
        point(view) {
          index = view.resource.entityIndex
        }
      })
      return index
    }
    const more = aPoint({
      resource: [
        ['service.version', '2'],
        ['service.name', 'orders']
      ]
    })
    expect(indexOf(aPoint(), 1)).toBe(indexOf(more, 2))
    expect(indexOf(aPoint(), 1)).not.toBe(indexOf(aPoint({ resource: [['service.name', 'basket']] }), 1))
  })

  test('takes the fallback for an empty and for a missing resource', () => {
    const empty = aPoint({ resource: [] })
    const missing = bytesOf(writer => writer.message(1, () => writer.bytes(2, scopeOf(aPoint()))))
    for (const request of [empty, missing]) expect(seenPoints(request).points[0]).toMatchObject({ entity: 'nobody', environment: 'test' })
  })

  test('merges a resource that is sent in two pieces', () => {
    const piece = (key: string, value: string): Uint8Array => bytesOf(writer => attribute(writer, 1, key, value))
    const request = bytesOf(writer =>
      writer.message(1, () => {
        writer.bytes(1, piece('service.name', 'orders'))
        writer.bytes(2, scopeOf(aPoint()))
        writer.bytes(1, piece('service.namespace', 'shop'))
      })
    )
    const { points, keys } = seenPoints(request)
    expect(points[0]).toMatchObject({ entity: 'shop/orders', resource: { 'service.name': 'orders', 'service.namespace': 'shop' } })
    const whole: [string, string][] = [
      ['service.name', 'orders'],
      ['service.namespace', 'shop']
    ]
    expect(keys[0]).toBe(keyOf(aPoint({ resource: whole })))
  })
})

/** The ScopeMetrics bytes of a request with one. */
function scopeOf(request: Uint8Array): Uint8Array {
  const resourceEnd = 4 + request[3]!
  return request.subarray(resourceEnd + 2)
}
