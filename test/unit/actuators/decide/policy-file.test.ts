// Policies and runbooks at load: what is wrong is found there, with file, line and column.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadPolicySet } from '../../../../actuators/decide/policy-file.ts'
import { formatProblem } from '../../../../schemas/yaml.ts'
import { policySet, policyYaml, runbookYaml } from './builders.ts'

function problemsOf(...texts: string[]) {
  const loaded = loadPolicySet(texts.map((text, index) => ({ file: `f${index}.yaml`, text })))
  return loaded.ok ? [] : loaded.problems
}

test('a policy and its runbook load, with durations in ms and observe as default', () => {
  const set = policySet(policyYaml('cooldown: {initial: 10s}'), runbookYaml())
  expect(set.policies[0]).toMatchObject({ name: 'orders', spec: { autonomy: 'observe', cooldown: { initial: 10_000, factor: 2 } } })
  expect(set.runbooks.get('restart')!.spec.steps[0]!.timeout).toBe(30_000)
})

test('both kinds may share a file of several documents', () => {
  expect(policySet(`${policyYaml()}---\n${runbookYaml()}`).policies).toHaveLength(1)
})

test('an unknown runbook is reported at its place with the name that was meant', () => {
  expect(problemsOf(policyYaml('', 'orders', 'cause.service == "orders"', '[restrat]'), runbookYaml())).toMatchObject([
    { file: 'f0.yaml', line: 6, column: 14, path: 'spec.runbooks[0]', message: 'there is no runbook restrat', hint: 'Did you mean restart?' }
  ])
})

test.each(['true', '1 == 1', 'true || cause.service == "x"', '!has(cause.bogus)'])('a match that holds for every incident is refused: %s', match => {
  expect(problemsOf(policyYaml('', 'orders', match), runbookYaml())[0]!.message).toContain('whole fleet')
})

test('an empty match is refused, and one that can never hold', () => {
  expect(problemsOf(policyYaml('', 'orders', ''), runbookYaml())).toMatchObject([{ path: 'spec.match', message: 'at least 1 character is expected, not ""' }])
  expect(problemsOf(policyYaml('', 'orders', '1 > 2'), runbookYaml())[0]!.message).toContain('never match')
  expect(problemsOf(policyYaml('', 'orders', 'has(cause.open) && cause.service == "orders"'), runbookYaml())).toEqual([])
})

test('a fault inside an expression has its column in the file', () => {
  const [problem] = problemsOf(policyYaml('', 'orders', 'cause.service == "a" && bogus.x'), runbookYaml())
  expect(problem).toMatchObject({ line: 5, column: 35, path: 'spec.match' })
  expect(problem!.message).toContain('known are incident, cause')
})

test.each([
  ['cause.servce == "web"', 'servce', 'cause has no field servce', 'Did you mean cause.service?'],
  ['cause.service == "web" && cause.environment == "prod"', 'environment', 'cause has no field environment', 'Did you mean incident.environment?'],
  ['incident.zzz == 1', 'zzz', 'incident has no field zzz', /^Fields: id, environment, status/],
  ['has(cause.opne) && cause.service == "web"', 'opne', 'cause has no field opne', 'Did you mean cause.open?'],
  ['incident.members.exists(cause, cause.metric == "x" && incident.titel == "")', 'titel', 'incident has no field titel', 'Did you mean incident.title?']
])('a misspelt field is found: %s', (match, field, message, hint) => {
  const problems = problemsOf(policyYaml('', 'orders', match), runbookYaml())
  expect(problems).toMatchObject([{ line: 5, column: 11 + match.indexOf(field), path: 'spec.match', message }])
  expect(problems[0]!.hint).toMatch(hint)
})

test('an unknown signature is found in a match and in a runbook', () => {
  expect(problemsOf(policyYaml('', 'orders', 'cause.signature in ["errors", "slient"]'), runbookYaml())).toMatchObject([
    { line: 5, column: 42, message: 'no cause has the signature slient', hint: 'Did you mean silent?' }
  ])
  expect(problemsOf(policyYaml('', 'orders', 'cause.signature == "error"'), runbookYaml())).toMatchObject([{ hint: 'Did you mean errors?' }])
  expect(problemsOf(policyYaml(), runbookYaml('restart', 'risk: low\nsignatures: [latencies]'))).toMatchObject([
    { file: 'f1.yaml', line: 6, message: /latencies/ }
  ])
})

test('two of one name are refused, naming the first file', () => {
  expect(problemsOf(policyYaml(), runbookYaml(), runbookYaml())).toMatchObject([
    { file: 'f2.yaml', line: 3, message: 'a second Runbook named restart, the first is in f1.yaml' }
  ])
})

test('expressions of steps and checks are checked with their own variables', () => {
  const step = (when: string, expected: string) =>
    `${runbookYaml().split('    - ')[0]}    - name: a\n      when: '${when}'\n      action: {driver: process, verb: restart}\n      verify: {checks: [{name: c, type: metric, metric: m, window: 5s, expect: '${expected}'}]}\n`
  expect(problemsOf(policyYaml(), step('facts.state == "failed"', 'before == null || value < before * 2 && samples > 3'))).toEqual([])
  expect(problemsOf(policyYaml(), step('value > 1', 'facts.x'))).toMatchObject([
    { file: 'f1.yaml', path: 'spec.steps[0].when' },
    { file: 'f1.yaml', path: 'spec.steps[0].verify.checks[0].expect' }
  ])
})

test('maintenance windows need a cron schedule and an IANA zone', () => {
  expect(problemsOf(policyYaml('maintenanceWindows: [{schedule: "often", duration: 1h}]'), runbookYaml())).toMatchObject([
    { path: 'spec.maintenanceWindows[0].schedule' }
  ])
  expect(problemsOf(policyYaml('maintenanceWindows: [{schedule: "0 2 * * 6", duration: 1h, timezone: Mars/Base}]'), runbookYaml())).toMatchObject([
    { path: 'spec.maintenanceWindows[0].timezone', message: 'no time zone Mars/Base' }
  ])
})

test('windows by rule need a rule that is understood, a first start, and no schedule beside it', () => {
  const of = (window: string) => problemsOf(policyYaml(`maintenanceWindows: [${window}]`), runbookYaml())
  expect(of('{rrule: "FREQ=WEEKLY;BYDAY=SA", start: "2026-01-03T02:00", duration: 2h, timezone: Europe/Berlin}')).toEqual([])
  expect(of('{rrule: "FREQ=DAILY;COUNT=3", start: "2026-01-03T02:00", duration: 2h}')).toMatchObject([{ path: 'spec.maintenanceWindows[0].rrule' }])
  expect(of('{rrule: "FREQ=DAILY", start: "2026-02-30T02:00", duration: 2h}')).toMatchObject([{ message: 'there is no 2026-02-30T02:00' }])
  expect(of('{rrule: "FREQ=DAILY", start: "2026-01-03T02:00", duration: 2h, timezone: Mars/Base}')).toMatchObject([{ message: 'no time zone Mars/Base' }])
  expect(of('{rrule: "FREQ=DAILY", start: "2026-01-03T02:00", duration: 40d}')).toMatchObject([{ path: 'spec.maintenanceWindows[0].duration' }])
  expect(of('{rrule: "FREQ=DAILY", duration: 2h}')).toMatchObject([{ message: expect.stringContaining('belong together') }])
  expect(of('{duration: 2h}')).toMatchObject([{ message: expect.stringContaining('either schedule or rrule') }])
})

test('spacing, comments and key order do not change a version, content does', () => {
  const version = (text: string) => policySet(text, runbookYaml()).policies[0]!.version
  const plain = policyYaml('attempts: {max: 3, window: 1h}')
  expect(version(`# hello\n${plain}\n\n`)).toBe(version(plain))
  expect(version(policyYaml('attempts: {window: 60m, max: 3}'))).toBe(version(plain))
  expect(version(policyYaml('attempts: {max: 4, window: 1h}'))).not.toBe(version(plain))
})

test('a wrong kind is named', () => {
  expect(problemsOf('kind: Polciy\n')).toMatchObject([{ message: 'kind is "Polciy": Policy, Runbook or PolicyTest is expected' }])
})

test('the examples that ship with the product load', () => {
  const folder = join(import.meta.dirname, '../../../../actuators/runbooks')
  const files = globSync('*.yaml', { cwd: folder }).map(file => ({ file, text: readFileSync(join(folder, file), 'utf8') }))
  expect(files.length).toBeGreaterThanOrEqual(2)
  const loaded = loadPolicySet(files)
  expect(loaded.ok ? [] : loaded.problems.map(problem => formatProblem(problem, files.find(file => file.file === problem.file)!.text))).toEqual([])
  expect(loaded.ok && loaded.set.policies.every(policy => policy.spec.autonomy === 'observe')).toBe(true)
})
