// Which runbook is chosen: by what was learned, the lightest among equals.

import { expect, test } from 'vitest'
import { posteriorMean } from '../../../../actuators/decide/candidates.ts'
import { emptyState } from '../../../../actuators/decide/state.ts'
import { aCause, anIncident, anOutcome, decider, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const AUTO = 'autonomy: auto'

const set = (a: string, b: string) =>
  policySet(
    policyYaml(AUTO, 'orders', 'cause.service == "orders"', '[heavy, light]'),
    runbookYaml('heavy', `risk: ${a}\nsignatures: [errors]`),
    runbookYaml('light', `risk: ${b}\nsignatures: [errors]`)
  )
const errors = anIncident({ causes: [aCause({ signature: 'errors' })], unknownEntities: [] })

test('among equals the lightest risk is first', () => {
  const { incident, last } = decider(set('high', 'low'))
  incident(errors, 1)
  expect(last()).toMatchObject({ runbook: 'light' })
  expect(last().candidates.map(candidate => [candidate.runbook, candidate.chosen])).toEqual([
    ['light', true],
    ['heavy', false]
  ])
})

test('learned success outranks a lighter risk when it is clearly better, and near-equals do not', () => {
  const better = { ...emptyState(), learned: { 'heavy|errors': { successes: 9, failures: 1 }, 'light|errors': { successes: 3, failures: 7 } } }
  const clear = decider(set('medium', 'low'), { state: better })
  clear.incident(errors, 1)
  expect(clear.last().runbook).toBe('heavy')
  const near = decider(set('medium', 'low'), {
    state: { ...emptyState(), learned: { 'heavy|errors': { successes: 9, failures: 1 }, 'light|errors': { successes: 8, failures: 1 } } }
  })
  near.incident(errors, 1)
  expect(near.last().runbook).toBe('light')
})

test('what was learned of another signature does not count', () => {
  const state = { ...emptyState(), learned: { 'heavy|silent': { successes: 50, failures: 0 } } }
  const { incident, last } = decider(set('medium', 'low'), { state })
  incident(errors, 1)
  expect(last().runbook).toBe('light')
})

test('a runbook of 30 % true success loses to one of 90 % within 40 incidents', () => {
  let chosenGood = 0
  const state = emptyState()
  let chance = 12_345
  const next = () => {
    chance = (chance * 1_103_515_245 + 12_345) % 2 ** 31
    return chance / 2 ** 31
  }
  for (let index = 0; index < 60; index++) {
    const { incident, outcome, last } = decider(set('medium', 'low'), { state })
    const entity = `lab/orders@orders-${index}`
    const record = { ...errors, id: `incident-${index}`, causes: [aCause({ signature: 'errors', entity })], openedAtMs: T0 + index * 3_600_000 }
    incident(record, index * 3_600)
    const good = last().runbook === 'heavy'
    if (index >= 40 && good) chosenGood++
    outcome(anOutcome(last(), next() < (good ? 0.9 : 0.3) ? 'healed' : 'ineffective', { recordedAtMs: T0 + index * 3_600_000 + 5_000 }), index * 3_600 + 5)
    incident({ ...record, version: 9, status: 'resolved', resolution: 'remediated' }, index * 3_600 + 10)
  }
  expect(chosenGood).toBeGreaterThanOrEqual(19)
})

test('the posterior is that of Beta(1, 1)', () => {
  expect([posteriorMean(0, 0), posteriorMean(1, 0), posteriorMean(3, 1)]).toEqual([1 / 2, 2 / 3, 4 / 6])
})
