// Who may approve: roles, two people, one person for one role.

import { describe, expect, test } from 'vitest'
import { rolesMissing } from '../../../../actuators/decide/guards/question.ts'
import { anIncident, decider, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

const asked = (approval: string, risk = 'low') => {
  const one = decider(policySet(policyYaml(`autonomy: approve\napproval: ${approval}`), runbookYaml('restart', `risk: ${risk}\nsignatures: [silent]`)))
  one.incident(anIncident({ unknownEntities: [] }), 0)
  const decisionId = one.last().id
  const yes = (by: string, atS: number) =>
    one.control({ kind: 'approval', incidentId: 'incident-1', decisionId, approved: true, by, atMs: T0 + atS * 1_000 }, atS)
  return { ...one, yes }
}

describe('two people', () => {
  test('are two names, however one person writes theirs', () => {
    const { yes, commands } = asked('{approvers: 2}')
    yes('ada', 1)
    yes(' Ada ', 2)
    expect(commands()).toHaveLength(0)
    yes('bob', 3)
    expect(commands()).toHaveLength(1)
  })
  test('are needed from a risk on', () => {
    const low = asked('{twoPersonRisk: medium}')
    low.yes('ada', 1)
    expect(low.commands()).toHaveLength(1)
    const high = asked('{twoPersonRisk: medium}', 'high')
    high.yes('ada', 1)
    expect(high.commands()).toHaveLength(0)
    high.yes('bob', 2)
    expect(high.commands()).toHaveLength(1)
  })
})

describe('roles', () => {
  const roles = '{roles: {sre: [ada, bob], owner: [ada, eve]}}'
  test('someone of each role must say yes, and nobody else counts', () => {
    const one = asked(roles)
    one.yes('mallory', 1)
    one.yes('bob', 2)
    expect(one.commands()).toHaveLength(0)
    one.yes('eve', 3)
    expect(one.commands()).toHaveLength(1)
  })
  test('one person stands for one role', () => {
    const one = asked(roles)
    one.yes('ada', 1)
    expect(one.commands()).toHaveLength(0)
    one.yes('bob', 2)
    expect(one.commands()).toHaveLength(1)
  })
  test('people are placed so that as many roles as possible are filled', () => {
    expect(rolesMissing({ sre: ['ada', 'bob'], owner: ['ada'] }, ['ada', 'bob'])).toEqual([])
    expect(rolesMissing({ sre: ['ada'], owner: ['ada'] }, ['ada'])).toEqual(['owner'])
    expect(rolesMissing({ a: ['x', 'y'], b: ['x', 'z'], c: ['x'] }, ['x', 'y', 'z'])).toEqual([])
  })
  test('approvals that come when the question has expired call people instead', () => {
    const one = asked('{expiresAfter: 1m, roles: {sre: [ada]}}')
    one.run(1, 60)
    one.yes('ada', 61)
    expect(one.commands()).toHaveLength(0)
    expect(one.last()).toMatchObject({ outcome: 'escalate' })
  })
})
