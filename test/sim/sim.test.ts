// The simulated worlds in `npm test`: a thousand. All planted bugs and longer runs: `npm run test:sim`.

import { expect, test } from 'vitest'
import type { Mutant } from './mutants/mutant.ts'
import { MUTANTS } from './mutants/mutants.ts'
import { runSeeds } from './run.ts'
import { runWorld } from './world.ts'

const SEEDS = 1_000 // 33 s of a core that others use, too.
const WRONG_SEEDS_MAX = 100
const MUTANT_SEEDS = 50
const TIMEOUT_MS = 240_000 // For a core that is shared with everything else.
const quiet = { mutants: false, keep: false, say: (text: string): void => void process.stderr.write(`${text}\n`) }

test('no invariant breaks in any world, every mark is reached, and of random alarms few lead to an act', { timeout: TIMEOUT_MS }, async () => {
  const { failed, marksMissing, randomAlarms, wrongActionsRatio } = await runSeeds({ ...quiet, seeds: SEEDS, first: 1 })
  expect(failed).toEqual([])
  expect(marksMissing).toEqual([])
  expect(randomAlarms.randomAlarms / randomAlarms.triggers).toBeGreaterThan(0.1)
  expect(wrongActionsRatio).toBeLessThanOrEqual(0.05)
})

test('the same seed gives the same events, another seed others', { timeout: TIMEOUT_MS }, async () => {
  const hashes: string[] = []
  for (const seed of [7, 7, 8, 8]) hashes.push((await runWorld(seed)).traceHash)
  expect(hashes[1]).toBe(hashes[0])
  expect(hashes[3]).toBe(hashes[2])
  expect(hashes[2]).not.toBe(hashes[0])
})

test('an act on what was well is counted: where raw signals always confirm the alarm, some world has one', { timeout: TIMEOUT_MS }, async () => {
  const gullible: Mutant = {
    name: 'raw signals say whatever was alarming',
    signals: signals => ({ ...signals, series: async query => (await signals.series(query)).map(({ atMs }) => ({ atMs, value: 900 })) })
  }
  for (let seed = 1; seed <= WRONG_SEEDS_MAX; seed++) {
    if ((await runWorld(seed, { mutant: gullible, randomAlarmRatio: 0.5 })).wrongActions > 0) return
  }
  expect.fail(`no act on what was well in ${WRONG_SEEDS_MAX} worlds`)
})

test('an invariant that is broken is found: a planted bug, soon', { timeout: TIMEOUT_MS }, async () => {
  const mutant = MUTANTS.find(({ name }) => name === 'outcomes are in no audit chain')!
  for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
    const { violations, last } = await runWorld(seed, { mutant })
    if (violations.length === 0) continue
    expect(violations[0]?.invariant).toBe('18 audit chain')
    expect(last.join('\n')).toContain('VIOLATION')
    return
  }
  expect.fail(`not found in ${MUTANT_SEEDS} worlds`)
})
