// F6: an act cures two of three symptoms. That is partial: the next step, or a person, and never success.

import { type AcceptanceReport, judge, that } from '../assertions.ts'
import { explains } from '../people.ts'
import { until } from '../rig.ts'
import type { GuardCase, GuardStage } from './stage.ts'

const PARTS = ['a', 'b', 'c']
const DEADLINE_MS = 25_000
const PAGE_DEADLINE_MS = 15_000 // Whose service it is is looked up first, for at most three seconds.

export const partialFix: GuardCase = {
  name: 'F6',
  title: 'an act cures two of three symptoms: partial, then the next step or a page, never success',
  play: async stage => [await alone(stage), await withNextStep(stage)]
}

async function breakAll(stage: GuardStage, member: string): Promise<number> {
  await stage.enter([member], PARTS)
  const injectedAtMs = Date.now()
  for (const part of PARTS) await stage.fault(member, part, true, part === 'c')
  return injectedAtMs
}

async function alone(stage: GuardStage): Promise<AcceptanceReport> {
  const injectedAtMs = await breakAll(stage, 'half')
  const gaveUp = await stage.decision('half', injectedAtMs, ({ outcome }) => outcome === 'escalate', DEADLINE_MS)
  await until(stage, PAGE_DEADLINE_MS, () => stage.pages.received().some(({ atMs }) => atMs >= injectedAtMs))
  const facts = await stage.over(['half'], injectedAtMs)
  const expected = { detectedWithinMs: 5_000, cause: ['half'], targets: ['half'], effects: 1, verdict: 'partial', pages: 1 } as const
  const verdicts = facts.stories.flatMap(({ outcomes }) => outcomes.map(({ verdict }) => verdict))
  return judge('F6', stage.seed, expected, facts, [
    explains(facts, 'It gave up and called people.', 'mended a part', 'homeostat acknowledge'),
    that('handed over', gaveUp !== undefined, gaveUp?.reason ?? 'nobody was called'),
    that('never success', !verdicts.includes('healed') && facts.stories.every(({ incident }) => incident.healedAtMs === null), verdicts.join(', '))
  ])
}

async function withNextStep(stage: GuardStage): Promise<AcceptanceReport> {
  const injectedAtMs = await breakAll(stage, 'mended')
  await until(stage, DEADLINE_MS, async () => (await stage.stories(['mended'], injectedAtMs)).some(({ incident }) => incident.status === 'resolved'))
  const facts = await stage.over(['mended'], injectedAtMs)
  const expected = { detectedWithinMs: 5_000, cause: ['mended'], targets: ['mended'], effects: 2, verdict: 'healed', pages: 0 } as const
  const steps = facts.stories.flatMap(({ outcomes }) => outcomes.flatMap(outcome => outcome.steps.map(({ name, verdict }) => `${name} ${verdict}`)))
  return judge('F6/next-step', stage.seed, expected, facts, [
    explains(facts, 'restart-then-repair-mended healed lab/mended@mended-1'),
    that('steps', steps.join(', ') === 'restart partial, repair healed', steps.join(', ') || 'no step was done')
  ])
}
