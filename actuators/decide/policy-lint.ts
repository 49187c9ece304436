// Lint of policies and runbooks: what loads, and yet cannot work or is hardly what was meant. Pure: files and facts in, findings out.
//
// An error will fail when it is needed (a driver that refuses, a check that can never pass); a warning is a thing to look at.
// What telemetry knows (policy-lint-history.ts) is asked for by the caller.

import type { Policy, Runbook } from '../../schemas/runbook.ts'
import { compileCondition } from '../cel.ts'
import { span } from './guards/guard.ts'
import { type Found, type PolicyDocuments, type PolicyFile, readPolicyDocuments } from './policy-documents.ts'
import { POLICY_VARIABLES } from './policy-fields.ts'
import { didYouMean, loadPolicySet } from './policy-file.ts'
import { type Finding, finding, inOrder } from './policy-finding.ts'
import { type ImaginedIncident, imagineIncidents, isUnderstood } from './policy-imagine.ts'
import { type ActFacts, lintRunbook } from './policy-lint-steps.ts'

/** What the configuration says; without it less can be found. */
export interface LintFacts extends ActFacts {
  /** Names of act.escalation.channels; absent: not known. */
  channels?: readonly string[] | undefined
  /** Whether somebody is on call (act.escalation.onCall, or a channel `default`). */
  isSomebodyOnCall?: boolean | undefined
  /** decide.commandExpiry and act.concurrencyMax; absent: not known. */
  queue?: { expiryMs: number; concurrencyMax: number } | undefined
}

/** Pairs of policies that are compared; a hundred policies have 4,950. */
const PAIRS_MAX = 5_000
const OVERLAPS_SHOWN_MAX = 3

/** All findings in order of file and line. Selectors are compiled again here, so that one bad document does not hide the rest. */
export function lintPolicies(files: readonly PolicyFile[], facts: LintFacts): { findings: Finding[]; documents: PolicyDocuments } {
  const loaded = loadPolicySet(files)
  const { documents, problems } = readPolicyDocuments(files)
  const findings: Finding[] = loaded.ok ? [] : loaded.problems.map(problem => ({ ...problem, severity: 'error', rule: 'load' }))
  const policies = documents.policies.flatMap(found => selectorOf(found) ?? [])
  const runbooks = new Map(documents.runbooks.map(found => [found.document.value.metadata.name, found.document.value]))
  for (const selector of policies)
    findings.push(
      ...selectorFindings(selector),
      ...runbookFindings(selector, runbooks),
      ...channelFindings(selector.found, facts),
      ...queueFindings(selector.found, runbooks, facts)
    )
  findings.push(...pairFindings(policies))
  if (problems.length === 0) findings.push(...unusedFindings(documents)) // A file that cannot be read may name it.
  for (const found of documents.runbooks) findings.push(...lintRunbook(found, facts))
  return { findings: inOrder(findings, files), documents }
}

interface Selector {
  found: Found<Policy>
  name: string
  match: string
  /** Whether it selects an incident. */
  holds(imagined: ImaginedIncident): boolean
}

function selectorOf(found: Found<Policy>): Selector | undefined {
  const { metadata, spec } = found.document.value
  try {
    const compiled = compileCondition(spec.match, POLICY_VARIABLES)
    const holds = (imagined: ImaginedIncident): boolean => {
      const result = compiled.evaluate({ ...imagined })
      return result.ok && result.value === true
    }
    return { found, name: metadata.name, match: spec.match, holds }
  } catch {
    return undefined // Loading says what is wrong with it.
  }
}

function selectorFindings({ found, match, holds }: Selector): Finding[] {
  if (isConstant(match)) return [] // Refused at load, with the same words.
  const imagined = imagineIncidents(match)
  if (imagined.every(holds)) {
    const hint = 'Name what it is for, such as cause.service == "orders".'
    return [
      finding('error', 'selects-everything', found, ['spec', 'match'], 'holds for every incident that was tried: the whole fleet would be acted upon', hint)
    ]
  }
  if (isUnderstood(match) && !imagined.some(holds)) {
    const message = `holds for none of ${imagined.length} incidents that were made of what it compares`
    return [finding('error', 'selects-nothing', found, ['spec', 'match'], message, 'Look for two conditions that exclude each other.')]
  }
  return []
}

/** Whether it needs no incident to be answered. */
function isConstant(match: string): boolean {
  return compileCondition(match, POLICY_VARIABLES).evaluate({ incident: {}, cause: {} }).ok
}

/** What its runbooks answer, against what it selects. */
function runbookFindings({ found, match, holds }: Selector, runbooks: ReadonlyMap<string, Runbook>): Finding[] {
  const selected = new Set(imagineIncidents(match).flatMap(one => (holds(one) ? [String(one.cause.signature)] : [])))
  if (selected.size === 0) return []
  const named = found.document.value.spec.runbooks.map((name, index) => ({ name, index, signatures: runbooks.get(name)?.spec.signatures ?? [] }))
  if (named.some(({ name }) => !runbooks.has(name))) return [] // Refused at load.
  const answered = new Set(named.flatMap(({ signatures }) => signatures))
  const unanswered = [...selected].filter(signature => !answered.has(signature))
  const path = ['spec', 'runbooks']
  if (unanswered.length === selected.size) {
    const message = `it selects ${list(selected)}, and its runbooks answer ${list(answered)}: nothing could ever be done`
    return [finding('error', 'no-runbook-answers', found, path, message, 'Take a runbook that answers it, or put the signature among those of a runbook.')]
  }
  const findings = named
    .filter(({ signatures }) => !signatures.some(signature => selected.has(signature)))
    .map(({ name, index, signatures }) => {
      const message = `${name} answers ${list(signatures)}, and this policy never selects that`
      return finding('warning', 'runbook-never-runs', found, [...path, index], message, 'Take it out, or widen the match.')
    })
  // A policy that speaks of no signature means "whatever it is, these may help".
  if (unanswered.length > 0 && /cause\.signature/.test(match)) {
    const message = `it selects ${list(unanswered)} as well, which none of its runbooks answers`
    findings.push(finding('warning', 'signature-unanswered', found, path, message, 'Nothing is done for it: say so in another policy, or add a runbook.'))
  }
  return findings
}

function channelFindings(found: Found<Policy>, { channels, isSomebodyOnCall }: LintFacts): Finding[] {
  if (channels === undefined) return []
  const { escalate, autonomy } = found.document.value.spec
  const path = ['spec', 'escalate', 'channels']
  const findings = escalate.channels.flatMap((name, index) => {
    if (name === 'default' || channels.includes(name)) return []
    return [
      finding(
        'error',
        'unknown-channel',
        found,
        [...path, index],
        `there is no channel ${name} in act.escalation.channels`,
        didYouMean('Channels', name, channels)
      )
    ]
  })
  const isAlone = autonomy === 'auto' || autonomy === 'approve'
  if (isAlone && findings.length === 0 && escalate.channels.every(name => name === 'default') && isSomebodyOnCall === false) {
    const message = 'nobody would be told when it asks, gives up or stays blocked: act.escalation has neither onCall nor a channel named default'
    findings.push(finding('warning', 'nobody-told', found, ['spec', 'autonomy'], message, 'Give act.escalation.channels a default, or onCall its people.'))
  }
  return findings
}

/** More at once than the actuator runs: the others wait for the whole plans of those before them, and a command that waits expires. */
function queueFindings(found: Found<Policy>, runbooks: ReadonlyMap<string, Runbook>, { queue }: LintFacts): Finding[] {
  const { blastRadius, runbooks: names } = found.document.value.spec
  if (queue === undefined || blastRadius.concurrentMax <= queue.concurrencyMax) return []
  const longest = names.map(name => ({ name, planMs: planOf(runbooks.get(name)) })).sort((a, b) => b.planMs - a.planMs)[0]!
  if (longest.planMs <= queue.expiryMs) return []
  const message = `allows ${blastRadius.concurrentMax} at once, and the actuator runs ${queue.concurrencyMax} (act.concurrencyMax): the others wait up to ${span(longest.planMs)} for ${longest.name} and expire after ${span(queue.expiryMs)} (decide.commandExpiry)`
  const hint = 'Raise act.concurrencyMax or decide.commandExpiry, or allow fewer at once.'
  return [finding('warning', 'expires-first', found, ['spec', 'blastRadius', 'concurrentMax'], message, hint)]
}

/** Most time of its steps, ms; without undo, which nobody plans for. */
function planOf(runbook: Runbook | undefined): number {
  return (runbook?.spec.steps ?? []).reduce((sum, { timeout, settle, verify }) => sum + timeout + settle + verify.deadline, 0)
}

/** In order of name the first policy that matches decides: what of that is hardly meant? */
function pairFindings(policies: readonly Selector[]): Finding[] {
  // What selects everything has a finding of its own.
  const sorted = policies.filter(({ match, holds }) => !imagineIncidents(match).every(holds)).sort((a, b) => (a.name < b.name ? -1 : 1))
  let pairs = 0
  return sorted.flatMap((second, index) => {
    const overlaps: string[] = []
    for (const first of sorted.slice(0, index)) {
      if (pairs++ >= PAIRS_MAX) return []
      const ofSecond = imagineIncidents(first.match, second.match).filter(second.holds)
      const both = ofSecond.filter(first.holds)
      if (both.length === 0) continue
      const where = `${first.name} (${first.found.file}:${first.found.document.positions.at(['spec', 'match']).line})`
      if (both.length === ofSecond.length && isUnderstood(first.match, second.match)) {
        const message = `never decides: all that it selects is selected by ${where} too, which comes first by name`
        return [finding('warning', 'shadowed', second.found, ['spec', 'match'], message, 'Rename it so that it sorts before, or narrow the other one.')]
      }
      overlaps.push(`${where}: ${example(both[0]!)}`)
    }
    if (overlaps.length === 0) return []
    const more = overlaps.length > OVERLAPS_SHOWN_MAX ? `; and ${overlaps.length - OVERLAPS_SHOWN_MAX} more` : ''
    const message = `others come first by name and decide what this selects as well. ${overlaps.slice(0, OVERLAPS_SHOWN_MAX).join('; ')}${more}`
    return [
      finding('warning', 'overlap', second.found, ['spec', 'match'], message, 'Exclude it in one of them, or name them so that the right one sorts first.')
    ]
  })
}

function example({ incident, cause }: ImaginedIncident): string {
  return `${cause.signature} of ${cause.service} in ${incident.environment}`
}

function unusedFindings({ policies, runbooks }: PolicyDocuments): Finding[] {
  const used = new Set(policies.flatMap(({ document }) => document.value.spec.runbooks))
  return runbooks
    .filter(({ document }) => !used.has(document.value.metadata.name))
    .map(found => {
      const { name } = found.document.value.metadata
      return finding('warning', 'runbook-unused', found, ['metadata', 'name'], `no policy names the runbook ${name}`, 'Name it in a policy, or take it out.')
    })
}

function list(names: Iterable<string>): string {
  return [...names].join(', ')
}
