// F7: the act cures its target and makes the one who calls it slow. That is harm: undone, and the runbook is in quarantine there.

import { judge, that, withFigures } from '../assertions.ts'
import { explains } from '../people.ts'
import { until } from '../rig.ts'
import type { GuardCase } from './stage.ts'

/** Traffic before the fault: what the caller's answers cost at rest. */
const BEFORE_MS = 20_000
const DEADLINE_MS = 60_000
/** After the harm: time in which the runbook could be tried again. */
const AFTER_MS = 5_000

export const regression: GuardCase = {
  name: 'F7',
  title: 'an act that slows down who depends on its target: harmful, undone, in quarantine',
  async play(stage) {
    await stage.enter(['cache', 'front'])
    await stage.wait(BEFORE_MS)
    const injectedAtMs = Date.now()
    await stage.fault('cache', 'a', true)
    const [outcome] =
      (await until(stage, DEADLINE_MS, async () => {
        const outcomes = (await stage.stories(['cache'], injectedAtMs)).flatMap(story => story.outcomes)
        return outcomes.length > 0 && outcomes
      })) ?? []
    const quarantined = await stage.decision(
      'cache',
      injectedAtMs,
      ({ outcome: said, blockedBy }) => said === 'escalate' && blockedBy.includes('target_frozen')
    )
    await stage.wait(AFTER_MS)
    const all = await stage.facts(['cache'], injectedAtMs)
    const aboutTrust = all.pages.filter(({ dedupKey }) => dedupKey.startsWith('policy/'))
    const facts = { ...all, pages: all.pages.filter(page => !aboutTrust.includes(page)) }
    await stage.leave(['cache', 'front'])
    const expected = { detectedWithinMs: 5_000, cause: ['cache'], targets: ['cache'], effects: 2, verdict: 'harmful', pages: 1 } as const
    const done = facts.effects.map(({ what }) => what).join(', ')
    const report = judge('F7', stage.seed, expected, facts, [
      explains(facts, 'It gave up and called people.', 'did harm', 'homeostat release lab/cache@cache-1'),
      that('undone', done === 'sync, async' && outcome?.steps[0]?.undo === 'undone', `${done || 'nothing'} at the witness, undo ${outcome?.steps[0]?.undo}`),
      that('quarantine', quarantined !== undefined, quarantined?.reason ?? 'the runbook is not in quarantine'),
      that('lost level', aboutTrust.length > 0, aboutTrust[0]?.summary ?? 'nobody was told that the policy lost a level'),
      that('reason', outcome?.reason.includes('front') === true, outcome?.reason ?? 'no outcome')
    ])
    return [withFigures(report, { verdictMs: outcome === undefined ? null : outcome.recordedAtMs - injectedAtMs })]
  }
}
