import { describe, expect, test } from 'vitest'
import { aReader, seenPoints } from './support/collect.ts'
import { aMetric, aPoint, aRequest, attribute } from './support/requests.ts'

const keyOf = (request: Uint8Array, seed?: number): string => seenPoints(request, aReader(seed)).keys[0]!

describe('series keys', () => {
  test('do not depend on the order of attributes', () => {
    const one = aPoint({
      attributes: [
        ['a', 'x'],
        ['b', 7],
        ['c', true]
      ]
    })
    const other = aPoint({
      attributes: [
        ['c', true],
        ['a', 'x'],
        ['b', 7]
      ]
    })
    expect(keyOf(one)).toBe(keyOf(other))
  })

  test('change when two attributes swap their values', () => {
    const one = aPoint({
      attributes: [
        ['source', 'orders'],
        ['target', 'basket']
      ]
    })
    const other = aPoint({
      attributes: [
        ['source', 'basket'],
        ['target', 'orders']
      ]
    })
    expect(keyOf(one)).not.toBe(keyOf(other))
  })

  test.each([
    ['the name', aPoint({ name: 'queue.lengths' })],
    ['the kind', aPoint({ data: 7 })],
    ['the entity', aPoint({ resource: [['service.name', 'basket']] })],
    [
      'the environment',
      aPoint({
        resource: [
          ['service.name', 'orders'],
          ['deployment.environment.name', 'elsewhere']
        ]
      })
    ],
    ['a value', aPoint({ attributes: [['queue', 'side']] })],
    ['a key', aPoint({ attributes: [['quaue', 'main']] })],
    ['an attribute more', aPoint({ attributes: [...[['queue', 'main'] as const], ['shard', 1]] })],
    ['an attribute twice', aPoint({ attributes: [...[['queue', 'main'] as const], ['queue', 'main']] })],
    ['no attribute', aPoint({ attributes: [] })]
  ])('change with %s', (_what, request) => {
    expect(keyOf(request)).not.toBe(keyOf(aPoint()))
  })

  test.each([
    ['the value', aPoint({ value: 5 })],
    ['the scope', aPoint({ scope: 'other' })],
    [
      'resource attributes that are no identity',
      aPoint({
        resource: [
          ['service.name', 'orders'],
          ['process.pid', 4711]
        ]
      })
    ]
  ])('do not change with %s', (_what, request) => {
    expect(keyOf(request)).toBe(keyOf(aPoint()))
  })

  test('tell the types of equal looking values apart', () => {
    const keys = ['1', 1, true, 1.5, '1.5'].map(value => keyOf(aPoint({ attributes: [['value', value]] })))
    expect(new Set(keys).size).toBe(keys.length)
  })

  test('agree between readers of one seed and differ between seeds', () => {
    expect(keyOf(aPoint(), 7)).toBe(keyOf(aPoint(), 7))
    expect(keyOf(aPoint(), 7)).not.toBe(keyOf(aPoint(), 8))
  })

  test('of a long attribute, spelled plainly or not, are equal', () => {
    const long = 'x'.repeat(100_000)
    const keyLast = aMetric(5, writer => {
      writer.double(4, 1)
      writer.message(7, () => {
        writer.message(2, () => writer.text(1, long))
        writer.text(1, 'queue')
      })
    })
    expect(keyOf(keyLast)).toBe(keyOf(aPoint({ attributes: [['queue', long]] })))
  })

  test.each([
    ['true spelled as 2', Uint8Array.of(0x10, 0x02), true],
    ['true spelled in two bytes', Uint8Array.of(0x10, 0x81, 0x00), true],
    ['false spelled in two bytes', Uint8Array.of(0x10, 0x80, 0x00), false],
    ['1 spelled in two bytes', Uint8Array.of(0x18, 0x81, 0x00), 1],
    ['1 set after another value', Uint8Array.of(0x10, 0x01, 0x18, 0x01), 1]
  ])('take %s for what it says', (_what, value, same) => {
    const request = aMetric(5, writer => {
      writer.double(4, 1)
      writer.message(7, () => {
        writer.text(1, 'queue')
        writer.bytes(2, value)
      })
    })
    expect(keyOf(request)).toBe(keyOf(aPoint({ attributes: [['queue', same]] })))
    expect(seenPoints(request).points[0]!.attributes).toEqual({ queue: String(same) })
  })

  test('collide in one lane as seldom as chance allows, for 200,000 series of counted names and swapped values', () => {
    const request = aRequest({
      item: writer => {
        writer.text(1, 'queue.length')
        writer.message(5, () => {
          for (let index = 0; index < 200_000; index++) {
            writer.message(1, () => {
              writer.double(4, 1)
              attribute(writer, 7, 'source.partition', `${index % 500}`)
              attribute(writer, 7, 'target.partition', `${Math.floor(index / 500)}`)
            })
          }
        })
      }
    })
    const lows = new Set<number>()
    const highs = new Set<number>()
    const { accepted } = aReader(3).readMetrics(request, {
      point(view) {
        lows.add(view.keyLow)
        highs.add(view.keyHigh)
      }
    })
    // Birthday bound: n²/2^33 = 4.7 collisions expected in 32 bits; 20 has a chance of about 1e-7.
    expect(accepted - lows.size).toBeLessThan(20)
    expect(accepted - highs.size).toBeLessThan(20)
  })
})
