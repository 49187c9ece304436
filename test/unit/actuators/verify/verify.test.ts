import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { aggregate } from '../../../../actuators/verify/aggregate.ts'
import { conditions, METRIC_VARIABLES } from '../../../../actuators/verify/conditions.ts'
import { recoveredAtMs } from '../../../../actuators/verify/recovery.ts'
import { verdictOf } from '../../../../actuators/verify/verdict.ts'
import type { CheckResult } from '../../../../schemas/outcome.ts'

const samples = (values: readonly (number | null)[]) => values.flatMap((value, index) => (value === null ? [] : [{ atMs: index * 1_000, value }]))
const below = (bound: number) => (value: number) => value < bound
const check = (name: string, result: CheckResult['result'], value: number | null = 1): CheckResult => ({
  ...{ name, type: 'metric', result, value, samples: 5, expect: 'x', detail: '', atMs: 0 }
})

describe('recovery time', () => {
  it('is the first good sample after the last bad one, for every aggregate that a sample can meet', () => {
    for (const kind of ['last', 'mean', 'max', 'min', 'p95', 'sum'] as const) {
      expect(recoveredAtMs(samples([900, 900, 900, 5, 5, 5]), kind, 4_000, below(100)), kind).toBe(2_500)
    }
  })
  it('is the first sample when telemetry had stopped and comes again', () => {
    expect(recoveredAtMs(samples([null, null, 5, 5]), 'mean', 4_000, below(100))).toBe(2_000)
    expect(recoveredAtMs(samples([null, null, 1, 1]), 'count', 4_000, count => count >= 2)).toBe(2_000)
  })
  it('is not moved by an outlier that the check tolerates, and is by one that it does not', () => {
    expect(recoveredAtMs(samples([900, 10, 10, 10, 150, 10, 10]), 'mean', 10_000, below(100))).toBe(500)
    expect(recoveredAtMs(samples([900, 10, 10, 10, 900, 10, 10]), 'mean', 10_000, below(100))).toBe(4_500)
  })
  it('takes the start of the flow for a sum that only a full window can reach', () => {
    expect(recoveredAtMs(samples([null, 3, 3, 3]), 'sum', 4_000, sum => sum > 8)).toBe(1_000)
  })
  it('is unknown while the newest sample is bad', () => {
    expect(recoveredAtMs(samples([5, 5, 900]), 'max', 10_000, below(100))).toBeUndefined()
    expect(recoveredAtMs([], 'mean', 1_000, below(100))).toBeUndefined()
  })
  it('for a clean step is the step, whatever the window and the lengths', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 30 }), (bad, good, windowS) => {
        const values = [...Array<number>(bad).fill(900), ...Array<number>(good).fill(5)]
        for (const kind of ['last', 'mean', 'max', 'p95'] as const) {
          expect(recoveredAtMs(samples(values), kind, windowS * 1_000, below(100))).toBe(bad === 0 ? 0 : bad * 1_000 - 500)
        }
      })
    )
  })
})

describe('aggregates', () => {
  it('agree with their definitions', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1_000, max: 1_000 }), { minLength: 1, maxLength: 50 }), values => {
        expect(aggregate('mean', values)).toBeCloseTo(values.reduce((a, b) => a + b) / values.length, 9)
        expect(aggregate('max', values)).toBe(Math.max(...values))
        expect(aggregate('min', values)).toBe(Math.min(...values))
        expect(aggregate('last', values)).toBe(values.at(-1))
        const p95 = aggregate('p95', values)!
        expect(values.filter(value => value <= p95).length).toBeGreaterThanOrEqual(0.95 * values.length)
        expect(values.filter(value => value < p95).length).toBeLessThan(0.95 * values.length)
      })
    )
  })
  it('of nothing are unknown, and the count is 0', () => {
    for (const kind of ['last', 'mean', 'max', 'min', 'p95', 'sum'] as const) expect(aggregate(kind, [])).toBeUndefined()
    expect(aggregate('count', [])).toBe(0)
  })
})

describe('verdict', () => {
  it.each([
    ['ineffective', [check('a', 'fail')], [check('a', 'fail')]],
    ['partial', [check('a', 'fail'), check('b', 'fail')], [check('a', 'pass'), check('b', 'fail')]],
    ['partial', [check('a', 'fail')], [check('a', 'pass')]],
    ['harmful', [check('a', 'pass')], [check('a', 'fail')]],
    ['inconclusive', [check('a', 'fail')], [check('a', 'no_data')]],
    ['inconclusive', [check('a', 'fail'), check('b', 'fail')], [check('a', 'pass'), check('b', 'no_data')]],
    ['harmful', [check('a', 'pass'), check('b', 'fail')], [check('a', 'fail'), check('b', 'no_data')]],
    ['ineffective', [], [check('a', 'fail')]]
  ] as const)('is %s', (verdict, before, after) => {
    expect(verdictOf(before, after, []).verdict).toBe(verdict)
  })
  it('is harmful when a value is clearly worse in the direction in which it hurts', () => {
    const worse = (from: number, to: number, direction: 'above' | 'below') =>
      verdictOf([check('a', 'fail', from)], [check('a', 'fail', to)], [], () => direction).verdict
    expect(worse(100, 250, 'above')).toBe('harmful')
    expect(worse(100, 150, 'above')).toBe('ineffective')
    expect(worse(100, 250, 'below')).toBe('ineffective')
    expect(worse(100, 40, 'below')).toBe('harmful')
  })
  it('is harmful when a neighbour suffers', () => {
    expect(verdictOf([check('a', 'fail')], [check('a', 'pass')], [check('neighbour', 'fail')]).verdict).toBe('harmful')
  })
})

describe('conditions', () => {
  const ask = (text: string, before: number | null) =>
    conditions().ask(text, METRIC_VARIABLES, { incident: {}, cause: {}, target: 't', value: 3, samples: 4, before }).answer
  it('know yes, no and unknown', () => {
    expect(ask('value < before * 2.0', 2)).toBe('yes')
    expect(ask('value < before * 1.0', 2)).toBe('no')
    expect(ask('value < before * 2.0', null)).toBe('unknown')
    expect(ask('before == null || value < before', null)).toBe('yes')
    expect(ask('incident.nothing > 1', 2)).toBe('unknown')
    expect(ask('value +', 2)).toBe('unknown')
    expect(ask('"text"', 2)).toBe('unknown')
  })
})
