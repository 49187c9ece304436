// Harm to those who depend on a target: judged by their raw signals before the incident, before the act, and after it.

import { expect, test } from 'vitest'
import { AFTER_SAMPLES, BEFORE_SAMPLES_MIN, collateralChecks, DEPENDENTS_MAX } from '../../../../actuators/verify/collateral.ts'
import { verdictOf } from '../../../../actuators/verify/verdict.ts'
import type { Command } from '../../../../schemas/command.ts'
import { quiet } from '../../../support/quiet.ts'

const S = 1_000
const ONSET_MS = 1_000 * S
const ACT_MS = ONSET_MS + 20 * S
const NOW_MS = ACT_MS + 10 * S
const COMMAND = { id: 'c', environment: 'lab', target: 'shop/cache@cache-1', startedAtMs: ONSET_MS } as Command

type Values = { before: number; during?: number; after: number; samplesBefore?: number; samplesAfter?: number }

/** A sample a second of each part, in one dependent's duration; its error ratio is 0 throughout. */
function looks(values: Values, dependents: readonly string[] = ['shop/front']) {
  const { before, during = before, after, samplesBefore = 60, samplesAfter = 10 } = values
  const samples = [
    ...Array.from({ length: samplesBefore }, (_, index) => ({ atMs: ONSET_MS - (index + 1) * S, value: before })),
    ...Array.from({ length: 20 }, (_, index) => ({ atMs: ONSET_MS + index * S, value: during })),
    ...Array.from({ length: samplesAfter }, (_, index) => ({ atMs: ACT_MS + index * S, value: after }))
  ].sort((a, b) => a.atMs - b.atMs)
  const check = collateralChecks({
    signals: {
      series: async ({ metric, fromMs, toMs }) =>
        samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).map(({ atMs, value }) => ({ atMs, value: metric.endsWith('duration') ? value : 0 }))
    },
    dependentsOf: async (environment, service) => (environment === 'lab' && service === 'shop/cache' ? dependents : []),
    clock: { nowMs: () => NOW_MS },
    logger: quiet
  })
  return check(COMMAND, ACT_MS)
}

test('a dependent that got slow through the act is named, with the figures of then and now', async () => {
  const [duration, errors] = await looks({ before: 0.003, after: 0.3 })
  expect(duration).toMatchObject({ name: 'shop/front homeostat.span.duration', result: 'fail', value: expect.closeTo(0.3, 6), samples: AFTER_SAMPLES })
  expect(duration!.detail).toBe('shop/front depends on it: 0.3 s mean duration, 0.003 before')
  expect(errors).toMatchObject({ result: 'pass', value: 0 })
  expect(verdictOf([], [], [duration!, errors!])).toMatchObject({ verdict: 'harmful' })
})

test('what the incident did to a dependent before the act is not the doing of the act', async () => {
  expect((await looks({ before: 0.003, during: 1.5, after: 1.5 }))[0]!.result).toBe('pass')
})

test('a rise that is large only in proportion is no harm, nor is one that is large but less than double', async () => {
  expect((await looks({ before: 0.003, after: 0.04 }))[0]!.result).toBe('pass')
  expect((await looks({ before: 1, after: 1.8 }))[0]!.result).toBe('pass')
})

test('a busy dependent that is silent since the act leaves harm open, one with little to do is not judged', async () => {
  const silent = await looks({ before: 0.003, after: 0.003, samplesAfter: AFTER_SAMPLES - 1 })
  expect(silent.map(({ result }) => result)).toEqual(['no_data', 'no_data'])
  expect(verdictOf([], [], silent)).toMatchObject({ verdict: 'inconclusive', reason: expect.stringContaining('harm elsewhere cannot be ruled out') })
  expect(await looks({ before: 0.003, after: 9, samplesBefore: BEFORE_SAMPLES_MIN - 1 })).toEqual([])
})

test('many dependents are bounded, none is no check, and an engine that is away is no answer', async () => {
  const many = Array.from({ length: 3 * DEPENDENTS_MAX }, (_, index) => `shop/front-${index}`)
  expect(await looks({ before: 0.003, after: 0.003 }, many)).toHaveLength(2 * DEPENDENTS_MAX)
  expect(await looks({ before: 0.003, after: 9 }, [])).toEqual([])
  const away = collateralChecks({
    signals: { series: async () => [] },
    dependentsOf: async () => Promise.reject(new Error('ClickHouse is away')),
    clock: { nowMs: () => NOW_MS },
    logger: quiet
  })
  expect(await away(COMMAND, ACT_MS)).toMatchObject([{ result: 'no_data', detail: 'the dependents are not known: ClickHouse is away' }])
})
