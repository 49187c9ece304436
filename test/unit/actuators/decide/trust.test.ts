// Autonomy is earned by a measured record, and lost by harm and drift.

import { describe, expect, test } from 'vitest'
import { drift, earned, wilson } from '../../../../actuators/decide/trust-record.ts'
import { emptyState, type Trial, type Trust } from '../../../../actuators/decide/state.ts'
import type { Control } from '../../../../schemas/control.ts'
import { anIncident, anOutcome, decider, policySet, policyYaml, runbookYaml, T0, TARGET } from './builders.ts'

const SETTINGS = { confidence: 0.95, trialsMin: 20, precisionMin: { suggest: 0.5, approve: 0.7, auto: 0.9 } }
const set = (spec: string) => policySet(policyYaml(spec), runbookYaml())

function aTrust(right: number, wrong: number, fields: Partial<Trial> = {}): Trust {
  const trial = (index: number, result: Trial['result']): Trial => ({
    ...{ decisionId: `d${index}`, incidentId: `i${index}`, environment: 'lab', target: TARGET, runbook: 'restart', atMs: T0 + index, mode: 'act' },
    ...{ result, why: '', healedAtMs: null, anomalyIds: [] },
    ...fields
  })
  return {
    demotions: [],
    proposed: null,
    trials: [...Array.from({ length: right }, (_, i) => trial(i, 'right')), ...Array.from({ length: wrong }, (_, i) => trial(i + right, 'wrong'))]
  }
}

describe('the confidence bound', () => {
  test('is the Wilson interval', () => {
    // With all right its lower end is n / (n + z²), with none its upper end is z² / (n + z²), z = 1.96.
    expect(wilson(8, 10, 0.95)).toEqual({ lower: expect.closeTo(0.4902, 3), upper: expect.closeTo(0.9433, 3) })
    expect(wilson(50, 50, 0.95).lower).toBeCloseTo(0.9287, 3)
    expect(wilson(0, 20, 0.95).upper).toBeCloseTo(0.1611, 3)
    expect(wilson(0, 0, 0.95)).toEqual({ lower: 0, upper: 1 })
  })
  test('three right of three earn nothing, thirty-five of thirty-five earn auto, one level at a time', () => {
    expect(earned(aTrust(3, 0), SETTINGS, 'approve').proposal).toBeUndefined()
    expect(earned(aTrust(34, 0), SETTINGS, 'approve').proposal).toBeUndefined()
    expect(earned(aTrust(35, 0), SETTINGS, 'approve').proposal).toBe('auto')
    expect(earned(aTrust(35, 0), SETTINGS, 'observe').proposal).toBe('suggest')
    expect(earned(aTrust(35, 10), SETTINGS, 'approve').proposal).toBeUndefined()
    expect(earned(aTrust(60, 0), SETTINGS, 'auto').proposal).toBeUndefined()
  })
  test('the record before a demotion earns nothing afterwards', () => {
    expect(earned({ ...aTrust(60, 0), demotions: [{ atMs: T0 + 100, reason: '' }] }, SETTINGS, 'approve')).toMatchObject({ trials: 0, proposal: undefined })
  })
  test('drift is told only when even the upper bound is below what the level needs', () => {
    expect(drift(aTrust(16, 4), SETTINGS, 'auto')).toBeUndefined()
    expect(drift(aTrust(10, 10), SETTINGS, 'auto')).toContain('10 of the last 20')
    expect(drift(aTrust(100, 12), SETTINGS, 'auto')).toContain('8 of the last 20')
    expect(drift(aTrust(0, 19), SETTINGS, 'auto')).toBeUndefined()
    expect(drift(aTrust(0, 20, { mode: 'shadow' }), SETTINGS, 'auto')).toBeUndefined()
    expect(drift(aTrust(0, 20), SETTINGS, 'observe')).toBeUndefined()
  })
})

describe('shadow decisions', () => {
  const change = (target: string): Control => ({
    ...{
      kind: 'change',
      id: `c-${target}`,
      environment: 'lab',
      target,
      actor: 'ada',
      what: 'manual',
      fromMs: T0 + 5_000,
      toMs: T0 + 6_000,
      by: 'ada',
      atMs: T0 + 5_000
    }
  })
  const resolved = (resolution: 'self_healed' | 'expired' | 'merged') =>
    anIncident({ version: 9, status: 'resolved', resolution, healedAtMs: T0 + 9_000, resolvedAtMs: T0 + 9_000 })
  const observed = (...events: Control[]) => {
    const one = decider(set('autonomy: observe'))
    one.incident(anIncident(), 1)
    for (const event of events) one.control(event, 5)
    return one
  }
  const trials = (one: ReturnType<typeof decider>) => one.state.trust.orders!.trials.map(({ mode, result }) => [mode, result])
  test('nothing is done, and one statement is kept of each incident', () => {
    const one = observed()
    one.incident(anIncident({ version: 2 }), 2)
    one.run(3, 30)
    expect(one.commands()).toHaveLength(0)
    expect(trials(one)).toEqual([['shadow', null]])
  })
  test.each([
    ['a person acted on the same target', [change(TARGET)], 'self_healed', 'right'],
    ['a person acted on another target', [change('lab/mail')], 'self_healed', 'wrong'],
    ['it recovered by itself', [], 'self_healed', 'wrong'],
    ['nobody knows what became of it', [], 'expired', null],
    ['it was part of another incident', [], 'merged', null]
  ] as const)('%s', (_, changes, resolution, result) => {
    const one = observed(...changes)
    one.incident(resolved(resolution), 10)
    expect(trials(one)).toEqual([['shadow', result]])
  })
  test('that people are called about what it would have done is no second statement', () => {
    const { state, incident, control, run, last } = decider(set('autonomy: approve'))
    state.trust.orders = { demotions: [{ atMs: T0 - 1, reason: 'did harm' }], trials: [], proposed: null }
    incident(anIncident(), 0)
    expect(last()).toMatchObject({ outcome: 'would_act', autonomy: 'suggest' })
    control({ kind: 'label', anomalyId: 'anomaly-1', label: 'true_positive', note: '', by: 'ada', atMs: T0 }, 1)
    run(2, 400)
    expect(last()).toMatchObject({ outcome: 'would_act', calledPeople: true })
    expect(state.trust.orders.trials).toMatchObject([{ result: 'right' }])
  })
  test('labels of the alarm tell it too, also when it is long over', () => {
    const label = (kind: 'true_positive' | 'false_positive'): Control => ({ kind: 'label', anomalyId: 'anomaly-1', label: kind, note: '', by: 'ada', atMs: T0 })
    const truly = observed()
    truly.incident(resolved('expired'), 10)
    truly.control(label('true_positive'), 100)
    expect(trials(truly)).toEqual([['shadow', 'right']])
    truly.control(label('false_positive'), 101)
    expect(trials(truly)).toEqual([['shadow', 'wrong']])
  })
  test('a no to a question is a wrong one, a yes makes it an act', () => {
    const answered = (approved: boolean) => {
      const one = decider(set('autonomy: approve'))
      one.incident(anIncident(), 1)
      one.control({ kind: 'approval', incidentId: 'incident-1', decisionId: one.last().id, approved, by: 'ada', atMs: T0 + 2_000 }, 2)
      return trials(one)
    }
    expect(answered(false)).toEqual([['shadow', 'wrong']])
    expect(answered(true)).toEqual([['act', null]])
  })
})

describe('acts', () => {
  const acted = () => {
    const one = decider(set('autonomy: auto\nrecurrenceWindow: 1m'))
    one.incident(anIncident(), 1)
    return one
  }
  test.each([
    ['healed', 'right'],
    ['partial', 'wrong'],
    ['ineffective', 'wrong'],
    ['harmful', 'wrong'],
    ['inconclusive', null],
    ['unknown', null]
  ] as const)('%s is %s', (verdict, result) => {
    const one = acted()
    one.outcome(anOutcome(one.last(), verdict), 6)
    expect(one.state.trust.orders!.trials).toMatchObject([{ mode: 'act', result }])
  })
  test('what comes back within the recurrence window was not right', () => {
    for (const [afterS, result] of [
      [30, 'wrong'],
      [90, 'right']
    ] as const) {
      const one = acted()
      one.outcome(anOutcome(one.last(), 'healed'), 6)
      one.incident(anIncident({ id: 'incident-2', openedAtMs: T0 + 5_000 + afterS * 1_000 }), 5 + afterS)
      expect(one.state.trust.orders!.trials[0]).toMatchObject({ result })
    }
  })
})

describe('levels', () => {
  test('harm costs one at once, people are told, and a person gives it back', () => {
    const one = decider(set('autonomy: auto\ncooldown: {initial: 1s, jitter: 0}'))
    one.incident(anIncident(), 1)
    one.outcome(anOutcome(one.last(), 'harmful'), 6)
    expect(one.state.pages.map(page => page.page)).toMatchObject([{ severity: 'warning', summary: expect.stringContaining('lost a level') }, {}])
    const other = anIncident({ id: 'incident-2', causes: [{ ...anIncident().causes[0]!, entity: 'lab/orders@orders-2' }], unknownEntities: [] })
    one.incident(other, 10)
    expect(one.last()).toMatchObject({ outcome: 'ask', autonomy: 'approve' })
    expect(one.last().guards.find(guard => guard.guard === 'autonomy')).toMatchObject({
      reason: expect.stringContaining('did harm'),
      inputs: { fileLevel: 'auto', demotions: 1 }
    })
    one.control({ kind: 'autonomy', policy: 'orders', reason: 'runbook was repaired', by: 'ada', atMs: T0 + 5_000 }, 11)
    expect(one.last()).toMatchObject({ outcome: 'ask' }) // Said before the harm was recorded.
    one.control({ kind: 'autonomy', policy: 'orders', reason: 'runbook was repaired', by: 'ada', atMs: T0 + 12_000 }, 12)
    expect(one.last()).toMatchObject({ outcome: 'act', autonomy: 'auto' })
  })
  test('whoever heard of a loss or a proposal hears of its end, once it holds no more', () => {
    const one = decider(set('autonomy: auto\ncooldown: {initial: 1s, jitter: 0}'))
    const said = (): string[] => one.state.pages.flatMap(({ page }) => (page.dedupKey.startsWith('policy/') ? [`${page.action} ${page.dedupKey}`] : []))
    one.incident(anIncident(), 1)
    const lost = anOutcome(one.last(), 'harmful')
    one.outcome(lost, 6)
    const told = `trigger policy/orders/${lost.recordedAtMs}`
    expect(said()).toEqual([told])
    one.feed({ kind: 'policies_changed' }, 8)
    expect(said()).toEqual([told])
    one.control({ kind: 'autonomy', policy: 'orders', reason: 'repaired', by: 'ada', atMs: T0 + 12_000 }, 12)
    expect(said()).toEqual([told, `resolve policy/orders/${lost.recordedAtMs}`])
    one.state.trust.orders = aTrust(40, 0)
    one.rules.policies = set('autonomy: approve')
    one.feed({ kind: 'policies_changed' }, 60)
    one.rules.policies = set('autonomy: auto')
    one.feed({ kind: 'policies_changed' }, 61)
    expect(said().slice(2)).toEqual(['trigger policy/orders/auto', 'resolve policy/orders/auto'])
    expect(Object.keys(one.state.calls).filter(id => id.startsWith('policy/'))).toEqual([])
  })
  test('each harm costs another one, and below observe there is nothing', () => {
    const state = emptyState()
    state.trust.orders = { ...aTrust(0, 0), demotions: [1, 2, 3].map(atMs => ({ atMs, reason: 'harm' })) }
    const one = decider(set('autonomy: auto'), { state })
    one.incident(anIncident(), 1)
    expect(one.last()).toMatchObject({ outcome: 'would_act', autonomy: 'observe' })
  })
  test('drift costs one level once, by the same evidence', () => {
    const state = emptyState()
    state.trust.orders = aTrust(8, 12)
    const one = decider(set('autonomy: auto'), { state })
    one.feed({ kind: 'policies_changed' }, 60)
    one.feed({ kind: 'policies_changed' }, 61)
    expect(state.trust.orders!.demotions).toMatchObject([{ reason: expect.stringContaining('8 of the last 20') }])
    expect(state.pages).toHaveLength(1)
  })
  test('what the record supports is proposed once, and never taken', () => {
    const state = emptyState()
    state.trust.orders = aTrust(40, 0)
    const one = decider(set('autonomy: approve'), { state })
    one.feed({ kind: 'policies_changed' }, 60)
    one.feed({ kind: 'policies_changed' }, 61)
    expect(state.pages.map(page => page.page)).toMatchObject([{ severity: 'info', summary: expect.stringContaining('has earned the level auto') }])
    one.incident(anIncident(), 62)
    expect(one.last()).toMatchObject({ outcome: 'ask', autonomy: 'approve' })
    expect(one.last().guards.find(guard => guard.guard === 'autonomy')!.inputs).toMatchObject({ proposal: 'auto', trials: 40, precision: 1 })
  })
})
