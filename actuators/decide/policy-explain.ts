// A policy in words: what it matches, what it may do, when it asks, and every limit with its value and where that comes from.
//
// Limits and their meanings are those of the schema, so a key that is added there is explained here.

import { z } from 'zod'
import { type Policy, policySchema, type Runbook } from '../../schemas/runbook.ts'
import { span } from './guards/guard.ts'
import type { Found, PolicyDocuments } from './policy-documents.ts'
import type { LoadedRunbook, PolicySet } from './policy-file.ts'
import { imagineIncidents } from './policy-imagine.ts'

export interface ExplainedLimit {
  /** Dotted, below `spec`. */
  key: string
  value: string
  /** Line of the file; null: a default. */
  line: number | null
  meaning: string
}
export interface ExplainedStep {
  name: string
  /** Sentences: what is done, when it counts as healed, what takes it back. */
  does: string[]
}
export interface ExplainedRunbook {
  name: string
  version: string
  description: string
  risk: Runbook['spec']['risk']
  cost: number
  signatures: string[]
  steps: ExplainedStep[]
}
export interface PolicyExplanation {
  name: string
  version: string
  file: string
  line: number
  description: string
  match: string
  matchLine: number
  /** Policies that come first by name, and may decide what this one matches. */
  decidedBefore: string[]
  runbooks: ExplainedRunbook[]
  /** When it acts, and when it asks. */
  acting: string[]
  /** Group of the schema, with its meaning → its limits. */
  limits: { group: string; meaning: string; limits: ExplainedLimit[] }[]
}

interface JsonSchema {
  description?: string
  pattern?: string
  properties?: Readonly<Record<string, JsonSchema>>
}
/** Told in words of their own. */
const TOLD: readonly string[] = ['match', 'runbooks', 'autonomy']
const DURATION_PATTERN = '(ms|s|m|h|d)$'

/**
 * @param set loaded from the same files as `documents`
 * @returns undefined when there is no policy of this name
 */
export function explainPolicy(name: string, documents: PolicyDocuments, set: PolicySet): PolicyExplanation | undefined {
  const found = documents.policies.find(({ document }) => document.value.metadata.name === name)
  if (found === undefined) return undefined
  const described = new Map(documents.runbooks.map(({ document }) => [document.value.metadata.name, document.value.metadata.description]))
  const { file, document } = found
  const { metadata, spec } = document.value
  const loaded = set.policies.find(({ name }) => name === metadata.name)!
  return {
    name: metadata.name,
    version: loaded.version,
    file,
    line: document.positions.at(['metadata', 'name']).line,
    description: metadata.description,
    match: spec.match,
    matchLine: document.positions.at(['spec', 'match']).line,
    decidedBefore: decidedBefore(metadata.name, set),
    runbooks: spec.runbooks.map(name => explainRunbook(set.runbooks.get(name)!, described.get(name) ?? '')),
    acting: actingOf(spec),
    limits: limitsOf(found)
  }
}

function decidedBefore(name: string, set: PolicySet): string[] {
  const { match } = set.policies.find(policy => policy.name === name)!
  return set.policies
    .filter(other => other.name < name)
    .filter(other => imagineIncidents(match.text, other.match.text).some(one => holds(match, one) && holds(other.match, one)))
    .map(other => other.name)
}

function holds(match: PolicySet['policies'][number]['match'], imagined: ReturnType<typeof imagineIncidents>[number]): boolean {
  const result = match.evaluate({ ...imagined })
  return result.ok && result.value === true
}

function explainRunbook({ name, version, spec }: LoadedRunbook, description: string): ExplainedRunbook {
  return { name, version, description, risk: spec.risk, cost: spec.cost, signatures: spec.signatures, steps: spec.steps.map(explainStep) }
}

function explainStep(step: Runbook['spec']['steps'][number]): ExplainedStep {
  const { name, when, waitFor, action, timeout, settle, verify, undo, stages, targets } = step
  const names = (checks: typeof verify.checks): string => checks.map(check => check.name).join(', ')
  const act = ({ driver, verb, target }: typeof action): string => `${driver} ${verb} of ${target ?? (stages === undefined ? 'the target' : 'the member')}`
  return {
    name,
    does: [
      ...(stages === undefined || targets === undefined
        ? []
        : [
            `goes through the instances of the cause's service in stages of ${stages.join(', ')}: each when all of the one before were verified; as the group was named within ${span(targets.staleAfter)}`,
            `the first that is not healed stops it${undo === undefined ? '' : ', and what was done before is taken back, the last one first'}`
          ]),
      ...(when === undefined ? [] : [`only if ${when}`]),
      ...(waitFor === undefined ? [] : [`waits up to ${span(waitFor.timeout)} for ${names(waitFor.checks)}`]),
      `${act(action)}, within ${span(timeout)}`,
      `settles for ${span(settle)}; healed when ${names(verify.checks)} ${verify.checks.length === 1 ? 'holds' : 'hold'} for ${span(verify.holdFor)}, begun within ${span(verify.deadline)}`,
      undo === undefined ? 'nothing takes it back' : `ineffective or harmful: ${act(undo)}`
    ]
  }
}

function actingOf(spec: Policy['spec']): string[] {
  const { approval, autonomy, errorBudget, deploys } = spec
  const roles = Object.keys(approval.roles)
  const needed = Math.max(approval.approvers, roles.length)
  const people = `${needed} ${needed === 1 ? 'person' : 'people'}${roles.length === 0 ? '' : ` (${roles.join(', ')})`}`
  const two = approval.twoPersonRisk === undefined ? '' : `, two at least from ${approval.twoPersonRisk} risk on`
  const asking = `${people} must say yes${two} within ${span(approval.expiresAfter)}; one no, or nobody in time, and people have it`
  const levels: Readonly<Record<typeof autonomy, string>> = {
    observe: 'it records what it would do, and does nothing',
    suggest: 'it shows what it would do, and does it when a person takes the suggestion',
    approve: `it asks each time: ${asking}`,
    auto: 'it acts by itself when no guard objects'
  }
  const lines = [`level ${autonomy}: ${levels[autonomy]}`]
  if (autonomy === 'auto') {
    if (errorBudget !== undefined) lines.push(`it asks when the error budget is nearly gone or burns fast: ${asking}`)
    if (deploys.during === 'ask') lines.push(`it asks during a deploy of the target: ${asking}`)
  }
  if (autonomy !== 'observe') lines.push('harm and drift take a level away, until a person gives it back: `homeostat explain` shows the level of each decision')
  return lines
}

/** Every key of the schema but those that are told in words. */
function limitsOf({ document: { value, positions } }: Found<Policy>): PolicyExplanation['limits'] {
  const { properties } = z.toJSONSchema(policySchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema
  const general = { group: '', meaning: '', limits: [] as ExplainedLimit[] }
  const groups = [general]
  const add = (into: ExplainedLimit[], schema: JsonSchema, path: readonly string[], at: unknown): void => {
    if (schema.properties !== undefined && at !== undefined) {
      for (const [key, inner] of Object.entries(schema.properties)) add(into, inner, [...path, key], (at as Record<string, unknown>)[key])
      return
    }
    const line = positions.has(['spec', ...path]) ? positions.keyAt(['spec', ...path]).line : null
    into.push({ key: path.join('.'), value: valueText(at, schema), line, meaning: schema.description ?? '' })
  }
  for (const [key, schema] of Object.entries(properties!.spec!.properties!)) {
    if (TOLD.includes(key)) continue
    const at = value.spec[key as keyof Policy['spec']]
    if (schema.properties === undefined) add(general.limits, schema, [key], at)
    else {
      const limits: ExplainedLimit[] = []
      add(limits, schema, [key], at)
      groups.push({ group: key, meaning: schema.description ?? '', limits })
    }
  }
  return groups
}

function valueText(value: unknown, schema: JsonSchema): string {
  if (value === undefined) return 'not set'
  if (typeof value === 'number' && schema.pattern?.endsWith(DURATION_PATTERN)) return span(value)
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(item => (typeof item === 'object' ? fieldsText(item) : String(item))).join(', ')
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0 ? 'none' : fieldsText(value)
  return String(value)
}

/** `schedule 0 2 * * 6, duration 2 h`: durations of lists are in ms here, as every duration below `spec` is. */
function fieldsText(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(
      ([key, value]) =>
        `${key} ${typeof value === 'number' && /^(duration|window)$/.test(key) ? span(value) : Array.isArray(value) ? value.join(' or ') : value}`
    )
    .join(', ')
}
