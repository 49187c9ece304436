// Two hundred series break at once from one cause: one incident, one page, the storm brake on, nothing done.

import { judge, that } from '../assertions.ts'
import { explains } from '../people.ts'
import type { GuardCase } from './stage.ts'

const SERIES = 200
const STORM_MS = 10_000

export const stormBrake: GuardCase = {
  name: 'STORM',
  title: '200 series break at once: one incident, one page, the brake holds every act back',
  async play(stage) {
    const alarms = Array.from({ length: SERIES }, (_, index) => ({ member: 'rack', part: 'power', instance: `host-${index + 1}` }))
    const injectedAtMs = Date.now()
    await stage.watcher.alarm(alarms, true)
    await stage.wait(STORM_MS)
    const held = await stage.decision('rack', injectedAtMs, ({ blockedBy }) => blockedBy.includes('storm'))
    const facts = await stage.facts(['rack'], injectedAtMs)
    await stage.watcher.alarm(alarms, false)
    const expected = { detectedWithinMs: 5_000, cause: ['rack'], targets: [], effects: 0, verdict: null, pages: 1 } as const
    return [
      judge('STORM', stage.seed, expected, facts, [
        explains(facts, 'one cause is likely', 'What would change that', 'nothing is restarted meanwhile'),
        that('one incident', facts.stories.length === 1, `${facts.stories.length} incidents of ${SERIES} series`),
        that('brake', held !== undefined, held?.reason ?? 'no decision was held by the storm brake')
      ])
    ]
  }
}
