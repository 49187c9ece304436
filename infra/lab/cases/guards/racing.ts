// F3: another controller wants another state and writes it back each time. Ours stops after two reverts and says who it is.
//
// The rival announces what it does, as a GitOps controller's notification does; the setting itself is witnessed by the member.

import { REVERTS_MAX } from '../../../../actuators/decide/guards/ownership.ts'
import { judge, that, withFigures } from '../assertions.ts'
import { readEffects } from '../effects.ts'
import { explains } from '../people.ts'
import { until } from '../rig.ts'
import type { GuardCase, GuardStage } from './stage.ts'
import { entityOf } from './watcher.ts'

const RIVAL = 'gitops'
const RACE_MS = 22_000
/** A controller looks again now and then: later than our verification ends. */
const RIVAL_DELAY_MS = 3_000

export const racing: GuardCase = {
  name: 'F3',
  title: 'a second controller writes the same setting back: ours stops after two reverts and names it',
  async play(stage) {
    await stage.enter(['raced'], ['setting'])
    const injectedAtMs = Date.now()
    const endMs = injectedAtMs + RACE_MS
    await rivalWrites(stage)
    let reverts = 0
    while (Date.now() < endMs && !stage.signal.aborted) {
      const ours = readEffects(stage.folder, injectedAtMs).length
      if (ours > reverts) {
        await stage.wait(RIVAL_DELAY_MS)
        await rivalWrites(stage)
        reverts++
        await stage.announce({
          ...{ kind: 'change', environment: stage.environment, target: entityOf('raced'), actor: RIVAL, what: 'revert', by: RIVAL },
          ...{ id: `revert-${reverts}`, fromMs: Date.now(), toMs: Date.now() }
        })
      }
      await stage.wait(100)
    }
    const stop = await stage.decision('raced', injectedAtMs, ({ outcome, blockedBy }) => outcome === 'escalate' && blockedBy.includes('ownership'))
    const facts = await stage.over(['raced'], injectedAtMs)
    const expected = { detectedWithinMs: 5_000, cause: ['raced'], targets: ['raced'], effects: REVERTS_MAX, verdict: 'healed', pages: 1 } as const
    // Each of our acts did heal, until the rival came: the verdicts were true when they were given.
    const report = judge('F3', stage.seed, expected, { ...facts, healthy: true }, [
      explains(facts, 'gitops undid what was done', 'What would change that: A person settles it with gitops', 'homeostat release lab/raced@raced-1'),
      that('named', stop?.reason.includes(RIVAL) === true, stop?.reason ?? 'no decision stops because of ownership'),
      that('yielded', !facts.healthy, facts.healthy ? 'our setting is in force' : "the rival's setting is in force, as people have to settle it")
    ])
    return [withFigures(report, { reverts })]
  }
}

async function rivalWrites({ ports, signal }: GuardStage): Promise<void> {
  const body = JSON.stringify({ args: { value: 'rival' } })
  const written = await until({ signal }, 5_000, () =>
    fetch(`http://127.0.0.1:${ports['raced']}/orders/set`, { method: 'PUT', body }).then(
      response => response.ok,
      () => false
    )
  )
  if (written === undefined && !signal.aborted) throw new Error('the rival cannot write')
}
