// The reader against protobufjs: requests of real collectors, and generated ones in every legal spelling.

import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../../bench/otlp-load.ts'
import { logsRequest, metricsRequest, traceRequest } from './support/arbitraries.ts'
import { seenLogs, seenPoints, seenSpans } from './support/collect.ts'
import { expectedLogs, expectedPoints, expectedSpans, requestType, type Signal } from './support/reference.ts'
import { scramble } from './support/scramble.ts'

const FIXTURES = new URL('../../../data/otlp/', import.meta.url)
const fixtures = readdirSync(FIXTURES).filter(file => file.endsWith('.bin'))
const RUNS = 150
/** A key takes arrays and maps by their bytes as they came, so they are respelled where no key is compared. */
const NESTED_VALUES = ['ArrayValue', 'KeyValueList']

const check: Record<Signal, (bytes: Uint8Array, reference: Uint8Array) => void> = {
  metrics(bytes, reference) {
    const { points, keys, result } = seenPoints(bytes)
    const expected = expectedPoints(reference)
    expect(points).toEqual(expected.points)
    expect(result).toMatchObject({ accepted: expected.points.length, rejected: expected.rejected })
    expectSamePartition(keys, expected.identities)
  },
  trace(bytes, reference) {
    const expected = expectedSpans(reference)
    const { spans, result } = seenSpans(
      bytes,
      expected.map(span => Object.keys(span.attributes))
    )
    expect(spans).toEqual(expected)
    expect(result).toEqual({ accepted: expected.length, rejected: 0, reason: '' })
  },
  logs(bytes, reference) {
    const expected = expectedLogs(reference)
    const { logs, result } = seenLogs(
      bytes,
      expected.map(record => Object.keys(record.attributes))
    )
    expect(logs).toEqual(expected)
    expect(result).toEqual({ accepted: expected.length, rejected: 0, reason: '' })
  }
}

/** Equal identities have equal keys, different ones different keys. */
function expectSamePartition(keys: readonly string[], identities: readonly string[]): void {
  expect(keys.map(key => keys.indexOf(key))).toEqual(identities.map(identity => identities.indexOf(identity)))
}

describe('requests of real collectors', () => {
  test.each(fixtures)('%s reads as protobufjs reads it', file => {
    const signal = file.startsWith('metrics') ? 'metrics' : file.startsWith('traces') ? 'trace' : 'logs'
    const bytes = readFileSync(new URL(file, FIXTURES))
    check[signal](bytes, bytes)
  })

  test('there are fixtures of every signal', () => {
    expect(fixtures.filter(file => file.startsWith('metrics')).length).toBeGreaterThan(5)
    expect(fixtures.filter(file => file.startsWith('traces')).length).toBeGreaterThan(1)
    expect(fixtures.filter(file => file.startsWith('logs')).length).toBeGreaterThan(1)
  })
})

describe.each([
  { signal: 'metrics', request: metricsRequest },
  { signal: 'trace', request: traceRequest },
  { signal: 'logs', request: logsRequest }
] as const)('generated $signal', ({ signal, request }) => {
  const type = requestType(signal)
  const encode = (object: object): Uint8Array => type.encode(type.fromObject(object)).finish()

  test('read as protobufjs reads them', () => {
    fc.assert(
      fc.property(request as fc.Arbitrary<object>, object => {
        const bytes = encode(object)
        check[signal](bytes, bytes)
      }),
      { numRuns: RUNS }
    )
  })

  test('mean the same in any order of fields, unpacked, with long lengths and unknown fields', () => {
    fc.assert(
      fc.property(request as fc.Arbitrary<object>, fc.integer(), (object, seed) => {
        const bytes = encode(object)
        const other = scramble(type, bytes, seededRandom(seed), NESTED_VALUES)
        check[signal](other, bytes)
        if (signal === 'metrics') expect(seenPoints(other).keys).toEqual(seenPoints(bytes).keys)
      }),
      { numRuns: RUNS }
    )
  })
  test('are read whatever the spelling of nested values', () => {
    fc.assert(
      fc.property(request as fc.Arbitrary<object>, fc.integer(), (object, seed) => {
        const bytes = encode(object)
        const other = scramble(type, bytes, seededRandom(seed))
        if (signal === 'metrics') expect(seenPoints(other).points).toEqual(expectedPoints(bytes).points)
        else check[signal](other, bytes)
      }),
      { numRuns: RUNS }
    )
  })
})
