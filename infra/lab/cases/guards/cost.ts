// F8: scaling that does not help goes on until it has cost what it may, and then stops; people are told once.

import { judge, that } from '../assertions.ts'
import { explains } from '../people.ts'
import type { GuardCase } from './stage.ts'

const RUNAWAY_MS = 15_000
/** rules: each run costs 5 of a budget of 10. */
const RUNS_MAX = 2

export const costCap: GuardCase = {
  name: 'F8',
  title: 'scaling that never helps stops at the cost cap, and calls once',
  async play(stage) {
    const injectedAtMs = await stage.enterBroken('pricey', true)
    await stage.wait(RUNAWAY_MS)
    const held = await stage.decision('pricey', injectedAtMs, ({ blockedBy }) => blockedBy.includes('cost_budget'))
    const facts = await stage.over(['pricey'], injectedAtMs)
    const expected = { detectedWithinMs: 5_000, cause: ['pricey'], targets: ['pricey'], effects: RUNS_MAX, verdict: 'ineffective', pages: 1 } as const
    const cost = facts.stories.flatMap(({ outcomes }) => outcomes).reduce((sum, outcome) => sum + outcome.cost, 0)
    return [
      judge('F8', stage.seed, expected, facts, [
        explains(facts, 'has cost 10 of 10', 'What would change that', 'raise costBudgets (http/scale-pricey)'),
        that('cap', held !== undefined && cost <= 10, `cost ${cost} of 10: ${held?.reason ?? 'not held'}`)
      ])
    ]
  }
}
