// A policy in words: every limit of the schema, with its value and whether somebody wrote it.

import { expect, test } from 'vitest'
import { readPolicyDocuments } from '../../../../actuators/decide/policy-documents.ts'
import { explainPolicy } from '../../../../actuators/decide/policy-explain.ts'
import { policySet, policyYaml, runbookYaml } from './builders.ts'

function explained(name: string, ...texts: string[]) {
  const { documents } = readPolicyDocuments(texts.map((text, index) => ({ file: `f${index}.yaml`, text })))
  return explainPolicy(name, documents, policySet(...texts))!
}
const limit = (explanation: ReturnType<typeof explained>, key: string) => explanation.limits.flatMap(({ limits }) => limits).find(one => one.key === key)

test('what was written has its line, what was not is a default; durations are in words', () => {
  const one = explained('orders', policyYaml('cooldown: {initial: 90s}\nattempts:\n  max: 5\n  runbook: {max: 7}'), runbookYaml())
  expect(limit(one, 'cooldown.initial')).toMatchObject({ value: '90 s', line: 7 })
  expect(limit(one, 'cooldown.max')).toMatchObject({ value: '60 min', line: null })
  expect(limit(one, 'attempts.max')).toMatchObject({ value: '5', line: 9 })
  expect(limit(one, 'attempts.runbook.max')).toMatchObject({ value: '7', line: 10, meaning: 'Of one runbook anywhere in the environment.' })
  expect(limit(one, 'cooldown.stabilise')).toMatchObject({ value: 'not set', line: null })
  expect(one).toMatchObject({ file: 'f0.yaml', line: 3, matchLine: 5, description: '' })
})

test('lists and roles are told in words', () => {
  const one = explained(
    'orders',
    policyYaml(
      'maintenanceWindows: [{schedule: "0 2 * * 6", duration: 2h}]\ncostBudgets: [{action: "*", max: 9, window: 1d}]\napproval: {roles: {db: [ada, bob]}}'
    ),
    runbookYaml()
  )
  expect(limit(one, 'maintenanceWindows')!.value).toBe('schedule 0 2 * * 6, duration 2 h, timezone UTC')
  expect(limit(one, 'costBudgets')!.value).toBe('action *, max 9, window 24 h')
  expect(limit(one, 'approval.roles')!.value).toBe('db ada or bob')
})

test('every limit says what it means', () => {
  const limits = explained('orders', policyYaml('errorBudget: {objective: 0.999}'), runbookYaml()).limits.flatMap(group => group.limits)
  expect(limits.filter(({ meaning }) => meaning === '')).toEqual([])
  expect(limits.length).toBeGreaterThanOrEqual(38)
})

test('when it asks: by level, error budget, deploys and roles', () => {
  const acting = (spec: string) => explained('orders', policyYaml(spec), runbookYaml()).acting.join('\n')
  expect(acting('')).toBe('level observe: it records what it would do, and does nothing')
  expect(acting('autonomy: approve\napproval: {approvers: 2, twoPersonRisk: high}')).toContain(
    '2 people must say yes, two at least from high risk on within 30 min'
  )
  expect(acting('autonomy: approve\napproval: {roles: {db: [ada], ops: [bob]}}')).toContain('2 people (db, ops) must say yes')
  expect(acting('autonomy: auto\nerrorBudget: {}\ndeploys: {during: ask}').match(/it asks/g)).toHaveLength(2)
})

test('the runbooks say what is done, when it counts as healed, and what takes it back', () => {
  const [runbook] = explained('orders', policyYaml(), runbookYaml()).runbooks
  expect(runbook).toMatchObject({ name: 'restart', risk: 'low', cost: 1, signatures: ['silent', 'errors'] })
  expect(runbook!.steps).toEqual([
    {
      name: 'act',
      does: ['process restart of the target, within 30 s', 'settles for 5 s; healed when up holds for 10 s, begun within 60 s', 'nothing takes it back']
    }
  ])
})

test('policies that come first for some of it are named', () => {
  const texts = [
    policyYaml('', 'b', 'cause.service == "orders"'),
    policyYaml('', 'a', 'cause.signature == "silent"'),
    policyYaml('', 'c', 'cause.service == "cart"'),
    runbookYaml()
  ]
  expect(explained('b', ...texts).decidedBefore).toEqual(['a'])
  expect(explained('a', ...texts).decidedBefore).toEqual([])
})
