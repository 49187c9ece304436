// F1: the fault comes and goes every five seconds. Acting at each turn heals nothing, so it ends: flapping, one page.

import { FLAPS_MAX } from '../../../../actuators/decide/guards/flapping.ts'
import { judge, that, withFigures } from '../assertions.ts'
import { explains } from '../people.ts'
import type { GuardCase } from './stage.ts'

const HALF_TURN_MS = 5_000
const TURNS = FLAPS_MAX + 3

export const flapping: GuardCase = {
  name: 'F1',
  title: 'a fault that toggles every 5 s: automation ends after the flap limit and calls once',
  async play(stage) {
    await stage.enter(['flap'])
    const injectedAtMs = Date.now()
    for (let turn = 0; turn < TURNS && !stage.signal.aborted; turn++) {
      for (const on of [true, false]) {
        await stage.fault('flap', 'a', on)
        await stage.wait(HALF_TURN_MS)
      }
    }
    const flap = await stage.decision('flap', injectedAtMs, ({ blockedBy }) => blockedBy.includes('flapping'))
    const facts = await stage.over(['flap'], injectedAtMs)
    const after = facts.effects.filter(({ atMs }) => flap !== undefined && atMs > flap.decidedAtMs)
    const expected = { detectedWithinMs: 5_000, cause: ['flap'], targets: ['flap'], effects: FLAPS_MAX, verdict: 'healed', pages: 1 } as const
    const report = judge('F1', stage.seed, expected, facts, [
      explains(facts, 'is flapping: it broke', 'At most 5 turns'),
      that('state', flap?.outcome === 'escalate', flap === undefined ? 'no decision names flapping' : `${flap.outcome}: ${flap.reason}`),
      that('stopped', after.length === 0, `${after.length} effects after it was called flapping, in ${TURNS} turns`)
    ])
    return [withFigures(report, { turns: TURNS })]
  }
}
