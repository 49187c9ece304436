// The explanation restates the record: who, why, every guard with its inputs, and what would have changed the answer.

import { expect, test } from 'vitest'
import { explain } from '../../../../actuators/decide/explain-text.ts'
import { GUARDS } from '../../../../actuators/decide/guards/guards.ts'
import { anIncident, decider, killSwitch, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

function decided(spec: string, prepare: (made: ReturnType<typeof decider>) => void = () => {}) {
  const made = decider(policySet(policyYaml(spec), runbookYaml()))
  prepare(made)
  made.incident(anIncident(), 1)
  return explain(anIncident(), made.decisions())
}

test('an act is explained by its cause, its runbook and all guards', () => {
  const lines = decided('autonomy: auto')
  const text = lines.join('\n')
  expect(lines[0]).toBe('orders sends nothing (open)')
  expect(text).toContain('cause: lab/orders@orders-1, silent, score 0.9')
  expect(text).toContain('2026-01-05T12:00:01.000Z  acted: restart on lab/orders@orders-1: low risk, 0 of 0 healed (0.50)')
  expect(text).toContain('→ restart: low risk')
  expect(lines.filter(line => line.startsWith('  + '))).toHaveLength(GUARDS.length)
  expect(text).not.toContain('what would change it')
})

test('not acting is explained with inputs, counterfactual and when it is looked at again', () => {
  const text = decided('autonomy: observe\nconfirmFor: 30s', made => made.control(killSwitch('global', true), 0)).join('\n')
  expect(text).toContain('did not act yet: restart on lab/orders@orders-1 is blocked')
  expect(text).toContain('  ~ evidence: seen for 1 s of 30 s (looked at again 2026-01-05T12:00:30.000Z)')
  expect(text).toContain('  - kill_switch: ada stopped global at 2026-01-05T12:00:00Z: trouble')
  expect(text).toContain(`causeScore=0.9`)
  expect(text).toMatch(/what would change it: .*The kill switch global turned off\./)
})

test('every new guard says what it looked at, times as times and waits as waits', () => {
  const spec = 'autonomy: auto\nerrorBudget: {}\ncostBudgets: [{action: "*", max: 0, window: 1h}]'
  const text = decided(spec, made => {
    made.control({ kind: 'change', id: 'd', environment: 'lab', target: '*', actor: 'ci', what: 'deploy', fromMs: T0, toMs: null, by: 'ci', atMs: T0 }, 0)
    made.control({ kind: 'error_budget', environment: 'lab', service: '*', remainingRatio: 0, burnRate: 3, by: 'slo', atMs: T0 }, 0)
  }).join('\n')
  expect(text).toContain('  ~ deploy_window: ci is deploying * since 2026-01-05T12:00:00Z')
  expect(text).toContain('settleMs=5 min deploy=d by=ci startedAtMs=2026-01-05T12:00:00.000Z untilMs=2026-01-05T14:05:00.000Z')
  expect(text).toContain('  ? error_budget: 0 % of the error budget are left: nothing is done without people')
  expect(text).toContain('  - cost_budget: * has cost 0 of 0 within 60 min, and restart costs 1')
  expect(text).toMatch(/what would change it: .*More than 0 % of the budget left, or a person's yes\./)
  expect(text).toContain('  + autonomy: orders may act by itself')
})

test('an undecided incident says so, decisions of other incidents are left out, times are in order', () => {
  expect(explain(anIncident(), [])).toContain('No decision yet.')
  const made = decider(policySet(policyYaml('autonomy: auto\nconfirmFor: 30s'), runbookYaml()))
  made.incident(anIncident(), 1)
  made.tick(31)
  const [blocked, act] = made.decisions()
  const text = explain(anIncident(), [act!, { ...blocked!, incidentId: 'another' }, blocked!]).join('\n')
  expect(text.match(/did not act yet/g)).toHaveLength(1)
  expect(text.indexOf('did not act yet')).toBeLessThan(text.indexOf('acted:'))
})
