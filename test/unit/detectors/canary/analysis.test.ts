import { describe, expect, it } from 'vitest'
import { differenceOfProportions, quantileBounds, ratioOfQuantiles, wilson } from '../../../../detectors/canary/intervals.ts'
import { FALSE_VERDICT_MAX, levelOf, lookOf, samplesOf } from '../../../../detectors/canary/looks.ts'
import { upperQuantile } from '../../../../detectors/canary/normal.ts'
import { addValue, emptyExponential } from '../../../../detectors/score/exponential.ts'
import { playCanary } from '../../../support/canary-run.ts'
import { seededRandom } from '../../../support/virtual-clock.ts'

const Z95 = upperQuantile(0.025)

function histogramOf(values: readonly number[]) {
  const histogram = emptyExponential()
  for (const value of values) addValue(histogram, value)
  return histogram
}

describe('how sure a difference is', () => {
  it.each([
    [0.3, 0.5244005127],
    [0.025, 1.9599639845],
    [0.0001, 3.7190164855],
    [1e-6, 4.7534243088],
    [0.9, -1.2815515655]
  ])('the normal quantile of a tail of %s is exact to eight digits', (tail, z) => {
    expect(upperQuantile(tail)).toBeCloseTo(z, 7)
  })

  // Table II of Newcombe (1998), method 10.
  it.each([
    [56, 70, 48, 80, 0.0524, 0.3339],
    [9, 10, 3, 10, 0.1705, 0.809],
    [6, 7, 2, 7, 0.0582, 0.8062],
    [5, 56, 0, 29, -0.0381, 0.1926],
    [0, 10, 0, 20, -0.1611, 0.2775],
    [10, 10, 0, 20, 0.6791, 1]
  ])('the difference of %i of %i and %i of %i is that of the paper', (errors, requests, errorsB, requestsB, lower, upper) => {
    const found = differenceOfProportions({ errors, requests }, { errors: errorsB, requests: requestsB }, Z95)
    expect(found.lower).toBeCloseTo(lower, 4)
    expect(found.upper).toBeCloseTo(upper, 4)
  })

  it('no error in few requests says little: the bound is far from zero', () => {
    expect(wilson({ errors: 0, requests: 20 }, Z95)).toEqual({ estimate: 0, lower: 0, upper: expect.closeTo(0.1611, 4) })
  })

  it('the bounds of a 95th percentile hold the true one in 95 of 100 samples', () => {
    const random = seededRandom(3)
    const exact = -Math.log(0.05) // Of the exponential distribution with mean 1.
    const holds = Array.from({ length: 500 }, () => {
      const { lower, upper } = quantileBounds(histogramOf(Array.from({ length: 400 }, () => -Math.log(1 - random.next()))), 0.95, Z95)
      return lower <= exact && exact <= upper
    })
    const share = holds.filter(Boolean).length / holds.length
    expect(share).toBeGreaterThan(0.93)
    expect(share).toBeLessThan(0.99)
  })

  it('twice as slow is a ratio of two, with bounds on either side; too few requests give no upper bound', () => {
    const random = seededRandom(4)
    const times = Array.from({ length: 2_000 }, () => -Math.log(1 - random.next()))
    const { estimate, lower, upper } = ratioOfQuantiles(histogramOf(times.map(time => 2 * time)), histogramOf(times), 0.95, 3)
    expect(estimate).toBeCloseTo(2, 1)
    expect(lower).toBeGreaterThan(1.5)
    expect(upper).toBeLessThan(2.7)
    expect(ratioOfQuantiles(histogramOf(times.slice(0, 50)), histogramOf(times), 0.95, 3).upper).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('when a canary is looked at', () => {
  it('never before the least number of requests, then whenever the smaller arm grew by a quarter', () => {
    expect(lookOf(199, 200)).toBe(-1)
    expect(lookOf(200, 200)).toBe(0)
    for (let look = 0; look < 40; look++) {
      expect(lookOf(samplesOf(look, 200), 200)).toBe(look)
      expect(lookOf(samplesOf(look, 200) - 1, 200)).toBe(look - 1)
    }
  })

  it('however often it is looked at, the chances of all looks add up to what was promised', () => {
    const spent = Array.from({ length: 10_000 }, (_, look) => levelOf(look)).reduce((sum, level) => sum + level)
    expect(spent).toBeLessThan(FALSE_VERDICT_MAX)
    expect(spent).toBeGreaterThan(0.99 * FALSE_VERDICT_MAX)
  })
})

describe('verdicts over many canaries', () => {
  const seeds = Array.from({ length: 50 }, (_, index) => index + 1)
  const statesOf = (traffic: Parameters<typeof playCanary>[1]) => seeds.map(seed => playCanary(seed, traffic).record)

  it('an equal canary is aborted in at most one of 50', () => {
    const records = statesOf({ requestsPerWindow: 20, windows: 200, errorRatio: { canary: 0.01, baseline: 0.01 } })
    expect(records.filter(({ state }) => state === 'failed').length).toBeLessThanOrEqual(1)
    expect(records.filter(({ state }) => state === 'passed').length).toBeGreaterThanOrEqual(48)
  })

  it('a canary that is worse by exactly what is tolerated is aborted in at most one of 50, though looked at up to 16 times', () => {
    const records = statesOf({ requestsPerWindow: 40, windows: 200, errorRatio: { canary: 0.03, baseline: 0.01 } })
    expect(records.filter(({ state }) => state === 'failed').length).toBeLessThanOrEqual(1)
    expect(records.filter(({ state }) => state === 'passed').length).toBeLessThanOrEqual(1)
  })

  it('one with 8 points more errors is aborted, never before 200 requests an arm, and nine times of ten within 600', () => {
    const records = statesOf({ requestsPerWindow: 20, windows: 200, errorRatio: { canary: 0.09, baseline: 0.01 } })
    expect(records.every(({ state }) => state === 'failed')).toBe(true)
    expect(records.every(({ canary, baseline }) => Math.min(canary.requests, baseline.requests) >= 200)).toBe(true)
    expect(records.filter(({ canary }) => canary.requests <= 600).length).toBeGreaterThanOrEqual(45)
  })

  it('one that takes three times as long is aborted, without a single error', () => {
    const records = statesOf({ requestsPerWindow: 20, windows: 200, errorRatio: { canary: 0, baseline: 0 }, slower: 3 })
    expect(records.every(({ state }) => state === 'failed')).toBe(true)
  })

  it('arms that fail alike give no verdict: it is not the canary', () => {
    const records = statesOf({ requestsPerWindow: 20, windows: 100, errorRatio: { canary: 0.3, baseline: 0.3 } })
    expect(records.every(({ state }) => state === 'running')).toBe(true)
    expect(records[0]!.reason).toMatch(/the baseline fails too/)
  })
})
