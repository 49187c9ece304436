// Policies and runbooks: YAML text → checked, compiled, versioned. Everything that can be known at load is refused at load.
//
// Files may hold either kind, several documents each. All or nothing: one problem refuses the set, so the last good one
// stays in force. A version is the hash of the content with defaults filled in: spacing and comments do not change it.

import { Cron } from 'croner'
import { AppError } from '../../schemas/errors.ts'
import { derivedId } from '../../schemas/ids.ts'
import { causeSchema } from '../../schemas/incident.ts'
import { type MaintenanceWindow, type Policy, policySchema, type Runbook, type RunbookStep, runbookSchema } from '../../schemas/runbook.ts'
import { type ParsedDocument, type Problem, parseYamlDocuments, problemAt } from '../../schemas/yaml.ts'
import { closestName } from '../../schemas/yaml-hints.ts'
import { type CelType, type CompiledExpression, compileCondition } from '../cel.ts'
import { latestStartMs, parseLocal, parseRule, WINDOW_DAYS_MAX } from './guards/rrule.ts'
import { METRIC_VARIABLES, STATE_VARIABLES, STEP_VARIABLES } from '../verify/conditions.ts'

/** What a policy's `match` sees. */
export const POLICY_VARIABLES = { incident: 'map', cause: 'map' } as const satisfies Record<string, CelType>

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
  /** In order of name: the first that matches decides. */
  policies: readonly LoadedPolicy[]
  runbooks: ReadonlyMap<string, LoadedRunbook>
}
export interface PolicyFile {
  file: string
  text: string
}
export type LoadedPolicySet = { ok: true; set: PolicySet } | { ok: false; problems: Problem[] }

const SIGNATURES: readonly string[] = causeSchema.shape.signature.options
const SIGNATURE_TESTS = [/cause\.signature\s*[!=]=\s*(["'])(.*?)\1/dg, /cause\.signature\s+in\s+\[(.*?)\]/dg] as const

type Kind = Policy | Runbook
interface Found<T extends Kind> {
  file: string
  document: ParsedDocument<T>
}

/** Reads, checks and links all files. Problems are those of every file, in file and line order. */
export function loadPolicySet(files: readonly PolicyFile[]): LoadedPolicySet {
  const problems: Problem[] = []
  const policies: Found<Policy>[] = []
  const runbooks: Found<Runbook>[] = []
  for (const { file, text } of files) {
    const parsed = parseYamlDocuments<Kind>(schemaOf, text, file)
    if (!parsed.ok) {
      problems.push(...parsed.problems)
      continue
    }
    for (const document of parsed.documents) {
      if (document.value.kind === 'Policy') policies.push({ file, document: document as ParsedDocument<Policy> })
      else runbooks.push({ file, document: document as ParsedDocument<Runbook> })
    }
  }
  problems.push(...duplicates(policies), ...duplicates(runbooks), ...runbooks.flatMap(runbookProblems))
  const names = runbooks.map(found => found.document.value.metadata.name)
  const loaded = policies.map(found => loadPolicy(found, names, problems))
  if (problems.length > 0) return { ok: false, problems }
  const set: PolicySet = {
    policies: loaded.filter(policy => policy !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1)),
    runbooks: new Map(
      runbooks.map(({ document: { value } }) => [value.metadata.name, { name: value.metadata.name, version: versionOf(value), spec: value.spec }])
    )
  }
  return { ok: true, set }
}

/** Hash of the content: 12 hex digits are plenty to tell the versions of one file apart. */
export function versionOf(document: Kind): string {
  return derivedId(document.kind, canonical(document)).slice(0, 12)
}

function schemaOf(raw: unknown) {
  const kind = typeof raw === 'object' && raw !== null ? (raw as { kind?: unknown }).kind : undefined
  if (kind === 'Policy') return policySchema
  if (kind === 'Runbook') return runbookSchema
  return `kind is ${kind === undefined ? 'missing' : JSON.stringify(kind)}: Policy or Runbook is expected`
}

function duplicates(found: readonly Found<Kind>[]): Problem[] {
  const first = new Map<string, string>()
  return found.flatMap(({ file, document }) => {
    const { kind, metadata } = document.value
    const before = first.get(metadata.name)
    if (before === undefined) first.set(metadata.name, file)
    const path = ['metadata', 'name']
    return before === undefined
      ? []
      : [problemAt(file, document.positions.at(path), path, `a second ${kind} named ${metadata.name}, the first is in ${before}`, 'Rename one of the two.')]
  })
}

function loadPolicy(found: Found<Policy>, runbooks: readonly string[], problems: Problem[]): LoadedPolicy | undefined {
  const { file, document } = found
  const { value, positions } = document
  for (const [index, name] of value.spec.runbooks.entries()) {
    if (runbooks.includes(name)) continue
    const near = closestName(name, runbooks)
    const path = ['spec', 'runbooks', index]
    problems.push(
      problemAt(file, positions.at(path), path, `there is no runbook ${name}`, near === undefined ? known('Runbooks', runbooks) : `Did you mean ${near}?`)
    )
  }
  for (const [index, window] of value.spec.maintenanceWindows.entries()) problems.push(...windowProblems(found, index, window))
  const match = compiled(found, ['spec', 'match'], value.spec.match, POLICY_VARIABLES, problems)
  if (match === undefined) return undefined
  problems.push(...matchProblems(found, match))
  return { name: value.metadata.name, version: versionOf(value), spec: value.spec, match }
}

/** A condition that holds (or fails) whatever the incident is: it selects nothing. */
function matchProblems({ file, document }: Found<Policy>, match: CompiledExpression): Problem[] {
  const path = ['spec', 'match']
  const problems: Problem[] = []
  const blank = match.evaluate({ incident: {}, cause: {} })
  if (blank.ok) {
    const message = blank.value === true ? 'matches every incident: the whole fleet would be acted upon' : 'can never match: it does not depend on the incident'
    problems.push(problemAt(file, document.positions.at(path), path, message, 'Name what it is for, such as cause.service == "orders".'))
  }
  for (const pattern of SIGNATURE_TESTS) {
    for (const test of match.text.matchAll(pattern)) {
      const literal = test.at(-1)!
      const listed = pattern === SIGNATURE_TESTS[0] ? [{ name: literal, at: test.indices!.at(-1)![0] }] : quoted(literal, test.indices!.at(-1)![0])
      for (const { name, at } of listed) {
        if (!SIGNATURES.includes(name))
          problems.push(problemAt(file, document.positions.at(path, at), path, `no cause has the signature ${name}`, signatureHint(name)))
      }
    }
  }
  return problems
}

function quoted(list: string, from: number): { name: string; at: number }[] {
  return [...list.matchAll(/(["'])(.*?)\1/g)].map(item => ({ name: item[2]!, at: from + item.index + 1 }))
}

function windowProblems({ file, document }: Found<Policy>, index: number, window: MaintenanceWindow): Problem[] {
  const path = ['spec', 'maintenanceWindows', index]
  if (window.rrule !== undefined) {
    const wrong = ruleProblem(window)
    if (wrong === undefined) return []
    const at = [...path, wrong.field]
    return [problemAt(file, document.positions.at(at), at, wrong.message, wrong.hint)]
  }
  try {
    new Cron(window.schedule!, { timezone: window.timezone, paused: true }).nextRun(new Date(0))
    return []
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).replace(/^\w+: /, '')
    const wrongZone = /timezone/i.test(reason)
    const at = [...path, wrongZone ? 'timezone' : 'schedule']
    const hint = wrongZone ? 'An IANA name such as Europe/Berlin.' : 'Minute, hour, day, month, weekday: "0 2 * * 6" is Saturday at two.'
    return [problemAt(file, document.positions.at(at), at, wrongZone ? `no time zone ${window.timezone}` : reason, hint)]
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
  const { file, document } = found
  const { value, positions } = document
  const problems: Problem[] = []
  for (const [index, signature] of value.spec.signatures.entries()) {
    const path = ['spec', 'signatures', index]
    if (!SIGNATURES.includes(signature))
      problems.push(problemAt(file, positions.at(path), path, `no cause has the signature ${signature}`, signatureHint(signature)))
  }
  const steps = value.spec.steps
  for (const [index, step] of steps.entries()) {
    const path = ['spec', 'steps', index]
    if (steps.findIndex(other => other.name === step.name) < index) {
      problems.push(
        problemAt(file, positions.at([...path, 'name']), [...path, 'name'], `a second step named ${step.name}`, 'A step is known by its name: rename one.')
      )
    }
    problems.push(...stepProblems(found, step, path))
  }
  return problems
}

function stepProblems(found: Found<Runbook>, step: RunbookStep, path: readonly PropertyKey[]): Problem[] {
  const problems: Problem[] = []
  if (step.when !== undefined) compiled(found, [...path, 'when'], step.when, STEP_VARIABLES, problems)
  for (const [index, check] of step.verify.checks.entries()) {
    const at = [...path, 'verify', 'checks', index]
    if (step.verify.checks.findIndex(other => other.name === check.name) < index) {
      problems.push(
        problemAt(found.file, found.document.positions.at([...at, 'name']), [...at, 'name'], `a second check named ${check.name}`, 'Rename one of the two.')
      )
    }
    if (check.type !== 'http') compiled(found, [...at, 'expect'], check.expect, check.type === 'metric' ? METRIC_VARIABLES : STATE_VARIABLES, problems)
  }
  return problems
}

function compiled(
  { file, document }: Found<Kind>,
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
    problems.push(problemAt(file, document.positions.at(path, offset), path, error.message, ''))
    return undefined
  }
}

function signatureHint(name: string): string {
  const near = closestName(name, SIGNATURES)
  return near === undefined ? known('Signatures', SIGNATURES) : `Did you mean ${near}?`
}

function known(what: string, names: readonly string[]): string {
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
