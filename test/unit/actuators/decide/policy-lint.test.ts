// What lint finds in policies and runbooks that load, and yet cannot work or are hardly meant; with place and remedy.

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readPolicyDocuments } from '../../../../actuators/decide/policy-documents.ts'
import { imagineIncidents, isUnderstood } from '../../../../actuators/decide/policy-imagine.ts'
import { type LintFacts, lintPolicies } from '../../../../actuators/decide/policy-lint.ts'
import { lintAgainstHistory, metricQuestions } from '../../../../actuators/decide/policy-lint-history.ts'
import { execDriver } from '../../../../actuators/drivers/exec.ts'
import { policyYaml, runbookYaml } from './builders.ts'

const TIMES: LintFacts = { derivedIntervalMs: 10_000 }
const restore = { argv: ['/bin/true'], parameters: {}, targets: ['web'], class: 'opaque' as const, timeout: 20_000 }
const FACTS: LintFacts = {
  ...TIMES,
  channels: ['pager'],
  isSomebodyOnCall: false,
  drivers: new Map([['exec', execDriver({ commands: { restore } })]]),
  actTimeoutMs: (driver, verb) => (driver === 'exec' && verb === 'restore' ? 20_000 : undefined),
  probeHosts: ['web.example']
}

function findingsOf(texts: readonly string[], facts: LintFacts = TIMES) {
  return lintPolicies(
    texts.map((text, index) => ({ file: `f${index}.yaml`, text })),
    facts
  ).findings
}

/** Severity, rule and path of each finding. */
const brief = (texts: readonly string[], facts?: LintFacts) => findingsOf(texts, facts).map(({ severity, rule, path }) => `${severity} ${rule} ${path}`)

/** A runbook of one step, as YAML of its spec. */
function oneStep(step: string, risk = 'low'): string {
  return `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: {name: restart}\nspec:\n  risk: ${risk}\n  signatures: [silent, errors]\n  steps:\n    - {name: act, ${step}}\n`
}
const ACTION = 'action: {driver: exec, verb: restore, target: web}, timeout: 30s'
const verifying = (check: string, times = '') => `${ACTION}, verify: {${times}checks: [${check}]}`
const HTTP = '{name: up, type: http, url: "http://127.0.0.1/"}'
const POLICY = policyYaml('', 'orders', 'cause.service == "orders" && cause.signature in ["silent", "errors"]')

test('what is well has no findings', () => {
  expect(findingsOf([POLICY, oneStep(verifying(HTTP))], FACTS)).toEqual([])
})

test('what does not load is told as loading tells it', () => {
  expect(findingsOf([policyYaml('autonomy: atuo'), runbookYaml()])).toMatchObject([
    { severity: 'error', rule: 'load', file: 'f0.yaml', line: 7, column: 13, hint: 'Did you mean auto?' }
  ])
})

describe('selectors', () => {
  const rules = (match: string) => brief([policyYaml('', 'orders', match), runbookYaml()]).filter(line => line.includes('select'))

  test.each(['cause.score >= 0.0', 'incident.environment != ""', 'cause.service != "a" || cause.service == "a"'])('%s selects everything', match => {
    expect(rules(match)).toEqual(['error selects-everything spec.match'])
  })

  test.each(['cause.service == "a" && cause.service == "b"', 'cause.score > 2.0'])('%s selects nothing', match => {
    expect(rules(match)).toEqual(['error selects-nothing spec.match'])
  })

  test('a match that says nothing of the incident is told once', () => {
    expect(brief([policyYaml('', 'orders', '1 > 2'), runbookYaml()])).toEqual(['error load spec.match'])
  })

  test.each([
    'cause.signature == "silent"',
    'cause.service.startsWith("shop-")',
    'size(incident.members) > 5',
    'cause.entity == "shop/orders@1"',
    'cause.score > 0.8 && incident.severity == "critical"',
    'cause.score > 0.6 && cause.score < 0.9',
    'cause.service.matches("^web-[0-9]+$")',
    'cause.entity == cause.service + "@9"',
    'cause.service in ["orders", "cart"]'
  ])('%s is a selector like others', match => {
    expect(rules(match)).toEqual([])
  })

  test('a policy all of whose incidents another one decides is told, and who that is', () => {
    const [found, ...others] = findingsOf([
      policyYaml('', 'a', 'cause.service == "orders"'),
      policyYaml('', 'b', 'cause.service == "orders" && cause.signature == "silent"'),
      runbookYaml()
    ])
    expect(found).toMatchObject({ severity: 'warning', rule: 'shadowed', file: 'f1.yaml', line: 5 })
    expect(found!.message).toContain('a (f0.yaml:5)')
    expect(others).toEqual([])
  })

  test('an overlap is told once with an example, for the one that comes later', () => {
    const found = findingsOf([
      policyYaml('', 'a', 'cause.service == "orders"'),
      policyYaml('', 'b', 'incident.environment == "prod" && cause.signature == "silent"'),
      policyYaml('', 'c', 'cause.signature == "silent"'),
      runbookYaml()
    ])
    expect(found.map(({ rule, file }) => [rule, file])).toEqual([
      ['overlap', 'f1.yaml'],
      ['overlap', 'f2.yaml']
    ])
    expect(found[1]!.message).toContain('a (f0.yaml:5): silent of orders')
    expect(found[1]!.message).toContain('b (f1.yaml:5)')
  })

  test('policies of different services do not overlap', () => {
    expect(findingsOf([policyYaml('', 'a', 'cause.service == "orders"'), policyYaml('', 'b', 'cause.service in ["cart", "mail"]'), runbookYaml()])).toEqual([])
  })

  test('imagined incidents are the same each time, and few', () => {
    const match = `cause.service in [${Array.from({ length: 500 }, (_, index) => `"s${index}"`).join(', ')}]`
    expect(imagineIncidents(match)).toHaveLength(2_000)
    expect(imagineIncidents('cause.service == "a"')).toEqual(imagineIncidents('cause.service == "a"'))
  })

  test('what is not understood is not judged', () => {
    for (const match of ['cause.service == "incident.members"', '!(cause.score >= 0.5) || cause.entity.contains("@") && incident.severity in ["critical"]'])
      expect(isUnderstood(match), match).toBe(true)
    for (const match of ['size(incident.members) > 1', 'cause.service.matches("^a.*b$")', 'cause.entity == cause.service + "@1"', 'incident.title == "x"'])
      expect(isUnderstood(match), match).toBe(false)
  })
})

describe('policies and runbooks', () => {
  test('a policy whose runbooks answer nothing that it selects can never do anything', () => {
    expect(brief([policyYaml('', 'orders', 'cause.service == "o" && cause.signature == "latency"'), runbookYaml()])).toEqual([
      'error no-runbook-answers spec.runbooks'
    ])
  })

  test('a signature that is selected by name and answered by none is worth a look', () => {
    expect(brief([policyYaml('', 'orders', 'cause.service == "o" && cause.signature in ["silent", "latency"]'), runbookYaml()])).toEqual([
      'warning signature-unanswered spec.runbooks'
    ])
    expect(brief([policyYaml('', 'orders', 'cause.service == "o"'), runbookYaml()])).toEqual([])
  })

  test('a runbook that this policy never needs, and one that nobody names', () => {
    const texts = [
      policyYaml('', 'orders', 'cause.service == "o" && cause.signature == "silent"', '[restart, scale]'),
      runbookYaml(),
      runbookYaml('scale', 'risk: low\nsignatures: [traffic]')
    ]
    expect(brief(texts)).toEqual(['warning runbook-never-runs spec.runbooks[1]'])
    expect(brief([POLICY, runbookYaml(), runbookYaml('spare')])).toEqual(['warning runbook-unused metadata.name'])
  })

  test('an unknown channel is an error; acting without anybody to tell is worth a look', () => {
    const channels = (spec: string) => brief([policyYaml(spec, 'orders', 'cause.service == "o"'), oneStep(verifying(HTTP))], FACTS)
    expect(channels('escalate: {channels: [pagr]}')).toEqual(['error unknown-channel spec.escalate.channels[0]'])
    expect(channels('autonomy: auto')).toEqual(['warning nobody-told spec.autonomy'])
    expect(channels('autonomy: auto\nescalate: {channels: [pager]}')).toEqual([])
    expect(channels('')).toEqual([])
  })

  test('more at once than the actuator runs: those that wait would expire', () => {
    const queue = { expiryMs: 60_000, concurrencyMax: 4 }
    const of = (max: number, expiryMs = 60_000) =>
      brief([policyYaml(`blastRadius: {concurrentMax: ${max}}`, 'orders', 'cause.service == "o"'), runbookYaml()], { ...TIMES, queue: { ...queue, expiryMs } })
    expect(of(4)).toEqual([])
    expect(of(5)).toEqual(['warning expires-first spec.blastRadius.concurrentMax'])
    expect(of(5, 120_000)).toEqual([])
  })
})

describe('steps', () => {
  const steps = (step: string, risk?: string) => brief([POLICY, oneStep(step, risk)], FACTS)

  test('from medium risk on an undo is missed', () => {
    expect(steps(verifying(HTTP), 'medium')).toEqual(['warning undo-missing spec.risk'])
    expect(steps(`${verifying(HTTP)}, undo: {driver: exec, verb: restore, target: web}`, 'high')).toEqual([])
  })

  test('times that do not fit', () => {
    expect(steps(verifying(HTTP, 'deadline: 10s, holdFor: 10s, '))).toEqual(['warning deadline-short spec.steps[0].verify.deadline'])
    expect(steps(verifying(HTTP, 'deadline: 0s, holdFor: 0s, '))).toEqual([])
    expect(steps(verifying(HTTP).replace('timeout: 30s', 'timeout: 10s'))).toEqual(['warning timeout-short spec.steps[0].timeout'])
    // A step that waits may begin later than its command expires, by what it may wait.
    expect(steps(`waitFor: {timeout: 2m, checks: [${HTTP}]}, ${verifying(HTTP)}`)).toEqual([])
  })

  test('what the actuator would refuse, by its own drivers', () => {
    expect(steps(verifying(HTTP).replace('driver: exec', 'driver: exce'))).toEqual(['error unknown-driver spec.steps[0].action.driver'])
    expect(steps(verifying(HTTP).replace('verb: restore', 'verb: restor'))).toEqual(['error unknown-verb spec.steps[0].action.verb'])
    expect(steps(verifying(HTTP).replace('target: web', 'target: wbe'))).toEqual(['error act-refused spec.steps[0].action.target'])
  })

  test('without a configuration drivers and hosts are not known, so nothing is said of them', () => {
    expect(brief([POLICY, oneStep(verifying('{name: up, type: http, url: "http://elsewhere/"}').replace('driver: exec', 'driver: exce'))])).toEqual([])
  })

  test('checks that can never see anything', () => {
    expect(steps(verifying('{name: up, type: http, url: "http://elsewhere/"}'))).toEqual(['error host-refused spec.steps[0].verify.checks[0].url'])
    expect(steps(verifying('{name: up, type: http, url: "http://web.example/"}'))).toEqual([])
    expect(steps(verifying('{name: up, type: http, url: "web"}'))).toEqual(['error url-invalid spec.steps[0].verify.checks[0].url'])
    expect(steps(verifying('{name: up, type: tcp, address: "elsewhere:80"}'))).toEqual(['error host-refused spec.steps[0].verify.checks[0].address'])
    expect(steps(verifying('{name: up, type: state, driver: exec, expect: facts.x == 1}'))).toEqual([
      'error driver-blind spec.steps[0].verify.checks[0].driver'
    ])
    expect(steps(verifying('{name: up, type: state, driver: process, expect: facts.x == 1}'))).toEqual([
      'error unknown-driver spec.steps[0].verify.checks[0].driver'
    ])
  })

  test('samples that cannot come within their window, or before the deadline', () => {
    const metric = (more: string, times = '') =>
      steps(verifying(`{name: ratio, type: metric, metric: homeostat.span.error_ratio, ${more}, expect: value < 0.1}`, times))
    expect(metric('window: 30s')).toEqual([])
    expect(metric('window: 20s')).toEqual(['error samples-impossible spec.steps[0].verify.checks[0].minSamples'])
    expect(metric('window: 2m, minSamples: 10', 'deadline: 60s, ')).toEqual(['error samples-impossible spec.steps[0].verify.checks[0].minSamples'])
  })
})

describe('history', () => {
  const step = verifying(
    '{name: a, type: metric, metric: queue.dept, window: 30s, expect: value < 1}, {name: b, type: metric, metric: queue.dept, window: 30s, expect: value > 0}, {name: c, type: metric, entity: shop/web, metric: memory, attributes: {pool: heap}, window: 10s, minSamples: 5, expect: value < 1}'
  )
  const { documents } = readPolicyDocuments([{ file: 'f0.yaml', text: oneStep(step) }])
  const keys = [...metricQuestions(documents).keys()]
  const found = (samples: number, samplesInWindowMax: number) =>
    lintAgainstHistory(documents, new Map(keys.map(key => [key, { samples, samplesInWindowMax }])), ['queue.depth', 'memory'], 86_400_000)

  test('checks that ask the same are one question', () => {
    expect([...metricQuestions(documents).values()]).toEqual([
      { metric: 'queue.dept', entity: undefined, attributes: {}, windowMs: 30_000 },
      { metric: 'memory', entity: 'shop/web', attributes: { pool: 'heap' }, windowMs: 10_000 }
    ])
  })

  test('a check that never saw data is an error, with the metric that was meant or where to look', () => {
    expect(found(0, 0).map(({ severity, rule, path, hint }) => [severity, rule, path, hint])).toEqual([
      ['error', 'never-saw-data', 'spec.steps[0].verify.checks[0].metric', 'Did you mean queue.depth?'],
      ['error', 'never-saw-data', 'spec.steps[0].verify.checks[1].metric', 'Did you mean queue.depth?'],
      ['error', 'never-saw-data', 'spec.steps[0].verify.checks[2].metric', 'memory comes from others: look at entity and attributes.']
    ])
    expect(found(0, 0)[2]!.message).toBe('never saw data: no sample of memory {pool=heap} of shop/web within 24 h')
  })

  test('a window that never held enough samples is an error; one more than the fullest is possible', () => {
    expect(found(100, 3).map(({ rule, path }) => [rule, path])).toEqual([['samples-impossible', 'spec.steps[0].verify.checks[2].minSamples']])
    expect(found(100, 4)).toEqual([])
  })

  test('what was not asked is not judged', () => {
    expect(lintAgainstHistory(documents, new Map(), [], 1)).toEqual([])
  })
})

test('the examples that ship with the product have no errors', () => {
  const folder = join(import.meta.dirname, '../../../../actuators/runbooks')
  const files = globSync('*.yaml', { cwd: folder }).map(file => ({ file, text: readFileSync(join(folder, file), 'utf8') }))
  expect(lintPolicies(files, TIMES).findings.filter(({ severity }) => severity === 'error')).toEqual([])
})

describe('stages', () => {
  const staged = (fields: string, check = HTTP) => oneStep(`${fields}action: {driver: exec, verb: restore}, timeout: 30s, verify: {checks: [${check}]}`)
  const TARGETS = 'targets: {group: service}, '

  test.each([
    ['empty', `${TARGETS}stages: [], `, 'error load spec.steps[0].stages'],
    ['none', TARGETS, 'error load spec.steps[0].targets'],
    ['without targets', 'stages: [1, 100%], ', 'error load spec.steps[0].stages'],
    ['not ascending numbers', `${TARGETS}stages: [2, 2, 100%], `, 'error load spec.steps[0].stages[1]'],
    ['not ascending shares', `${TARGETS}stages: [1, 50%, 25%, 100%], `, 'error load spec.steps[0].stages[2]'],
    ['something after all', `${TARGETS}stages: [100%, 7], `, 'error load spec.steps[0].stages[1]'],
    ['more than all', `${TARGETS}stages: [1, 101%], `, 'error load spec.steps[0].stages[1]'],
    ['of nobody', `${TARGETS}stages: [0, 100%], `, 'error load spec.steps[0].stages[0]'],
    ['that leave members out', `${TARGETS}stages: [1, 50%], `, 'warning stages-partial spec.steps[0].stages[1]']
  ])('%s', (_what, fields, expected) => {
    expect(brief([POLICY, staged(fields)]).filter(line => line.includes('steps'))).toContain(expected)
  })

  test('what is well has no findings; a check or an act of one fixed target has', () => {
    expect(brief([POLICY, staged(`${TARGETS}stages: [1, 25%, 100%], `)])).toEqual([])
    const metric = "{name: m, type: metric, entity: shop/web@1, metric: m, window: 1m, expect: 'value < 1.0'}"
    expect(brief([POLICY, staged(`${TARGETS}stages: [100%], `, metric)]).join()).toContain('check-not-of-member')
    const fixed = oneStep(`${TARGETS}stages: [100%], ${ACTION}, verify: {checks: [${HTTP}]}`)
    expect(brief([POLICY, fixed]).join()).toContain('action')
  })

  test('a second step beside one with stages is refused', () => {
    const two = `${staged(`${TARGETS}stages: [100%], `)}    - {name: other, ${verifying(HTTP)}}\n`
    expect(findingsOf([POLICY, two]).map(({ message }) => message)).toContain('a step with stages is the only one of its runbook')
  })
})
