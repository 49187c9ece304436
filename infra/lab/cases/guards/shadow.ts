// Shadow mode: nothing is done, everything is recorded, and what really happened scores it.

import { judge, that } from '../assertions.ts'
import { explains } from '../people.ts'
import { kill } from '../rig.ts'
import type { GuardCase, GuardStage } from './stage.ts'
import { entityOf } from './watcher.ts'

const BROKEN_MS = 4_000

export const shadowMode: GuardCase = {
  name: 'SHADOW',
  title: 'autonomy observe: no effect at all, decisions stored, and scored by what people did',
  async play(stage) {
    await stage.enter(['shadow'])
    const injectedAtMs = Date.now()
    // A person restarts it and says so: the shadow decision was right. Then it recovers by itself: this one was wrong.
    await episode(stage, async () => {
      for (const found of stage.find('shadow')) kill(found)
      await stage.start('shadow')
      const now = Date.now()
      const change = { kind: 'change', id: 'by-hand', environment: stage.environment, target: entityOf('shadow'), actor: 'ada', what: 'manual', by: 'ada' }
      await stage.announce({ ...change, fromMs: now, toMs: now })
    })
    await episode(stage, () => stage.fault('shadow', 'a', false))
    const thirdAtMs = Date.now()
    await stage.fault('shadow', 'a', true)
    const third = await stage.decision('shadow', thirdAtMs, ({ outcome }) => outcome === 'would_act')
    const facts = await stage.over(['shadow'], injectedAtMs)
    const expected = { detectedWithinMs: 5_000, cause: ['shadow'], targets: [], effects: 0, verdict: null, pages: 0 } as const
    const rows = await stage.homeostat.sql<{ n: number | string }>(
      "SELECT uniqExact(IncidentId) AS n FROM homeostat_decisions FINAL WHERE Policy = 'shadow' AND Outcome = 'would_act'"
    )
    const trust = third?.guards.find(({ guard }) => guard === 'autonomy')?.inputs
    return [
      judge('SHADOW', stage.seed, expected, facts, [
        explains(facts, 'recorded what it would have done', 'is at level observe', 'raise autonomy in the policy shadow'),
        that('stored', Number(rows[0]?.n) === 3, `${rows[0]?.n} of 3 incidents have a shadow decision in ClickHouse`),
        that(
          'scored',
          trust?.['trials'] === 2 && trust['precision'] === 0.5,
          `the third decision knows of ${trust?.['trials']} scored ones, precision ${trust?.['precision']}: 2 and 0.5 expected`
        )
      ])
    ]
  }
}

/** Broken for a while, ended by `end`, and over before it returns. */
async function episode(stage: GuardStage, end: () => Promise<void>): Promise<void> {
  const fromMs = Date.now()
  await stage.fault('shadow', 'a', true)
  await stage.wait(BROKEN_MS)
  await end()
  await stage.untilResolved('shadow', fromMs)
}
