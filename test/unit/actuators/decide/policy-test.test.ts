// PolicyTest documents: what cases say happened is what guards see, and what differs is told.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readPolicyDocuments } from '../../../../actuators/decide/policy-documents.ts'
import { policyTestProblems, runPolicyTests } from '../../../../actuators/decide/policy-test.ts'
import { loadPolicySet } from '../../../../actuators/decide/policy-file.ts'
import { policySet, policyYaml, runbookYaml } from './builders.ts'

const SILENT = 'incident: {entity: shop/orders@orders-1, signature: silent}'

/** One case under a policy of these lines. */
function run(spec: string, given: string, expected: string, runbook?: string) {
  const text = `apiVersion: homeostat.io/v1\nkind: PolicyTest\nmetadata: {name: cases}\nspec:\n  cases:\n    - name: a case\n      given: {${given}}\n      expect: {${expected}}\n`
  const { documents, problems } = readPolicyDocuments([{ file: 'cases.yaml', text }])
  expect(problems).toEqual([])
  const set = policySet(policyYaml(spec), runbookYaml('restart', runbook))
  expect(policyTestProblems(set, documents.tests)).toEqual([])
  return runPolicyTests(set, documents.tests)[0]!
}
const differences = (...args: Parameters<typeof run>) => run(...args).differences

test('a case that is decided as expected has no differences', () => {
  expect(differences('autonomy: auto', SILENT, 'outcome: act, policy: orders, runbook: restart, blockedBy: [], attempt: 1')).toEqual([])
})

test('everything that is not as expected is told: what was expected, what was decided', () => {
  const {
    differences: told,
    decision,
    line
  } = run('', SILENT, 'outcome: act, policy: null, runbook: null, blockedBy: [cooldown, approval], guards: {autonomy: allow}, attempt: 2, reason: because')
  expect(told).toEqual([
    { what: 'outcome', expected: 'act', was: 'would_act' },
    { what: 'policy', expected: 'none', was: 'orders' },
    { what: 'runbook', expected: 'none', was: 'restart' },
    { what: 'blockedBy', expected: 'approval, cooldown', was: 'autonomy' },
    { what: 'guards.autonomy', expected: 'allow', was: 'refuse' },
    { what: 'attempt', expected: '2', was: '1' },
    { what: 'reason', expected: '… because …', was: decision.reason }
  ])
  expect(line).toBe(6)
})

test('a case runs at the level that it names', () => {
  expect(differences('', `autonomy: auto, ${SILENT}`, 'outcome: act')).toEqual([])
  expect(differences('autonomy: auto', `autonomy: approve, ${SILENT}`, 'outcome: ask')).toEqual([])
})

describe('what happened before', () => {
  const blocked = (given: string, guard: string, spec = 'autonomy: auto', runbook?: string) =>
    expect(differences(spec, `${SILENT}, ${given}`, `guards: {${guard}}`, runbook), given).toEqual([])

  test('attempts count for cooldown and budget, whatever their verdict', () => {
    blocked('history: [{runbook: restart, verdict: ineffective, ago: 10s}]', 'cooldown: wait')
    blocked('history: [{runbook: restart, verdict: ineffective, ago: 10m}]', 'cooldown: allow')
    blocked(`history: [${[40, 30, 20].map(ago => `{runbook: restart, verdict: inconclusive, ago: ${ago}m}`).join(', ')}]`, 'attempt_budget: refuse')
  })

  test('unknown freezes, harm quarantines and costs a level', () => {
    blocked('history: [{runbook: restart, verdict: unknown, ago: 2h}]', 'target_frozen: refuse')
    blocked('history: [{runbook: restart, verdict: harmful, ago: 2h}]', 'target_frozen: refuse')
    expect(run('autonomy: auto', `${SILENT}, history: [{runbook: restart, verdict: harmful, ago: 2h}]`, 'outcome: act').decision.autonomy).toBe('approve')
  })

  test('what is in flight holds its target, and others by the blast radius', () => {
    blocked('history: [{runbook: restart, verdict: in_flight, ago: 10s}]', 'ownership: wait')
    blocked('history: [{runbook: restart, verdict: in_flight, ago: 10s, target: shop/orders@orders-2}]', 'blast_radius: wait')
  })

  test('attempts of an earlier incident are not attempts of this one', () => {
    const of = (same: boolean) =>
      run('', `${SILENT}, history: [{runbook: restart, verdict: healed, ago: 1d, sameIncident: ${same}}]`, 'outcome: act').decision.attempt
    expect([of(true), of(false)]).toEqual([2, 1])
  })

  test('storms and flapping', () => {
    blocked('openedLately: 11', 'storm: wait')
    blocked('openedLately: 5', 'storm: allow')
    blocked('brokeLately: 8', 'flapping: refuse')
  })

  test('missing telemetry stops a risky act, unless callers complain', () => {
    const risky = 'risk: high\nsignatures: [silent]'
    blocked('openedLately: 0', 'freshness: wait', 'autonomy: auto', risky)
    const given = 'incident: {entity: shop/orders@orders-1, signature: silent, complainedBy: [shop/gateway]}'
    expect(differences('autonomy: auto', given, 'guards: {freshness: allow}', risky)).toEqual([])
  })

  test('what people and others said', () => {
    blocked('controls: [{kind: kill_switch}]', 'kill_switch: refuse')
    blocked('controls: [{kind: kill_switch, ago: 5m}, {kind: kill_switch, on: false, ago: 1m}]', 'kill_switch: allow')
    blocked('controls: [{kind: kill_switch, scope: policy/other}]', 'kill_switch: allow')
    blocked('controls: [{kind: maintenance, match: orders}]', 'maintenance_window: wait')
    blocked('controls: [{kind: maintenance, match: orders, from: 10m, to: 2h}]', 'maintenance_window: allow')
    blocked('controls: [{kind: change, what: deploy, target: shop/orders}]', 'deploy_window: wait')
    blocked('controls: [{kind: change, what: manual, target: shop/orders, from: -20m, to: -5m, by: ada}]', 'ownership: wait')
    blocked('controls: [{kind: group, size: 2}]', 'blast_radius: wait', 'autonomy: auto\nblastRadius: {minHealthy: 2}')
    blocked('controls: [{kind: error_budget, remainingRatio: 0}]', 'error_budget: ask', 'autonomy: auto\nerrorBudget: {remainingMin: 0.1}')
  })

  test('questions: asked, answered by enough people, refused, out of time', () => {
    const asked = (more: string, outcome: string, spec = 'autonomy: approve\napproval: {approvers: 2, expiresAfter: 10m}') =>
      expect(differences(spec, `${SILENT}, ${more}`, `outcome: ${outcome}`), more).toEqual([])
    asked('answers: [{by: ada}]', 'ask')
    asked('answers: [{by: ada}, {by: bob, ago: 30s}]', 'act')
    asked('answers: [{by: ada}, {by: bob, approved: false}]', 'escalate')
    asked('askedFor: 9m', 'ask')
    asked('askedFor: 10m', 'escalate')
  })

  test('time is that of the case', () => {
    const window = 'autonomy: auto\nmaintenanceWindows: [{schedule: "0 2 * * 6", duration: 2h, timezone: Europe/Berlin}]'
    const at = (now: string, guard: string) => expect(differences(window, `now: "${now}", ${SILENT}`, `guards: {maintenance_window: ${guard}}`)).toEqual([])
    at('2026-01-10T01:30:00Z', 'wait')
    at('2026-01-10T00:30:00Z', 'allow')
    at('2026-07-11T00:30:00Z', 'wait')
  })
})

test('a case that names what is not there is a problem, since it would prove nothing', () => {
  const text =
    'apiVersion: homeostat.io/v1\nkind: PolicyTest\nmetadata: {name: cases}\nspec:\n  cases:\n    - name: a case\n      given: {incident: {entity: a, signature: silent}, history: [{runbook: restrat, verdict: healed, ago: 1m}]}\n      expect: {policy: order}\n'
  const { documents } = readPolicyDocuments([{ file: 'cases.yaml', text }])
  expect(policyTestProblems(policySet(policyYaml(), runbookYaml()), documents.tests)).toMatchObject([
    { path: 'spec.cases[0].given.history[0].runbook', hint: 'Did you mean restart?' },
    { path: 'spec.cases[0].expect.policy', line: 8, hint: 'Did you mean orders?' }
  ])
})

test('cases beside policies change nothing of the set', () => {
  const folder = join(import.meta.dirname, '../../../../actuators/runbooks')
  const files = globSync('*.yaml', { cwd: folder }).map(file => ({ file, text: readFileSync(join(folder, file), 'utf8') }))
  const version = (chosen: typeof files) => {
    const loaded = loadPolicySet(chosen)
    return loaded.ok && loaded.set.version
  }
  expect(version(files)).toBe(version(files.filter(({ file }) => !file.includes('.test.'))))
})

test('the examples that ship with the product decide what their cases expect', () => {
  const folder = join(import.meta.dirname, '../../../../actuators/runbooks')
  const files = globSync('*.yaml', { cwd: folder }).map(file => ({ file, text: readFileSync(join(folder, file), 'utf8') }))
  const results = runPolicyTests(policySet(...files.map(({ text }) => text)), readPolicyDocuments(files).documents.tests)
  expect(results.filter(one => one.differences.length > 0)).toEqual([])
  expect(results.length).toBeGreaterThanOrEqual(19)
})
