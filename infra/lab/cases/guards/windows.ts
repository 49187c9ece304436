// Maintenance and deploys: acting waits, recording does not; at the end of the window it acts, if the fault is still there.

import { type AcceptanceReport, judge, that } from '../assertions.ts'
import { explains } from '../people.ts'
import type { GuardCase, GuardStage } from './stage.ts'
import { entityOf } from './watcher.ts'

const WINDOW_MS = 8_000

export const windows: GuardCase = {
  name: 'WINDOWS',
  title: 'maintenance and deploy windows hold acting back, and record all the same',
  play: async stage => [await maintained(stage), await deployed(stage)]
}

async function maintained(stage: GuardStage): Promise<AcceptanceReport> {
  const toMs = Date.now() + WINDOW_MS
  await stage.announce({ kind: 'maintenance', id: 'disks', match: entityOf('planned'), fromMs: Date.now(), toMs, by: 'ada' })
  return held(stage, 'WINDOWS', 'maintenance_window', async () => {
    await stage.wait(Math.max(0, toMs - Date.now()))
    return toMs
  })
}

async function deployed(stage: GuardStage): Promise<AcceptanceReport> {
  const deploy = { kind: 'change', id: 'deploy-7', environment: stage.environment, target: entityOf('planned'), actor: 'ci', what: 'deploy', by: 'ci' }
  const fromMs = Date.now()
  await stage.announce({ ...deploy, fromMs, toMs: null })
  return held(stage, 'WINDOWS/deploy', 'deploy_window', async () => {
    await stage.wait(WINDOW_MS)
    const toMs = Date.now()
    await stage.announce({ ...deploy, fromMs, toMs })
    return toMs
  })
}

/** @param end waits for the end of the window, or ends it; answers when that was */
async function held(stage: GuardStage, name: string, guard: 'maintenance_window' | 'deploy_window', end: () => Promise<number>): Promise<AcceptanceReport> {
  const injectedAtMs = await stage.enterBroken('planned')
  const blocked = await stage.decision('planned', injectedAtMs, ({ outcome, blockedBy }) => outcome === 'blocked' && blockedBy.includes(guard))
  const endMs = await end()
  await stage.untilResolved('planned', injectedAtMs)
  const facts = await stage.over(['planned'], injectedAtMs)
  const expected = { detectedWithinMs: 5_000, cause: ['planned'], targets: ['planned'], effects: 1, verdict: 'healed', pages: 0 } as const
  const early = facts.effects.filter(({ atMs }) => atMs < endMs)
  return judge(name, stage.seed, expected, facts, [
    explains(facts, 'restart-planned healed lab/planned@planned-1', `${guard} waits`),
    that('recorded', blocked !== undefined, blocked?.reason ?? `no decision was blocked by ${guard}`),
    that('held', early.length === 0, `${early.length} effects before the window's end`)
  ])
}
