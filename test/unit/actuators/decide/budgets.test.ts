// The guards that count over a group, an environment or a budget: wider attempt budgets, cost, error budget, blast radius, storm.

import { describe, expect, test } from 'vitest'
import { attemptBudget } from '../../../../actuators/decide/guards/attempt-budget.ts'
import { blastRadius } from '../../../../actuators/decide/guards/blast-radius.ts'
import { cooldown } from '../../../../actuators/decide/guards/cooldown.ts'
import { costBudget } from '../../../../actuators/decide/guards/cost-budget.ts'
import { errorBudget } from '../../../../actuators/decide/guards/error-budget.ts'
import { STORM_EXIT_MS, STORM_INCIDENTS_MAX, STORM_SERIES_MAX, storm } from '../../../../actuators/decide/guards/storm.ts'
import { addOpening, targetOf } from '../../../../actuators/decide/state.ts'
import type { Control } from '../../../../schemas/control.ts'
import { aContext, aMember, anAttempt, anIncident, type ContextOptions, decider, policySet, policyYaml, runbookYaml, T0, TARGET } from './builders.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

describe('attempt budgets', () => {
  const elsewhere = (count: number, fields = {}) =>
    Array.from({ length: count }, (_, index) =>
      anAttempt({ commandId: `c${index}`, target: `lab/mail@${index}`, issuedAtMs: T0 - index * MINUTE - 5_000, endedAtMs: T0 - index * MINUTE, ...fields })
    )
  test('a runbook is tried so often in the environment, wherever, and it waits until the oldest is forgotten', () => {
    const spec = 'attempts: {runbook: {max: 3, window: 10m}}'
    expect(attemptBudget(aContext({ spec, attempts: elsewhere(2) })).verdict).toBe('allow')
    expect(attemptBudget(aContext({ spec, attempts: elsewhere(3) }))).toMatchObject({
      verdict: 'wait',
      retryAtMs: T0 + 8 * MINUTE + 1,
      inputs: { ofRunbook: 3 }
    })
    expect(attemptBudget(aContext({ spec, attempts: elsewhere(3, { runbook: 'other' }) })).verdict).toBe('allow')
    expect(attemptBudget(aContext({ spec, attempts: elsewhere(3), nowMs: T0 + 8 * MINUTE + 1 })).verdict).toBe('allow')
  })
  test('all of automation acts so often in an environment, whatever came of it', () => {
    const spec = 'attempts: {environment: {max: 3, window: 10m}}'
    expect(attemptBudget(aContext({ spec, attempts: elsewhere(3, { runbook: 'other', verdict: 'healed' }) }))).toMatchObject({
      verdict: 'wait',
      inputs: { inEnvironment: 3 }
    })
    expect(attemptBudget(aContext({ spec, attempts: elsewhere(3, { runbook: 'other', verdict: null, endedAtMs: null, issuedAtMs: T0 }) })).verdict).toBe('wait')
  })
  test('people are told once that a budget holds automation back, and it goes on when there is room', () => {
    const set = policySet(policyYaml('autonomy: auto\nattempts: {environment: {max: 1, window: 10m}}'), runbookYaml())
    const one = decider(set)
    targetOf(one.state, 'lab', 'lab/mail').attempts.push(anAttempt({ target: 'lab/mail', endedAtMs: T0 }))
    one.incident(anIncident(), 1)
    one.incident(anIncident({ id: 'incident-2', causes: [{ ...anIncident().causes[0]!, entity: 'lab/orders@orders-2' }] }), 2)
    expect(one.decisions().map(decision => decision.outcome)).toEqual(['blocked', 'blocked'])
    expect(one.state.pages).toHaveLength(1)
    one.run(590, 610)
    expect(one.commands()).toHaveLength(1)
  })
})

test('a healed target stabilises for as long as the policy says', () => {
  const attempts = [anAttempt({ runbook: 'other', verdict: 'healed', endedAtMs: T0 })]
  const spec = 'cooldown: {initial: 60s, stabilise: 3m}'
  expect(cooldown(aContext({ spec, attempts, nowMs: T0 + MINUTE }))).toMatchObject({ verdict: 'wait', retryAtMs: T0 + 3 * MINUTE })
})

describe('cost budget', () => {
  const spec = 'costBudgets: [{action: process/restart, max: 10, window: 1h}]'
  const paid = (cost: number, issuedAtMs: number, fields = {}) =>
    anAttempt({ commandId: `c${issuedAtMs}`, target: 'lab/mail', cost, actions: ['process/restart'], issuedAtMs, ...fields })
  test('what was spent on the class within the window leaves too little, until enough of it is past', () => {
    const runbook = 'risk: low\ncost: 4\nsignatures: [silent]'
    const attempts = [paid(3, T0 - 50 * MINUTE), paid(4, T0 - 40 * MINUTE)]
    expect(costBudget(aContext({ spec, runbook, attempts }))).toMatchObject({
      verdict: 'wait',
      retryAtMs: T0 + 10 * MINUTE,
      inputs: { spent: 7, cost: 4, max: 10 }
    })
    expect(costBudget(aContext({ spec, runbook, attempts, nowMs: T0 + 10 * MINUTE })).verdict).toBe('allow')
  })
  test('other classes and refused commands cost nothing here, `*` takes all', () => {
    const attempts = [paid(10, T0 - MINUTE, { actions: ['http/post'] })]
    expect(costBudget(aContext({ spec, attempts })).verdict).toBe('allow')
    expect(costBudget(aContext({ spec, attempts: [paid(10, T0 - MINUTE, { verdict: 'refused' })] })).verdict).toBe('allow')
    expect(costBudget(aContext({ spec: spec.replace('process/restart', '"*"'), attempts })).verdict).toBe('wait')
  })
  test('a runbook that costs more than the budget is refused', () => {
    expect(costBudget(aContext({ spec, runbook: 'risk: low\ncost: 11\nsignatures: [silent]' }))).toMatchObject({ verdict: 'refuse' })
  })
  test('commands remember their cost and class', () => {
    const one = decider(policySet(policyYaml('autonomy: auto'), runbookYaml('restart', 'risk: low\ncost: 2.5\nsignatures: [silent]')))
    one.incident(anIncident(), 1)
    expect(targetOf(one.state, 'lab', TARGET).attempts).toMatchObject([{ cost: 2.5, actions: ['process/restart'] }])
  })
})

describe('error budget', () => {
  const medium = 'risk: medium\nsignatures: [silent]'
  const said = (fields: Partial<Extract<Control, { kind: 'error_budget' }>> = {}): Extract<Control, { kind: 'error_budget' }> => ({
    ...{ kind: 'error_budget', environment: 'lab', service: 'lab/orders', remainingRatio: 0.5, burnRate: 1, by: 'slo', atMs: T0 },
    ...fields
  })
  const ask = (record: Extract<Control, { kind: 'error_budget' }> | undefined, options: ContextOptions = {}) =>
    errorBudget(
      aContext({
        spec: 'autonomy: auto\nerrorBudget: {}',
        ...options,
        prepare: state => {
          if (record !== undefined) state.errorBudgets[`${record.environment}/${record.service}`] = record
        }
      })
    )
  test('a policy that heeds none is not held back', () => {
    expect(ask(said({ remainingRatio: 0 }), { spec: 'autonomy: auto' }).verdict).toBe('allow')
  })
  test('nothing left: everything asks, also when the word is old', () => {
    expect(ask(said({ remainingRatio: 0 }))).toMatchObject({ verdict: 'ask', inputs: { remainingRatio: 0, source: 'slo' } })
    expect(ask(said({ remainingRatio: -0.2 }), { nowMs: T0 + HOUR }).verdict).toBe('ask')
    expect(ask(said({ remainingRatio: 0, service: '*' })).verdict).toBe('ask')
    expect(ask(said({ remainingRatio: 0, service: 'lab/mail' })).verdict).toBe('allow')
  })
  test('burning fast, or not known: low risk acts, the rest asks', () => {
    expect(ask(said({ burnRate: 20 })).verdict).toBe('allow')
    expect(ask(said({ burnRate: 20 }), { runbook: medium }).verdict).toBe('ask')
    expect(ask(said(), { runbook: medium }).verdict).toBe('allow')
    expect(ask(said(), { runbook: medium, nowMs: T0 + HOUR }).verdict).toBe('ask')
    expect(ask(undefined, { runbook: medium }).verdict).toBe('ask')
    expect(ask(undefined).verdict).toBe('allow')
  })
  test('error ratios of the target or of its callers, in the incident itself, are a burn rate', () => {
    const member = aMember({ entity: 'lab/web', metric: 'homeostat.edge.error_ratio', attributes: { peer: 'lab/orders' }, observed: 0.03, direction: 'above' })
    const options = (observed: number) => ({
      spec: 'autonomy: auto\nerrorBudget: {objective: 0.999}',
      runbook: medium,
      incident: { members: [{ ...member, observed }] }
    })
    expect(ask(undefined, options(0.03))).toMatchObject({ verdict: 'ask', inputs: { burnRate: expect.closeTo(30), source: 'anomalies' } })
    expect(ask(undefined, options(0.003)).verdict).toBe('allow')
  })
  test('a budget that is gone makes auto ask, a no ends it, and a refilled one lets it act again', () => {
    const set = policySet(policyYaml('autonomy: auto\nerrorBudget: {}'), runbookYaml())
    const gone = decider(set)
    gone.control(said({ remainingRatio: 0 }), 0)
    gone.incident(anIncident(), 1)
    expect(gone.last()).toMatchObject({ outcome: 'ask', autonomy: 'approve', blockedBy: ['error_budget', 'approval'] })
    gone.control(said({ remainingRatio: 0.4, atMs: T0 + 2_000 }), 2)
    expect(gone.last()).toMatchObject({ outcome: 'act', autonomy: 'auto' })
    const denied = decider(set)
    denied.control(said({ remainingRatio: 0 }), 0)
    denied.incident(anIncident(), 1)
    denied.control({ kind: 'approval', incidentId: 'incident-1', decisionId: denied.last().id, approved: false, by: 'ada', atMs: T0 + 2_000 }, 2)
    expect(denied.last()).toMatchObject({ outcome: 'escalate', reason: expect.stringContaining('ada said no') })
  })
})

describe('blast radius of a group', () => {
  const instance = (index: number) => `lab/orders@${index}`
  const group = (size: number, name = 'lab/orders'): Extract<Control, { kind: 'group' }> => ({
    kind: 'group',
    environment: 'lab',
    group: name,
    size,
    by: 'ci',
    atMs: T0
  })
  const ask = (spec: string, running: number, size?: number, options: ContextOptions = {}) =>
    blastRadius(
      aContext({
        spec: `blastRadius: ${spec}`,
        attempts: Array.from({ length: running }, (_, index) => anAttempt({ commandId: `c${index}`, target: instance(index), verdict: null })),
        ...options,
        prepare: state => {
          if (size !== undefined) state.groups['lab/lab/orders'] = group(size)
          options.prepare?.(state)
        }
      })
    )
  test('the larger of a number and a share of the group', () => {
    const spec = '{group: service, concurrentMax: 1, percentMax: 20}'
    expect([ask(spec, 0, 3).verdict, ask(spec, 1, 3).verdict]).toEqual(['allow', 'wait']) // A pool of three can be repaired: one at a time.
    expect([ask(spec, 1, 10).verdict, ask(spec, 2, 10)]).toMatchObject(['allow', { verdict: 'wait', inputs: { limit: 2, size: 10, sizeKnown: true } }])
  })
  test('without a record the share is taken of the members heard of', () => {
    expect(ask('{group: service, percentMax: 50}', 2).inputs).toMatchObject({ size: 3, sizeKnown: false, limit: 1 })
  })
  test('another service does not count in the group of this one', () => {
    const other = { attempts: [anAttempt({ target: 'lab/mail@1', verdict: null })] }
    expect(ask('{group: service}', 0, 3, other).verdict).toBe('allow')
    expect(ask('{group: environment}', 0, 3, other).verdict).toBe('wait')
  })
  test('so many must stay well, where unwell, unknown and treated ones are not', () => {
    const spec = '{group: service, concurrentMax: 5, minHealthy: 2}'
    expect(ask(spec, 0, 3)).toMatchObject({ verdict: 'allow', inputs: { healthy: 2, minHealthy: 2 } })
    expect(ask(spec, 1, 3)).toMatchObject({ verdict: 'wait', inputs: { healthy: 1 } })
    expect(ask(spec, 0, 3, { incident: { unknownEntities: [instance(7)] } }).verdict).toBe('wait')
    expect(ask(spec, 0, 3, { incident: { members: [aMember({ entity: instance(8) })] } }).verdict).toBe('wait')
    expect(ask('{group: service, concurrentMax: 5, minHealthy: "50%"}', 1, 4).verdict).toBe('allow')
    expect(ask('{group: service, concurrentMax: 5, minHealthy: "51%"}', 1, 4).verdict).toBe('wait')
  })
  test('how many must stay well cannot be told of a group whose size nobody told', () => {
    expect(ask('{group: service, minHealthy: 1}', 0)).toMatchObject({ verdict: 'wait', reason: expect.stringContaining('not known') })
  })
})

describe('storm', () => {
  test('incidents that are over again still count', () => {
    const context = aContext({
      prepare: state => {
        for (let index = 0; index <= STORM_INCIDENTS_MAX; index++) addOpening(state, anIncident({ id: `over-${index}`, openedAtMs: T0 - index }))
      }
    })
    expect(storm(context)).toMatchObject({ verdict: 'wait', retryAtMs: T0 + STORM_EXIT_MS })
  })
  test('automation that resolves each incident at once still sees the storm, and people are told once', () => {
    const one = decider(policySet(policyYaml('autonomy: auto'), runbookYaml()))
    for (let index = 0; index <= STORM_INCIDENTS_MAX; index++) {
      const fields = { id: `i${index}`, openedAtMs: T0 + index * 1_000, causes: [{ ...anIncident().causes[0]!, entity: `lab/orders@${index}` }] }
      one.incident(anIncident(fields), index)
      one.incident(anIncident({ ...fields, version: 2, status: 'resolved', resolution: 'self_healed' }), index)
    }
    const before = one.commands().length
    one.incident(anIncident({ id: 'late', openedAtMs: T0 + 12_000, causes: [{ ...anIncident().causes[0]!, entity: 'lab/mail@1' }] }), 12)
    expect(one.last().blockedBy).toContain('storm')
    expect(one.commands()).toHaveLength(before)
    expect(one.state.pages.filter(page => page.page.action === 'trigger')).toHaveLength(1)
  })
  test('so does a single incident that holds very many series, listed or not, until the exit delay has passed', () => {
    const withSeries = (omitted: number, nowMs = T0 + 1_000) => storm(aContext({ nowMs, incident: { membersOmitted: omitted } }))
    expect(withSeries(STORM_SERIES_MAX - 1).verdict).toBe('allow')
    expect(withSeries(STORM_SERIES_MAX)).toMatchObject({ verdict: 'wait', reason: expect.stringContaining('series'), retryAtMs: T0 + STORM_EXIT_MS })
    expect(withSeries(STORM_SERIES_MAX, T0 + STORM_EXIT_MS).verdict).toBe('allow')
  })
})
