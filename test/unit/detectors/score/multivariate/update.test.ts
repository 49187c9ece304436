import { describe, expect, it } from 'vitest'
import { alarmThreshold } from '../../../../../detectors/score/multivariate/calibration.ts'
import { contributions } from '../../../../../detectors/score/multivariate/contributions.ts'
import { type EntityState, newEntityState, SCALAR } from '../../../../../detectors/score/multivariate/entity-state.ts'
import { isReady, updateEntity } from '../../../../../detectors/score/multivariate/update.ts'
import { aService, MINUTE_MS, START_MS } from './fleet.ts'

const ALARM = alarmThreshold()
/** Ends in the morning, under load. */
const TRAINED_ROWS = 4_600
const [LOAD, CPU, LATENCY, MEMORY, CONSTANT] = [0, 1, 2, 3, 4] as const

/** A service that has been seen for some days, and what goes on feeding it. */
function aTrained(seed = 1, metrics = 5) {
  const state = newEntityState(metrics)
  const row = aService(seed)
  let at = 0
  const next = (change?: (values: Float64Array) => void): number => {
    const values = row(at)
    change?.(values)
    return updateEntity(state, values, START_MS + at++ * MINUTE_MS)
  }
  const highest = (rows: number, change?: (values: Float64Array) => void): number => {
    let score = Number.NEGATIVE_INFINITY
    for (let k = 0; k < rows; k++) score = Math.max(score, next(change))
    return score
  }
  highest(TRAINED_ROWS)
  return { state, next, highest }
}

const scoreOf = (state: EntityState): number => state.scalars[SCALAR.score]!

describe('the multivariate detector finds', () => {
  it('a metric that leaves the others while it stays within its own range, in its first row', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { state, next } = aTrained(seed)
      // What it uses at night; the load is that of the day. (Over a day it lies between 15 and 65.)
      const score = next(values => {
        expect(values[LOAD]).toBeGreaterThan(90)
        values[CPU]! -= 24
        expect(values[CPU]).toBeGreaterThan(15)
      })
      expect(score, `seed ${seed}`).toBeGreaterThan(ALARM)
      expect(contributions(state)[0]!.metric, `seed ${seed}`).toBe(CPU)
    }
  })

  it('a metric that was always constant and now moves', () => {
    const { next } = aTrained()
    expect(next(values => (values[CONSTANT] = 4))).toBeGreaterThan(ALARM)
  })

  it('a small shift that lasts, which no single row shows', () => {
    const { next, highest } = aTrained()
    const shift = (values: Float64Array) => {
      values[MEMORY]! += 12
    }
    expect(next(shift)).toBeLessThan(ALARM)
    expect(highest(60, shift)).toBeGreaterThan(ALARM)
  })
})

describe('the multivariate detector is silent', () => {
  it('about a quiet service: no more alarms than expected on ten entities in four days', () => {
    let alarms = 0
    for (let seed = 1; seed <= 10; seed++) {
      const { next } = aTrained(seed)
      let open = false
      for (let k = 0; k < 4 * 1_440; k++) {
        const alarm = next() >= ALARM
        if (alarm && !open) alarms++
        open = alarm
      }
    }
    expect(alarms).toBeLessThanOrEqual(40)
  })

  it('before it has seen enough, whatever comes', () => {
    const state = newEntityState(5)
    const row = aService(1)
    for (let k = 0; !isReady(state); k++) {
      expect(
        updateEntity(
          state,
          row(k).map(value => (k % 50 === 49 ? value * 100 : value)),
          START_MS + k * MINUTE_MS
        )
      ).toBeLessThan(ALARM)
      expect(k).toBeLessThan(1_000)
    }
  })

  it('about a metric that stops being reported, and about one that comes back', () => {
    const { next, highest } = aTrained()
    const without = (values: Float64Array) => {
      values[LATENCY] = Number.NaN
    }
    expect(highest(300, without)).toBeLessThan(ALARM)
    expect(highest(300)).toBeLessThan(ALARM)
    expect(next(values => (values[LATENCY] = 60))).toBeGreaterThan(ALARM)
  })

  it('about rows in which nothing was reported, and about infinities', () => {
    const { state, highest } = aTrained()
    expect(highest(200, values => values.fill(Number.NaN))).toBeLessThan(ALARM)
    expect(highest(5, values => values.fill(Number.POSITIVE_INFINITY))).toBeLessThan(ALARM)
    expect(highest(200)).toBeLessThan(ALARM)
    expect(scoreOf(state)).not.toBeNaN()
  })

  it('after a silence of hours, though something was wrong before it', () => {
    const state = newEntityState(5)
    const row = aService(1)
    let before = Number.NEGATIVE_INFINITY
    let after = Number.NEGATIVE_INFINITY
    for (let k = 0; k < 4_800; k++) {
      const values = row(k)
      if (k >= 4_000 && k < 4_100) values[MEMORY]! += 40
      if (k >= 4_100 && k < 4_700) continue
      const score = updateEntity(state, values, START_MS + k * MINUTE_MS)
      if (k >= 4_700) after = Math.max(after, score)
      else if (k >= 4_000) before = Math.max(before, score)
    }
    expect(before).toBeGreaterThan(ALARM)
    expect(after).toBeLessThan(ALARM)
  })
})

describe('the multivariate detector takes in', () => {
  it('a metric that is first reported late: silent at first, then part of the model', () => {
    const state = newEntityState(5)
    const row = aService(3)
    let highest = Number.NEGATIVE_INFINITY
    const feed = (k: number, change?: (values: Float64Array) => void): number => {
      const values = row(k)
      change?.(values)
      return updateEntity(state, values, START_MS + k * MINUTE_MS)
    }
    for (let k = 0; k < 3_000; k++) feed(k, values => (values[CPU] = Number.NaN))
    for (let k = 3_000; k < 7_000; k++) highest = Math.max(highest, feed(k))
    expect(highest).toBeLessThan(ALARM)
    expect(state.scalars[SCALAR.active]).toBe(5)
    feed(7_000, values => (values[CPU] = 150))
    expect(contributions(state)[0]).toMatchObject({ metric: CPU })
    expect(contributions(state)[0]!.residual).toBeGreaterThan(4)
  })

  it('the sampling interval: the same level is rarer where there are fewer rows a day', () => {
    const scores = [MINUTE_MS, 5 * MINUTE_MS].map(intervalMs => {
      const state = newEntityState(5)
      const row = aService(1)
      for (let k = 0; k < 2_000; k++) updateEntity(state, row(k), START_MS + k * intervalMs)
      return updateEntity(state, [1e3, 0, 1e3, 0, 0], START_MS + 2_000 * intervalMs)
    })
    expect(scores[1]! - scores[0]!).toBeGreaterThan(0.3)
  })

  it('a value beyond all measure without losing its sight', () => {
    const { state, next, highest } = aTrained()
    expect(next(values => (values[MEMORY] = 1e300))).not.toBeNaN()
    expect(next(values => (values[MEMORY] = 1e29))).not.toBeNaN()
    expect(contributions(state)[0]!.metric).toBe(MEMORY)
    highest(500)
    expect(next(values => (values[CPU]! += 20))).toBeGreaterThan(ALARM)
    expect(contributions(state)[0]!.metric).toBe(CPU)
  })

  it('rows without any clock: equal or older times leave the interval alone', () => {
    const { state, next } = aTrained()
    const before = state.scalars[SCALAR.intervalMs]
    updateEntity(state, [100, 40, 30, 512, 3], START_MS)
    expect(state.scalars[SCALAR.intervalMs]).toBe(before)
    expect(next()).not.toBeNaN()
  })
})
