// Stored points as the values that checks compare.

import { describe, expect, test } from 'vitest'
import { type StoredPoint, seriesValues } from '../../../../pipeline/store/series-values.ts'

const aPoint = (atS: number, more: Partial<StoredPoint>): StoredPoint => ({
  kind: 'sum',
  series: 's',
  atMs: atS * 1_000,
  startMs: 0,
  value: 0,
  count: 0,
  sum: 0,
  temporality: 2,
  monotonic: true,
  ...more
})
const values = (points: StoredPoint[], fromMs = 0): number[] => seriesValues(points, fromMs).map(each => each.value)

describe('series values', () => {
  test('a gauge is its value', () => {
    expect(seriesValues([aPoint(1, { kind: 'gauge', value: 5 })], 0)).toEqual([{ atMs: 1_000, value: 5 }])
  })

  test('a cumulative counter is its change a second; its first point without a start says nothing', () => {
    expect(values([aPoint(10, { value: 100 }), aPoint(20, { value: 150 }), aPoint(25, { value: 150 })])).toEqual([5, 0])
  })

  test('a counter that starts within sight has its first rate since its start', () => {
    expect(values([aPoint(10, { value: 40, startMs: 2_000 })])).toEqual([5])
  })

  test('a reset, by value or by start time, counts the new value from the reset on and is never negative', () => {
    expect(values([aPoint(10, { value: 100 }), aPoint(20, { value: 30 })])).toEqual([3])
    expect(values([aPoint(10, { value: 10, startMs: 1_000 }), aPoint(20, { value: 40, startMs: 15_000 })]).at(-1)).toBe(8)
  })

  test('two processes of one entity are two series', () => {
    const points = [
      aPoint(10, { value: 1_000, series: 'a' }),
      aPoint(11, { value: 5, series: 'b' }),
      aPoint(20, { value: 1_010, series: 'a' }),
      aPoint(21, { value: 25, series: 'b' })
    ]
    expect(values(points)).toEqual([1, 2])
  })

  test('delta points of one instant are parts of one, and a rate over their interval', () => {
    const part = (value: number): StoredPoint => aPoint(10, { temporality: 1, monotonic: true, startMs: 8_000, value })
    expect(seriesValues([part(6), part(4), aPoint(12, { temporality: 1, monotonic: true, startMs: 10_000, value: 8 })], 0)).toEqual([
      { atMs: 10_000, value: 5 },
      { atMs: 12_000, value: 4 }
    ])
    const histogram = (count: number, sum: number): StoredPoint => aPoint(10, { kind: 'distribution', temporality: 1, startMs: 8_000, count, sum })
    expect(values([histogram(1, 10), histogram(3, 10)])).toEqual([5])
  })

  test('delta sums and sums that may fall are their values', () => {
    expect(values([aPoint(1, { value: 3, temporality: 1 }), aPoint(2, { value: 4, monotonic: false }), aPoint(3, { value: 2, monotonic: false })])).toEqual([
      3, 4, 2
    ])
  })

  test('a histogram is the mean of what the interval counted; an empty interval says nothing', () => {
    const at = (atS: number, count: number, sum: number): StoredPoint => aPoint(atS, { kind: 'distribution', count, sum })
    expect(values([at(10, 10, 100), at(20, 14, 140), at(30, 14, 140), at(40, 2, 8)])).toEqual([10, 4])
    expect(values([aPoint(1, { kind: 'distribution', temporality: 1, count: 4, sum: 2 }), aPoint(2, { kind: 'distribution', temporality: 1 })])).toEqual([0.5])
  })

  test('points before the window only serve the first difference, and values come ordered by time', () => {
    const points = [
      aPoint(10, { value: 0 }),
      aPoint(20, { value: 10 }),
      aPoint(5, { kind: 'gauge', series: 'g', value: 7 }),
      aPoint(15, { kind: 'gauge', series: 'g', value: 8 })
    ]
    expect(seriesValues(points, 15_000)).toEqual([
      { atMs: 15_000, value: 8 },
      { atMs: 20_000, value: 1 }
    ])
  })

  test('what is not a number is no value', () => {
    expect(values([aPoint(1, { kind: 'gauge', value: Number.NaN }), aPoint(2, { kind: 'distribution', temporality: 1, count: 3, sum: Number.NaN })])).toEqual(
      []
    )
  })
})
