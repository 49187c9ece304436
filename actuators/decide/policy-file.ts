// Policies and runbooks: YAML text → checked, compiled, versioned. Everything that can be known at load is refused at load.
//
// Files may hold either kind, several documents each. All or nothing: one problem refuses the set, so the last good one
// stays in force. A version is the hash of the content with defaults filled in: spacing and comments do not change it.

import { Cron } from 'croner'
import { AppError } from '../../schemas/errors.ts'
import { derivedId } from '../../schemas/ids.ts'
import { causeSchema } from '../../schemas/incident.ts'
import type { Check, MaintenanceWindow, Policy, Runbook, RunbookStep } from '../../schemas/runbook.ts'
import type { Problem } from '../../schemas/yaml.ts'
import { closestName } from '../../schemas/yaml-hints.ts'
import { type CelType, type CompiledExpression, compileCondition } from '../cel.ts'
import { latestStartMs, parseLocal, parseRule, WINDOW_DAYS_MAX } from './guards/rrule.ts'
import { METRIC_VARIABLES, STATE_VARIABLES, STEP_VARIABLES } from '../verify/conditions.ts'
import { type Found, type PolicyFile, problemIn, readPolicyDocuments } from './policy-documents.ts'
import { POLICY_VARIABLES, unknownFields } from './policy-fields.ts'

export interface LoadedPolicy {
  name: string
  version: string
  spec: Policy['spec']
  match: CompiledExpression
}
export interface LoadedRunbook {
  name: string
  version: string
  spec: Runbook['spec']
}
export interface PolicySet {
  /** Hash of all names and versions: another one is another set. */
  version: string
  /** In order of name: the first that matches decides. */
  policies: readonly LoadedPolicy[]
  runbooks: ReadonlyMap<string, LoadedRunbook>
}
export type LoadedPolicySet = { ok: true; set: PolicySet } | { ok: false; problems: Problem[] }

/** Plenty to tell the versions of one file apart. */
const VERSION_DIGITS = 12
const SIGNATURES: readonly string[] = causeSchema.shape.signature.options
const SIGNATURE_TESTS = [/cause\.signature\s*[!=]=\s*(["'])(.*?)\1/dg, /cause\.signature\s+in\s+\[(.*?)\]/dg] as const

/** Reads, checks and links all files. Problems are those of every file, in file and line order. */
export function loadPolicySet(files: readonly PolicyFile[]): LoadedPolicySet {
  const { documents, problems } = readPolicyDocuments(files)
  const { policies, runbooks } = documents
  problems.push(...runbooks.flatMap(runbookProblems))
  const names = runbooks.map(found => found.document.value.metadata.name)
  const loaded = policies.map(found => loadPolicy(found, names, problems))
  if (problems.length > 0) return { ok: false, problems }
  return {
    ok: true,
    set: policySetOf(
      loaded.filter(policy => policy !== undefined),
      runbooks.map(({ document: { value } }) => ({ name: value.metadata.name, version: versionOf(value), spec: value.spec }))
    )
  }
}

/** A set of what was loaded; its order does not matter. */
export function policySetOf(policies: readonly LoadedPolicy[], runbooks: readonly LoadedRunbook[]): PolicySet {
  const byName = <T extends { name: string }>(items: readonly T[]): T[] => [...items].sort((a, b) => (a.name < b.name ? -1 : 1))
  const parts = [byName(policies), byName(runbooks)].map(items => items.map(({ name, version }) => `${name}@${version}`).join(','))
  return {
    version: derivedId('policies', ...parts).slice(0, VERSION_DIGITS),
    policies: byName(policies),
    runbooks: new Map(runbooks.map(runbook => [runbook.name, runbook]))
  }
}

/** Hash of the content. */
export function versionOf(document: Policy | Runbook): string {
  return derivedId(document.kind, canonical(document)).slice(0, VERSION_DIGITS)
}

function loadPolicy(found: Found<Policy>, runbooks: readonly string[], problems: Problem[]): LoadedPolicy | undefined {
  const { value } = found.document
  for (const [index, name] of value.spec.runbooks.entries()) {
    if (!runbooks.includes(name))
      problems.push(problemIn(found, ['spec', 'runbooks', index], `there is no runbook ${name}`, didYouMean('Runbooks', name, runbooks)))
  }
  for (const [index, window] of value.spec.maintenanceWindows.entries()) problems.push(...windowProblems(found, index, window))
  const match = compiled(found, ['spec', 'match'], value.spec.match, POLICY_VARIABLES, problems)
  if (match === undefined) return undefined
  problems.push(...matchProblems(found, match))
  return { name: value.metadata.name, version: versionOf(value), spec: value.spec, match }
}

/** A condition that holds (or fails) whatever the incident is: it selects nothing. */
function matchProblems(found: Found<Policy>, match: CompiledExpression): Problem[] {
  const path = ['spec', 'match']
  const problems: Problem[] = []
  const blank = match.evaluate({ incident: {}, cause: {} })
  if (blank.ok && (blank.value === true || match.reads.length === 0)) {
    const message = blank.value === true ? 'matches every incident: the whole fleet would be acted upon' : 'can never match: it does not depend on the incident'
    problems.push(problemIn(found, path, message, 'Name what it is for, such as cause.service == "orders".'))
  }
  for (const { message, hint, offset } of unknownFields(match)) problems.push(problemIn(found, path, message, hint, offset))
  for (const pattern of SIGNATURE_TESTS) {
    for (const test of match.text.matchAll(pattern)) {
      const literal = test.at(-1)!
      const listed = pattern === SIGNATURE_TESTS[0] ? [{ name: literal, at: test.indices!.at(-1)![0] }] : quoted(literal, test.indices!.at(-1)![0])
      for (const { name, at } of listed) {
        if (!SIGNATURES.includes(name)) problems.push(problemIn(found, path, `no cause has the signature ${name}`, signatureHint(name), at))
      }
    }
  }
  return problems
}

function quoted(list: string, from: number): { name: string; at: number }[] {
  return [...list.matchAll(/(["'])(.*?)\1/g)].map(item => ({ name: item[2]!, at: from + item.index + 1 }))
}

function windowProblems(found: Found<Policy>, index: number, window: MaintenanceWindow): Problem[] {
  const path = ['spec', 'maintenanceWindows', index]
  if (window.rrule !== undefined) {
    const wrong = ruleProblem(window)
    if (wrong === undefined) return []
    return [problemIn(found, [...path, wrong.field], wrong.message, wrong.hint)]
  }
  try {
    new Cron(window.schedule!, { timezone: window.timezone, paused: true }).nextRun(new Date(0))
    return []
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).replace(/^\w+: /, '')
    const wrongZone = /timezone/i.test(reason)
    const hint = wrongZone ? 'An IANA name such as Europe/Berlin.' : 'Minute, hour, day, month, weekday: "0 2 * * 6" is Saturday at two.'
    return [problemIn(found, [...path, wrongZone ? 'timezone' : 'schedule'], wrongZone ? `no time zone ${window.timezone}` : reason, hint)]
  }
}

function ruleProblem({ rrule, start, timezone, duration }: MaintenanceWindow): { field: string; message: string; hint: string } | undefined {
  const rule = parseRule(rrule!)
  if (typeof rule === 'string') return { field: 'rrule', message: rule, hint: '"FREQ=WEEKLY;BYDAY=SA" is every Saturday.' }
  const first = parseLocal(start!)
  if (first === undefined) return { field: 'start', message: `there is no ${start}`, hint: 'A local date and time such as 2026-01-03T02:00.' }
  if (duration > WINDOW_DAYS_MAX * 86_400_000)
    return { field: 'duration', message: `longer than ${WINDOW_DAYS_MAX} days`, hint: 'Turn the policy to observe instead.' }
  try {
    latestStartMs(rule, first, timezone, duration, 0)
    return undefined
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return { field: 'timezone', message: `no time zone ${timezone}`, hint: 'An IANA name such as Europe/Berlin.' }
  }
}

function runbookProblems(found: Found<Runbook>): Problem[] {
  const { signatures, steps } = found.document.value.spec
  const problems: Problem[] = []
  for (const [index, signature] of signatures.entries()) {
    if (!SIGNATURES.includes(signature))
      problems.push(problemIn(found, ['spec', 'signatures', index], `no cause has the signature ${signature}`, signatureHint(signature)))
  }
  for (const [index, step] of steps.entries()) {
    const path = ['spec', 'steps', index]
    if (steps.findIndex(other => other.name === step.name) < index)
      problems.push(problemIn(found, [...path, 'name'], `a second step named ${step.name}`, 'A step is known by its name: rename one.'))
    problems.push(...stepProblems(found, step, path), ...stageProblems(found, step, path))
  }
  return problems
}

/** A step that goes through members in stages must say whom and how far, and be alone: each member is a command of its own. */
function stageProblems(found: Found<Runbook>, { targets, stages, action, undo }: RunbookStep, path: readonly PropertyKey[]): Problem[] {
  if (targets === undefined && stages === undefined) return []
  if (targets === undefined)
    return [problemIn(found, [...path, 'stages'], 'stages of what? there is no targets', 'targets: { group: service } are the instances.')]
  if (stages === undefined)
    return [problemIn(found, [...path, 'targets'], 'all members at once? there are no stages', 'Such as stages: [1, 25%, 100%]; [100%] is all at once.')]
  const problems: Problem[] = []
  if (found.document.value.spec.steps.length > 1)
    problems.push(
      problemIn(
        found,
        [...path, 'stages'],
        'a step with stages is the only one of its runbook',
        'Put the others in runbooks of their own: a policy names several.'
      )
    )
  for (const [index, stage] of stages.entries()) {
    const before = stages.slice(0, index).findLast(other => typeof other === typeof stage || other === '100%')
    if (before !== undefined && (before === '100%' || Number.parseInt(String(stage), 10) <= Number.parseInt(String(before), 10)))
      problems.push(
        problemIn(
          found,
          [...path, 'stages', index],
          `${stage} is no more than ${before} before it`,
          'Stages ascend: each says how many have been acted on at its end.'
        )
      )
  }
  for (const [part, act] of Object.entries({ action, undo })) {
    if (act?.target !== undefined)
      problems.push(problemIn(found, [...path, part, 'target'], 'every member would be this one target', 'Leave it out: the act is on the member.'))
  }
  return problems
}

function stepProblems(found: Found<Runbook>, step: RunbookStep, path: readonly PropertyKey[]): Problem[] {
  const problems: Problem[] = []
  if (step.when !== undefined) compiled(found, [...path, 'when'], step.when, STEP_VARIABLES, problems)
  problems.push(...checkProblems(found, step.waitFor?.checks ?? [], [...path, 'waitFor', 'checks']))
  problems.push(...checkProblems(found, step.verify.checks, [...path, 'verify', 'checks']))
  return problems
}

function checkProblems(found: Found<Runbook>, checks: readonly Check[], path: readonly PropertyKey[]): Problem[] {
  const problems: Problem[] = []
  for (const [index, check] of checks.entries()) {
    const at = [...path, index]
    if (checks.findIndex(other => other.name === check.name) < index)
      problems.push(problemIn(found, [...at, 'name'], `a second check named ${check.name}`, 'Rename one of the two.'))
    if ('expect' in check) compiled(found, [...at, 'expect'], check.expect, check.type === 'metric' ? METRIC_VARIABLES : STATE_VARIABLES, problems)
  }
  return problems
}

function compiled(
  found: Found<Policy | Runbook>,
  path: readonly PropertyKey[],
  text: string,
  variables: Readonly<Record<string, CelType>>,
  problems: Problem[]
): CompiledExpression | undefined {
  try {
    return compileCondition(text, variables)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const offset = typeof error.details.offset === 'number' ? error.details.offset : 0
    problems.push(problemIn(found, path, error.message, '', offset))
    return undefined
  }
}

function signatureHint(name: string): string {
  return didYouMean('Signatures', name, SIGNATURES)
}

/** The nearest of the names that there are, or all of them. @param what they are, as the beginning of a sentence */
export function didYouMean(what: string, name: string, names: readonly string[]): string {
  const near = closestName(name, names)
  if (near !== undefined) return `Did you mean ${near}?`
  return names.length === 0 ? `There are no ${what.toLowerCase()}.` : `${what}: ${names.join(', ')}.`
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return `{${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`)
    .join(',')}}`
}
