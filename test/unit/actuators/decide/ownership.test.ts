// One controller a target: another's hand holds ours off, and who undoes us twice is named.

import { describe, expect, test } from 'vitest'
import { ownership } from '../../../../actuators/decide/guards/ownership.ts'
import type { Control } from '../../../../schemas/control.ts'
import { aContext, anIncident, decider, policySet, policyYaml, runbookYaml, T0, TARGET } from './builders.ts'

const MINUTE = 60_000
type Change = Extract<Control, { kind: 'change' }>

const change = (id: string, fields: Partial<Change> = {}): Change => ({
  ...{ kind: 'change', id, environment: 'lab', target: TARGET, actor: 'ada', what: 'manual', fromMs: T0, toMs: T0, by: 'ada', atMs: T0 },
  ...fields
})
const ask = (changes: Change[], nowMs = T0 + MINUTE) =>
  ownership(
    aContext({
      nowMs,
      prepare: state => {
        for (const one of changes) state.changes[one.id] = one
      }
    })
  )

describe('hands off', () => {
  test('after a person changed the target, for a while', () => {
    expect(ask([change('c1')])).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 15 * MINUTE, inputs: { lastChangeBy: 'ada' } })
    expect(ask([change('c1')], T0 + 15 * MINUTE).verdict).toBe('allow')
    expect(ask([change('c1', { toMs: T0 + 10 * MINUTE })], T0 + 20 * MINUTE).verdict).toBe('wait')
  })
  test('also when the service of the instance was changed, not when another target was', () => {
    expect(ask([change('c1', { target: 'lab/orders' })]).verdict).toBe('wait')
    expect(ask([change('c1', { target: 'lab/orders@orders-2' })]).verdict).toBe('allow')
    expect(ask([change('c1', { environment: 'prod' })]).verdict).toBe('allow')
  })
  test('it acts when the period is over, or when a person releases the target', () => {
    const set = policySet(policyYaml('autonomy: auto\nownership: {handsOff: 1m}'), runbookYaml())
    const waiting = decider(set)
    waiting.control(change('c1'), 0)
    waiting.incident(anIncident(), 1)
    waiting.run(2, 59)
    expect(waiting.last()).toMatchObject({ outcome: 'blocked', blockedBy: ['ownership'] })
    waiting.tick(60)
    expect(waiting.commands()).toHaveLength(1)
    const released = decider(set)
    released.control(change('c1', { target: 'lab/orders' }), 0)
    released.incident(anIncident(), 1)
    released.control({ kind: 'release_target', target: TARGET, by: 'ada', atMs: T0 + 2_000 }, 2)
    expect(released.commands()).toHaveLength(1)
  })
  test('a change of a whole environment is released as such, and the advice says so', () => {
    expect(ask([change('c1')]).counterfactual).toContain(`(homeostat release ${TARGET})`)
    expect(ask([change('c1', { target: '*' })]).counterfactual).toContain("all of lab (homeostat release '*')")
    const one = decider(policySet(policyYaml('autonomy: auto'), runbookYaml()))
    one.control(change('c1', { target: '*' }), 0)
    one.incident(anIncident(), 1)
    one.control({ kind: 'release_target', target: TARGET, by: 'ada', atMs: T0 + 2_000 }, 2)
    expect(one.commands(), 'who has one target in mind does not speak for all').toHaveLength(0)
    one.control({ kind: 'release_target', target: '*', by: 'ada', atMs: T0 + 3_000 }, 3)
    expect(one.commands()).toHaveLength(1)
  })
})

describe('reverts', () => {
  const revert = (id: string, fields: Partial<Change> = {}) => change(id, { what: 'revert', actor: 'argo-cd', ...fields })
  test('two by one actor stop us and name it, one does not', () => {
    expect(ask([revert('r1')]).verdict).toBe('wait')
    expect(ask([revert('r1'), revert('r2')])).toMatchObject({
      verdict: 'refuse',
      reason: expect.stringContaining('argo-cd'),
      inputs: { reverts: 2, revertedBy: 'argo-cd' }
    })
    expect(ask([revert('r1'), revert('r2', { actor: 'ada' })]).verdict).toBe('wait')
  })
  test('those beyond the window do not count', () => {
    expect(ask([revert('r1', { fromMs: T0 - 25 * 60 * MINUTE, toMs: null, atMs: T0 - 25 * 60 * MINUTE }), revert('r2')]).inputs).toMatchObject({ reverts: 1 })
  })
  test('people are called once, told by whom, and a release ends it', () => {
    const one = decider(policySet(policyYaml('autonomy: auto'), runbookYaml()))
    one.control(revert('r1'), 0)
    one.control(revert('r2'), 0)
    one.incident(anIncident(), 1)
    expect(one.last()).toMatchObject({ outcome: 'escalate', reason: expect.stringContaining('argo-cd') })
    expect(one.state.pages.map(page => page.page.summary)).toEqual([expect.stringContaining('argo-cd')])
    one.control({ kind: 'release_target', target: TARGET, by: 'ada', atMs: T0 + 2_000 }, 2)
    expect(one.commands()).toHaveLength(1)
  })
})
