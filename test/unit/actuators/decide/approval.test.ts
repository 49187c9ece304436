// People in the loop: questions, answers, pages.

import { describe, expect, test } from 'vitest'
import { anIncident, anOutcome, decider, killSwitch, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const auto = (spec: string) => decider(policySet(policyYaml(spec), runbookYaml()))

describe('approval', () => {
  const APPROVE = 'autonomy: approve\napproval: {expiresAfter: 10m, approvers: 2}'
  const answer = (decisionId: string, by: string, approved: boolean, atS: number) =>
    ({ kind: 'approval', incidentId: 'incident-1', decisionId, approved, by, atMs: T0 + atS * 1_000 }) as const

  test('asks once, acts when enough different people said yes', () => {
    const { incident, control, run, last, decisions, commands, state } = auto(APPROVE)
    incident(anIncident(), 0)
    const asked = last()
    expect(asked.outcome).toBe('ask')
    expect(state.pages).toHaveLength(1)
    control(answer(asked.id, 'ada', true, 5), 5)
    control(answer(asked.id, 'ada', true, 6), 6)
    run(7, 30)
    expect(decisions()).toHaveLength(1)
    control(answer(asked.id, 'bob', true, 31), 31)
    expect(last().outcome).toBe('act')
    expect(commands()).toHaveLength(1)
  })

  test('one no, or silence until it expires, ends it without an act', () => {
    const denied = auto(APPROVE)
    denied.incident(anIncident(), 0)
    denied.control(answer(denied.last().id, 'ada', true, 5), 5)
    denied.control(answer(denied.last().id, 'bob', false, 6), 6)
    expect(denied.last()).toMatchObject({ outcome: 'escalate', reason: /bob said no/ })
    const expired = auto(APPROVE)
    expired.incident(anIncident(), 0)
    expired.run(1, 599)
    expect(expired.decisions()).toHaveLength(1)
    expired.run(600, 700)
    expect(expired.last()).toMatchObject({ outcome: 'escalate', reason: /nobody approved/ })
    expect([...denied.commands(), ...expired.commands()]).toEqual([])
    expect(new Set(expired.state.pages.map(page => page.page.dedupKey)).size).toBe(1)
  })

  test('an answer to another question does not count, nor does one that came too late', () => {
    const { incident, control, run, last, commands } = auto('autonomy: approve')
    incident(anIncident(), 0)
    control(answer('another', 'ada', true, 5), 5)
    run(6, 10)
    control(answer(last().id, 'ada', true, 1_800), 1_800)
    run(1_801, 1_810)
    expect(commands()).toEqual([])
  })

  test('a yes given while something else blocks still counts when that ends', () => {
    const { incident, control, last, commands, decisions } = auto('autonomy: approve')
    incident(anIncident(), 0)
    const asked = last()
    control(killSwitch('global', true), 1)
    control(answer(asked.id, 'ada', true, 2), 2)
    expect(commands()).toEqual([])
    control(killSwitch('global', false, T0 + 3_000), 3)
    expect(commands()).toHaveLength(1)
    // The second block no longer lists the approval.
    expect(decisions().map(decision => decision.blockedBy)).toEqual([['approval'], ['approval', 'kill_switch'], ['kill_switch'], []])
  })

  test('a suggestion is acted on only when a person takes it', () => {
    const { incident, control, last, commands, state } = auto('autonomy: suggest')
    incident(anIncident(), 0)
    expect(last().outcome).toBe('would_act')
    expect(state.pages).toEqual([])
    control(answer(last().id, 'ada', true, 5), 5)
    expect(commands()).toHaveLength(1)
  })
})

describe('pages', () => {
  test('a paged incident that ends is resolved for everyone who was paged, one that was not is not', () => {
    const { incident, outcome, last, state } = auto('autonomy: auto\nattempts: {max: 1, window: 1h}\nescalate: {channels: [default, phone]}')
    incident(anIncident(), 0)
    outcome(anOutcome(last(), 'ineffective'), 5)
    incident(anIncident({ version: 2, status: 'resolved', resolution: 'escalated' }), 50)
    expect(state.pages.map(({ channel, page }) => [channel, page.action])).toEqual([
      ['default', 'trigger'],
      ['phone', 'trigger'],
      ['default', 'resolve'],
      ['phone', 'resolve']
    ])
    incident(anIncident({ id: 'incident-2', causes: [], openedAtMs: T0 + 60_000 }), 60)
    incident(anIncident({ id: 'incident-2', version: 2, status: 'resolved', resolution: 'self_healed' }), 61)
    expect(state.pages).toHaveLength(4)
  })

  test('a target that breaks again and again calls people once per budget window', () => {
    const { incident, outcome, last, state } = auto('autonomy: auto\nattempts: {max: 1, window: 1h}')
    incident(anIncident(), 0)
    outcome(anOutcome(last(), 'ineffective'), 5)
    incident(anIncident({ version: 2, status: 'resolved', resolution: 'escalated' }), 50)
    incident(anIncident({ id: 'incident-2', openedAtMs: T0 + 100_000 }), 100)
    expect(last()).toMatchObject({ incidentId: 'incident-2', outcome: 'escalate' })
    expect(state.pages.filter(page => page.page.action === 'trigger')).toHaveLength(1)
  })
})
