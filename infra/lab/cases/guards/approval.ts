// Questions to people: an approval that does not come calls them and does nothing, one that is given acts; so does a budget that is gone.

import type { Decision } from '../../../../schemas/decision.ts'
import { type AcceptanceReport, judge, that } from '../assertions.ts'
import { readEffects } from '../effects.ts'
import { explains } from '../people.ts'
import type { GuardCase, GuardStage } from './stage.ts'

export const approval: GuardCase = {
  name: 'APPROVAL',
  title: 'approval: missing, a page and no effect; given, it acts',
  play: async stage => [await missing(stage), await given(stage)]
}

async function missing(stage: GuardStage): Promise<AcceptanceReport> {
  const { injectedAtMs, question } = await ask(stage, 'asked')
  const gaveUp = await stage.decision('asked', injectedAtMs, ({ outcome }) => outcome === 'escalate')
  const facts = await stage.over(['asked'], injectedAtMs)
  const expected = { detectedWithinMs: 5_000, cause: ['asked'], targets: [], effects: 0, verdict: null, pages: 1 } as const
  return judge('APPROVAL/missing', stage.seed, expected, facts, [
    explains(facts, 'nobody approved before', 'homeostat acknowledge'),
    that('asked', question !== undefined, question?.reason ?? 'nobody was asked'),
    that('expired', gaveUp !== undefined, gaveUp?.reason ?? 'the question never ended')
  ])
}

async function given(stage: GuardStage): Promise<AcceptanceReport> {
  const { injectedAtMs, question } = await ask(stage, 'asked')
  if (question !== undefined) await stage.cli('approve', question.id, '--by', 'ada')
  await stage.untilResolved('asked', injectedAtMs)
  const facts = await stage.over(['asked'], injectedAtMs)
  const expected = { detectedWithinMs: 5_000, cause: ['asked'], targets: ['asked'], effects: 1, verdict: 'healed', pages: 1 } as const
  return judge('APPROVAL', stage.seed, expected, facts, [
    explains(facts, 'restart-asked healed', 'approval asks'),
    that('asked', question !== undefined, question?.reason ?? 'nobody was asked')
  ])
}

export const errorBudget: GuardCase = {
  name: 'BUDGET',
  title: 'an error budget that is used up makes automation ask; with some left it acts again',
  async play(stage) {
    const budget = { kind: 'error_budget', environment: stage.environment, service: 'lab/spent', burnRate: 1, by: 'slo' }
    await stage.announce({ ...budget, remainingRatio: 0 })
    const { injectedAtMs, question } = await ask(stage, 'spent')
    const before = readEffects(stage.folder, injectedAtMs).length
    await stage.announce({ ...budget, remainingRatio: 0.5 })
    await stage.untilResolved('spent', injectedAtMs)
    const facts = await stage.over(['spent'], injectedAtMs)
    const expected = { detectedWithinMs: 5_000, cause: ['spent'], targets: ['spent'], effects: 1, verdict: 'healed', pages: 1 } as const
    return [
      judge('BUDGET', stage.seed, expected, facts, [
        explains(facts, 'restart-spent healed', 'error_budget asks'),
        that(
          'asked',
          question?.guards.some(({ guard, verdict }) => guard === 'error_budget' && verdict === 'ask') === true,
          question?.reason ?? 'nobody was asked'
        ),
        that('held', before === 0, `${before} effects without a budget`)
      ])
    ]
  }
}

/** Breaks the member, and waits for the question that comes of it; people hear of it a moment later. */
async function ask(stage: GuardStage, member: string): Promise<{ injectedAtMs: number; question: Decision | undefined }> {
  const injectedAtMs = await stage.enterBroken(member)
  const question = await stage.decision(member, injectedAtMs, ({ outcome }) => outcome === 'ask')
  return { injectedAtMs, question }
}
