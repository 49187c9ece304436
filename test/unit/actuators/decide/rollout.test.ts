// The pure part of a rollout: where stages end, whose turn it is, what a verdict means.

import { describe, expect, test } from 'vitest'
import { nextOf, type Rollout, stageEnds, stageOf, stoppedOf, takeVerdict } from '../../../../actuators/decide/rollout.ts'
import type { Outcome, Verdict } from '../../../../schemas/outcome.ts'
import { aCause, policySet, policyYaml } from './builders.ts'
import { stagedYaml } from './stages-world.ts'

function aRollout(fields: Partial<Rollout> = {}): Rollout {
  const set = policySet(policyYaml('', 'orders', 'cause.service == "orders"', '[staged]'), stagedYaml())
  const members = ['a', 'b', 'c', 'd']
  return {
    ...{ id: 'r', policy: 'orders', policyVersion: '1', runbook: set.runbooks.get('staged')!, cause: aCause(), group: 'lab/orders' },
    ...{ members, ends: [1, 2, 4], acts: [], stopped: null },
    ...fields
  }
}

function act(rollout: Rollout): void {
  const next = nextOf(rollout)
  if (next.kind !== 'act') throw new Error(`not an act: ${next.kind}`)
  rollout.acts.push({ member: next.member, commandId: next.member, verdict: null, isDone: false, isUndone: false, undo: null })
}

const came = (verdict: Verdict, fields: Partial<Outcome> = {}) => ({ verdict, reason: `was ${verdict}`, refusedBy: null, steps: [], ...fields })

describe('where stages end', () => {
  test.each([
    [[1, '25%', '100%'], 8, [1, 2, 8]],
    [[1, '25%', '100%'], 3, [1, 3]],
    [[1, '25%', '100%'], 1, [1]],
    [['10%', '50%'], 11, [2, 6]],
    [[2, 5, '100%'], 4, [2, 4]],
    [[5, '25%', '100%'], 8, [5, 8]]
  ])('%j of %i members: %j', (stages, count, ends) => {
    expect(stageEnds(stages, count)).toEqual(ends)
  })

  test('a member is in the first stage that reaches it', () => {
    expect(['a', 'b', 'c', 'd'].map(member => stageOf(aRollout(), member))).toEqual([1, 2, 3, 3])
  })
})

describe('whose turn it is', () => {
  test('the next stage waits for every member of this one', () => {
    const rollout = aRollout({ ends: [2, 4] })
    act(rollout)
    act(rollout)
    expect(nextOf(rollout)).toEqual({ kind: 'await' })
    takeVerdict(rollout, 'b', came('healed'))
    expect(nextOf(rollout)).toEqual({ kind: 'await' })
    takeVerdict(rollout, 'a', came('healed'))
    expect(nextOf(rollout)).toEqual({ kind: 'act', member: 'c' })
  })

  test('what was refused before it began has its turn again, what needed nothing is done', () => {
    const rollout = aRollout({ ends: [2, 4] })
    act(rollout)
    act(rollout)
    takeVerdict(rollout, 'a', came('refused', { refusedBy: 'kill_switch' }))
    expect(nextOf(rollout)).toEqual({ kind: 'act', member: 'a' })
    act(rollout)
    takeVerdict(rollout, 'a', came('refused', { refusedBy: 'evidence' }))
    takeVerdict(rollout, 'b', came('refused', { refusedBy: 'cleared' }))
    expect(nextOf(rollout)).toEqual({ kind: 'act', member: 'c' })
  })

  test('when all are done it is over, healed', () => {
    const rollout = aRollout({ members: ['a'], ends: [1] })
    act(rollout)
    takeVerdict(rollout, 'a', came('healed'))
    expect(nextOf(rollout)).toEqual({ kind: 'over', isHealed: true })
  })

  test.each(['partial', 'ineffective', 'harmful', 'inconclusive', 'unknown'] as const)('%s stops it, and what is in flight is waited for', verdict => {
    const rollout = aRollout({ ends: [3, 4] })
    for (let count = 0; count < 3; count++) act(rollout)
    takeVerdict(rollout, 'b', came(verdict))
    expect(rollout.stopped).toBe(`b was ${verdict} (was ${verdict})`)
    expect(nextOf(rollout)).toEqual({ kind: 'await' })
    takeVerdict(rollout, 'a', came('healed'))
    takeVerdict(rollout, 'c', came('refused', { refusedBy: 'ownership' }))
    const isLeft = verdict === 'partial' || verdict === 'inconclusive' // The rest the actuator has undone, or nobody knows.
    expect(nextOf(rollout)).toMatchObject({ kind: 'undo', act: { member: isLeft ? 'b' : 'a' } })
  })

  test('acts are taken back one at a time, the last one first; a refused try is repeated, not for ever', () => {
    const rollout = aRollout({ ends: [3, 4] })
    for (let count = 0; count < 3; count++) act(rollout)
    for (const member of ['a', 'b']) takeVerdict(rollout, member, came('healed'))
    takeVerdict(rollout, 'c', came('ineffective', { steps: [{ undo: 'undone' }] as Outcome['steps'] }))
    const taken: string[] = []
    for (let next = nextOf(rollout); next.kind === 'undo'; next = nextOf(rollout)) {
      const { member, undo } = next.act
      taken.push(member)
      next.act.undo = { commandId: `undo-${taken.length}`, verdict: null, tries: (undo?.tries ?? 0) + 1 }
      expect(nextOf(rollout)).toEqual({ kind: 'await' })
      takeVerdict(rollout, `undo-${taken.length}`, came(member === 'b' ? 'refused' : 'undone'))
    }
    expect(taken).toEqual(['b', 'b', 'b', 'a'])
    expect(nextOf(rollout)).toEqual({ kind: 'over', isHealed: false })
    const place = 'it ended in stage 1 of 2; 1 of 4 members were not acted on'
    const why = `c was ineffective (was ineffective); taken back: a, c; still as it left them: b; ${place}`
    expect(stoppedOf(rollout)).toEqual({ why, isForPeople: true })
  })

  test('without an undo it is over at once, and says what is left', () => {
    const rollout = aRollout()
    rollout.runbook = { ...rollout.runbook, spec: { ...rollout.runbook.spec, steps: rollout.runbook.spec.steps.map(({ undo: _, ...step }) => step) } }
    act(rollout)
    takeVerdict(rollout, 'a', came('healed'))
    act(rollout)
    takeVerdict(rollout, 'b', undefined)
    expect(nextOf(rollout)).toEqual({ kind: 'over', isHealed: false })
    const why = 'b was unknown; still as it left them: a, b; it ended in stage 2 of 3; 2 of 4 members were not acted on'
    expect(stoppedOf(rollout)).toEqual({ why, isForPeople: true })
    takeVerdict(rollout, 'b', came('partial'))
    expect(stoppedOf(rollout).isForPeople).toBe(false)
  })

  test('an outcome that comes after its command was given up counts: what it changed is taken back', () => {
    const rollout = aRollout()
    act(rollout)
    takeVerdict(rollout, 'a', undefined)
    expect(nextOf(rollout)).toEqual({ kind: 'over', isHealed: false })
    takeVerdict(rollout, 'a', came('healed'))
    expect(nextOf(rollout)).toMatchObject({ kind: 'undo', act: { member: 'a' } })
  })
})
