// The explanation restates the record: who, why, every guard with its inputs, and what would have changed the answer.

import { expect, test } from 'vitest'
import { explain } from '../../../../actuators/decide/explain-text.ts'
import { GUARDS } from '../../../../actuators/decide/guards/guards.ts'
import { anOutcome } from '../../../support/store-records.ts'
import { anIncident, decider, killSwitch, policySet, policyYaml, runbookYaml, T0 } from './builders.ts'

function decided(spec: string, prepare: (made: ReturnType<typeof decider>) => void = () => {}, guards: 'telling' | 'all' = 'telling') {
  const made = decider(policySet(policyYaml(spec), runbookYaml()))
  prepare(made)
  made.incident(anIncident(), 1)
  return explain(anIncident(), made.decisions(), [], { guards })
}

test('an act is explained by its cause and its runbook; on demand by all guards with their inputs', () => {
  const lines = decided('autonomy: auto')
  const text = lines.join('\n')
  expect(lines.slice(0, 3)).toEqual([
    'orders sends nothing (open)',
    'It is acting: restart on lab/orders@orders-1.',
    'Why: restart on lab/orders@orders-1: low risk, 0 of 0 healed (0.50).'
  ])
  expect(text).toContain('Cause: lab/orders@orders-1, silent, score 0.9')
  expect(text).toContain('12:00:01Z  acted: restart on lab/orders@orders-1: low risk, 0 of 0 healed (0.50)')
  expect(text).toContain('→ restart: low risk')
  expect(text).toContain('  + allowed by evidence, freshness')
  expect(text).not.toContain('What would change that')
  expect(text).not.toContain('What you can do')
  const all = decided('autonomy: auto', () => {}, 'all')
  expect(all.filter(line => / {2}\+ \w+ allows: /.test(line))).toHaveLength(GUARDS.length)
  expect(all.join('\n')).toContain('causeScore=0.9')
})

test('not acting is answered first: why, what would change it, what a person can type', () => {
  const lines = decided('autonomy: observe\nconfirmFor: 30s', made => made.control(killSwitch('global', true), 0))
  const text = lines.join('\n')
  expect(lines.slice(1, 9)).toEqual([
    'It has not acted; it looks again by itself.',
    'Why: orders is at level observe: it records what it would do.',
    '     ada stopped global at 12:00:00Z: trouble.',
    'What would change that: Autonomy suggest, approve or auto. The kill switch global turned off.',
    'Then it would still wait for: evidence.',
    'What you can do:',
    '  raise autonomy in the policy orders, when its record convinces you',
    '  homeostat kill --off --scope global   (it was ada: trouble)'
  ])
  expect(text).toContain('did not act yet: restart on lab/orders@orders-1')
  expect(text).toContain('  ~ evidence waits: seen for 1 s of 30 s (looked at again 12:00:30Z)')
  expect(text).toContain('  - kill_switch refuses: ada stopped global at 12:00:00Z: trouble')
  expect(text).toContain('causeScore=0.9')
})

test('every new guard says what it looked at, times as times and waits as waits', () => {
  const spec = 'autonomy: auto\nerrorBudget: {}\ncostBudgets: [{action: "*", max: 0, window: 1h}]'
  const text = decided(spec, made => {
    made.control({ kind: 'change', id: 'd', environment: 'lab', target: '*', actor: 'ci', what: 'deploy', fromMs: T0, toMs: null, by: 'ci', atMs: T0 }, 0)
    made.control({ kind: 'error_budget', environment: 'lab', service: '*', remainingRatio: 0, burnRate: 3, by: 'slo', atMs: T0 }, 0)
  }).join('\n')
  expect(text).toContain('  ~ deploy_window waits: ci is deploying * since 12:00:00Z')
  expect(text).toContain('settleMs=5 min deploy=d by=ci startedAtMs=12:00:00Z untilMs=14:05:00Z')
  expect(text).toContain('  ? error_budget asks: 0 % of the error budget are left: nothing is done without people')
  expect(text).toContain('  - cost_budget refuses: * has cost 0 of 0 within 60 min, and restart costs 1')
  expect(text).toContain('What would change that: A budget of at least 1, or a cheaper runbook.')
  expect(text).toContain('Then it would still wait for: error_budget, approval, deploy_window.')
  expect(text).toContain('  + allowed by evidence, freshness')
})

test('an undecided incident says so, decisions of other incidents are left out, times are in order', () => {
  expect(explain(anIncident(), [])).toContain('Nothing is decided yet.')
  const made = decider(policySet(policyYaml('autonomy: auto\nconfirmFor: 30s'), runbookYaml()))
  made.incident(anIncident(), 1)
  made.tick(31)
  const [blocked, act] = made.decisions()
  const text = explain(anIncident(), [act!, { ...blocked!, incidentId: 'another' }, blocked!]).join('\n')
  expect(text.match(/did not act yet/g)).toHaveLength(1)
  expect(text.indexOf('did not act yet')).toBeLessThan(text.indexOf('acted:'))
})

test('a question says how to answer it, and how to take it', () => {
  const made = decider(policySet(policyYaml('autonomy: approve'), runbookYaml()))
  made.incident(anIncident(), 1)
  const [question] = made.decisions()
  const lines = explain(anIncident(), [question!])
  expect(lines[1]).toBe('It waits for people to say yes.')
  expect(lines).toContain(`  homeostat approve ${question!.id}   (or with --reject)`)
  expect(lines).toContain(`  homeostat acknowledge ${anIncident().id.slice(0, 8)}   (you have it: nobody else is called)`)
})

test('a refusal decides: what only waits or asks is named, and is no way out', () => {
  const made = decider(policySet(policyYaml('autonomy: approve\nconfirmFor: 30s'), runbookYaml()))
  made.control({ kind: 'kill_switch', scope: 'global', on: true, reason: 'drill', by: 'ada', atMs: T0 }, 0)
  made.incident(anIncident(), 1)
  const lines = explain(anIncident(), made.decisions())
  expect(lines).toContain('Then it would still wait for: approval, evidence.')
  expect(lines.join('\n')).not.toContain('homeostat approve')
})

test('a silent target that nobody complains of: see for yourself', () => {
  const made = decider(policySet(policyYaml('autonomy: auto'), runbookYaml('restart', 'risk: medium\nsignatures: [silent]')))
  const incident = anIncident({ unknownEntities: ['lab/orders@orders-1'] })
  made.incident(incident, 1)
  expect(explain(incident, made.decisions())).toContain('  see for yourself whether lab/orders@orders-1 is well, and mend the way of the telemetry')
})

test("another's change says what releases it, a command in flight has nothing to type", () => {
  const spoken = (target: string) =>
    ({ kind: 'change', id: 'c', environment: 'lab', target, actor: 'ada', what: 'manual', fromMs: T0, toMs: T0, by: 'ada', atMs: T0 }) as const
  const advice = (target: string) =>
    decided('autonomy: auto', made => made.control(spoken(target), 0)).filter(line => line.includes('if you want it to act now'))
  expect(advice('lab/orders')).toEqual(['  if you want it to act now: homeostat release lab/orders@orders-1'])
  expect(advice('*')).toEqual(["  if you want it to act now: homeostat release '*'"])
  const made = decider(policySet(policyYaml('autonomy: auto'), runbookYaml()))
  made.incident(anIncident(), 1)
  made.incident(anIncident({ id: 'another' }), 2)
  const held = made.decisions().filter(({ incidentId }) => incidentId === 'another')
  expect(held.at(-1)?.blockedBy).toContain('ownership')
  expect(explain(anIncident({ id: 'another' }), held, []).join('\n')).not.toContain('homeostat release')
})

test('no policy and no runbook say what to write', () => {
  const incident = anIncident({ causes: [{ ...anIncident().causes[0]!, service: 'other' }] })
  const made = decider(policySet(policyYaml('autonomy: auto'), runbookYaml()))
  made.incident(incident, 1)
  expect(explain(incident, made.decisions())).toContain('  write a policy that matches cause.service == "other" && cause.signature == "silent"')
})

test('what is over says how it ended and what was tried, and asks nothing of anybody', () => {
  const over = anIncident({ status: 'resolved', resolution: 'remediated', healedAtMs: anIncident().startedAtMs + 8_000, resolvedAtMs: T0 + 20_000 })
  const outcome = anOutcome('o1', over.id, 'd1', { target: 'lab/orders@orders-1', reason: 'restart: serving: answered 200; held for 3000 ms' })
  const text = explain(over, [], [outcome]).join('\n')
  expect(text).toContain('Over: restart healed lab/orders@orders-1, 8 s after it began. Nothing is left to do.')
  expect(text).toContain('What was tried: restart on lab/orders@orders-1 healed: restart: serving: answered 200')
  expect(text).not.toContain('What you can do')
  const made = decider(policySet(policyYaml('autonomy: observe'), runbookYaml()))
  made.incident(anIncident(), 1)
  const untouched = explain({ ...over, resolution: 'self_healed' }, made.decisions())
  expect(untouched.slice(2, 4)).toEqual([
    'Why nothing was done: orders is at level observe: it records what it would do.',
    'What would have changed that: Autonomy suggest, approve or auto.'
  ])
  expect(untouched[1]).toBe('Over, 8 s after it began: it went away by itself, nothing was done.')
})
