// Runs PolicyTest documents: each case is decided by the deciding code itself, on a state made of what the case says happened before.
//
//   given ─► state (attempts with their verdicts, controls) ─► decide(incident) ─► answers ─► decide again at `now` ─► compare
//
// Pure and repeatable: time is the case's, chance is fixed (no jitter).

import type { Control } from '../../schemas/control.ts'
import type { Decision, GuardResult } from '../../schemas/decision.ts'
import { entityService } from '../../schemas/entity.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Incident, IncidentMember } from '../../schemas/incident.ts'
import type { Outcome, Verdict } from '../../schemas/outcome.ts'
import type { GivenControl, GivenIncident, PolicyTest, PolicyTestCase } from '../../schemas/policy-test.ts'
import type { Random } from '../../schemas/ports.ts'
import type { Problem } from '../../schemas/yaml.ts'
import { evaluateCondition } from '../cel.ts'
import { addAttempt, settleOutcome } from './attempts.ts'
import { actionsOf } from './command.ts'
import { type DecideEvent, decide } from './decide.ts'
import { type Found, problemIn } from './policy-documents.ts'
import { didYouMean, type PolicySet } from './policy-file.ts'
import { addOnset, addOpening, type DecideState, emptyState, targetOf } from './state.ts'
import { scoreOutcome } from './trust.ts'

export interface Difference {
  /** `outcome`, `runbook`, `guards.cooldown`, … */
  what: string
  expected: string
  was: string
}
export interface PolicyTestResult {
  file: string
  /** Of the case. */
  line: number
  test: string
  name: string
  /** Empty: as expected. */
  differences: Difference[]
  decision: Decision
}

const INCIDENT_ID = 'case'
/** What an attempt in flight may still take; no case lasts so long. */
const IN_FLIGHT_MS = 3_600_000
/** Within what the storm guard counts, and the flapping guard. */
const OPENED_LATELY_MS = 30_000
const BROKE_LATELY_MS = 300_000
const ASKED_BEFORE_MS = 1_000
const COMMAND_EXPIRY_MS = 60_000
const NO_CHANCE: Random = { next: () => 0.5, uuid: () => 'case' }

/** Decides every case. */
export function runPolicyTests(set: PolicySet, tests: readonly Found<PolicyTest>[]): PolicyTestResult[] {
  return tests.flatMap(({ file, document: { value, positions } }) =>
    value.spec.cases.map((one, index) => {
      const decision = decideCase(set, one)
      const { line } = positions.at(['spec', 'cases', index])
      return { file, line, test: value.metadata.name, name: one.name, differences: differencesOf(one.expect, decision), decision }
    })
  )
}

/** Runbooks and policies that cases name and that are not there: such a case would prove nothing. */
export function policyTestProblems(set: PolicySet, tests: readonly Found<PolicyTest>[]): Problem[] {
  const runbooks = [...set.runbooks.keys()]
  const policies = set.policies.map(({ name }) => name)
  return tests.flatMap(found =>
    found.document.value.spec.cases.flatMap(({ given, expect }, index) => {
      const path = ['spec', 'cases', index]
      const named = [
        ...given.history.map(({ runbook }, at) => ({ kind: 'runbook', name: runbook, known: runbooks, path: [...path, 'given', 'history', at, 'runbook'] })),
        { kind: 'runbook', name: expect.runbook, known: runbooks, path: [...path, 'expect', 'runbook'] },
        { kind: 'policy', name: expect.policy, known: policies, path: [...path, 'expect', 'policy'] }
      ]
      return named.flatMap(({ kind, name, known, path: at }) => {
        if (typeof name !== 'string' || known.includes(name)) return []
        return [problemIn(found, at, `there is no ${kind} ${name}`, didYouMean(kind === 'policy' ? 'Policies' : 'Runbooks', name, known))]
      })
    })
  )
}

/** The decision that stands at `now`. */
export function decideCase(set: PolicySet, { given }: PolicyTestCase): Decision {
  const nowMs = Date.parse(given.now)
  const policies = given.autonomy === undefined ? set : atLevel(set, given.autonomy)
  const incident = incidentOf(given.incident, given.history.filter(({ sameIncident }) => sameIncident).length, nowMs)
  const state = stateBefore(policies, given, incident, nowMs)
  const rules = { config: { commandExpiry: COMMAND_EXPIRY_MS }, policies, environments: [incident.environment] }
  const decisions: Decision[] = []
  const feed = (event: DecideEvent, atMs: number): void => {
    for (const effect of decide(state, event, atMs, NO_CHANCE, rules)) if (effect.kind === 'publish_decision') decisions.push(effect.record)
  }
  for (const control of given.controls.map(one => controlOf(one, incident.environment, nowMs)).sort((a, b) => a.atMs - b.atMs)) {
    feed({ kind: 'control', record: control }, Math.min(control.atMs, nowMs))
  }
  const answers = [...given.answers].sort((a, b) => b.ago - a.ago)
  const askedForMs = given.askedFor ?? (answers.length === 0 ? 0 : answers[0]!.ago + ASKED_BEFORE_MS)
  feed({ kind: 'incident', record: incident }, nowMs - askedForMs)
  for (const { by, approved, ago } of answers) {
    const decisionId = state.watches[INCIDENT_ID]!.ask?.decisionId ?? ''
    feed({ kind: 'control', record: { kind: 'approval', incidentId: INCIDENT_ID, decisionId, approved, by, atMs: nowMs - ago } }, nowMs - ago)
  }
  if (askedForMs > 0) feed({ kind: 'policies_changed' }, nowMs) // Looks at everything anew.
  return decisions.at(-1)!
}

function atLevel(set: PolicySet, autonomy: NonNullable<PolicyTestCase['given']['autonomy']>): PolicySet {
  return { ...set, policies: set.policies.map(policy => ({ ...policy, spec: { ...policy.spec, autonomy } })) }
}

function stateBefore(set: PolicySet, given: PolicyTestCase['given'], incident: Incident, nowMs: number): DecideState {
  const state = emptyState()
  const { environment } = incident
  const cause = incident.causes[0]!
  const policy = set.policies.find(({ match }) => evaluateCondition(match, { incident, cause }).holds)?.name ?? ''
  for (const [index, { runbook: name, verdict, ago, target = cause.entity, sameIncident }] of given.history.toSorted((a, b) => b.ago - a.ago).entries()) {
    const runbook = set.runbooks.get(name)?.spec
    const atMs = nowMs - ago
    const commandId = `case-${index}`
    addAttempt(targetOf(state, environment, target), {
      ...{ commandId, environment, target, policy, runbook: name },
      incidentId: sameIncident ? INCIDENT_ID : `${INCIDENT_ID}-${index}`,
      signature: cause.signature,
      issuedAtMs: atMs,
      deadlineMs: nowMs + IN_FLIGHT_MS,
      jitter: 0,
      verdict: null,
      endedAtMs: null,
      healedAtMs: null,
      cost: runbook?.cost ?? 0,
      actions: actionsOf(runbook?.steps ?? [])
    })
    if (verdict === 'in_flight') continue
    const outcome = outcomeOf({ commandId, incident, policy, runbook: name, target, verdict, atMs })
    settleOutcome(state, outcome)
    scoreOutcome(state, outcome)
  }
  const others = (count: number, agoMs: number): Incident[] =>
    Array.from({ length: count }, (_, index) => ({ ...incident, id: `${INCIDENT_ID}-${agoMs}-${index}`, openedAtMs: nowMs - agoMs }))
  for (const other of others(given.openedLately, OPENED_LATELY_MS)) addOpening(state, other)
  for (const other of others(given.brokeLately, BROKE_LATELY_MS)) addOnset(targetOf(state, environment, cause.entity), other)
  return state
}

/** @param attempts for this incident so far */
function incidentOf(given: GivenIncident, attempts: number, nowMs: number): Incident {
  const { entity, signature, severity, score, environment, openFor } = given
  const openedAtMs = nowMs - openFor
  const service = serviceOf(entity)
  const isAbsent = signature === 'silent'
  const member: IncidentMember = {
    ...{ anomalyId: '', entity, service, attributes: {}, severity, score: 9, reason: '' },
    metric: `case.${signature}`,
    detector: isAbsent ? 'absence' : 'adaptive',
    direction: isAbsent ? 'absent' : 'above',
    observed: null,
    expected: null,
    sinceMs: openedAtMs,
    closedAtMs: null
  }
  const own = Array.from({ length: Math.max(1, given.signs) }, (_, index) => ({ ...member, metric: `case.${signature}.${index}` }))
  const complaints = given.complainedBy.map(caller => ({
    ...member,
    ...{ entity: caller, service: serviceOf(caller), metric: 'homeostat.edge.error_ratio', attributes: { peer: service } },
    ...{ detector: 'adaptive', direction: 'above' as const }
  }))
  const members = [...own.map(one => (given.signs === 0 ? { ...one, closedAtMs: nowMs } : one)), ...complaints]
  return {
    id: INCIDENT_ID,
    environment,
    status: 'open',
    severity,
    title: `${entity}: ${signature}`,
    startedAtMs: openedAtMs,
    openedAtMs,
    updatedAtMs: nowMs,
    healedAtMs: null,
    resolvedAtMs: null,
    resolution: null,
    causes: [{ entity, service, score, signature, open: given.signs > 0 || complaints.length > 0, evidence: [] }],
    members: members.map((one, index) => ({ ...one, anomalyId: derivedId(INCIDENT_ID, index) })),
    membersOmitted: 0,
    attempts,
    unknownEntities: given.unknown ?? (isAbsent ? [entity] : []),
    version: 1
  }
}

/** Name of the service without its namespace, as causes have it. */
function serviceOf(entity: string): string {
  return entityService(entity).replace(/^.*\//, '')
}

function controlOf(given: GivenControl, environment: string, nowMs: number): Control {
  const { by } = given
  switch (given.kind) {
    case 'kill_switch':
      return { kind: 'kill_switch', scope: given.scope, on: given.on, reason: 'the case says so', by, atMs: nowMs - given.ago }
    case 'maintenance':
      return { kind: 'maintenance', id: 'case', match: given.match, fromMs: nowMs + given.from, toMs: nowMs + given.to, by, atMs: nowMs + given.from }
    case 'change': {
      const times = { fromMs: nowMs + given.from, toMs: given.to === undefined ? null : nowMs + given.to }
      const id = derivedId('change', given.target, given.what, times.fromMs)
      return {
        kind: 'change',
        id,
        environment,
        target: given.target,
        actor: by,
        what: given.what,
        ...times,
        by,
        atMs: Math.min(nowMs, times.toMs ?? times.fromMs)
      }
    }
    case 'group':
      return { kind: 'group', environment, group: given.group, size: given.size, ...(given.members && { members: given.members }), by, atMs: nowMs - given.ago }
    case 'error_budget': {
      const { service, remainingRatio, burnRate } = given
      return { kind: 'error_budget', environment, service, remainingRatio, burnRate, by, atMs: nowMs - given.ago }
    }
  }
}

interface Done {
  commandId: string
  incident: Incident
  policy: string
  runbook: string
  target: string
  verdict: Verdict
  atMs: number
}

function outcomeOf({ commandId, incident, policy, runbook, target, verdict, atMs }: Done): Outcome {
  return {
    ...{ commandId, policy, runbook, target, verdict },
    id: `outcome-${commandId}`,
    incidentId: incident.id,
    decisionId: '',
    environment: incident.environment,
    attempt: 1,
    reason: `was ${verdict}`,
    refusedBy: null,
    steps: [],
    evidence: { signals: [], logs: [], spans: [], facts: {} },
    receivedAtMs: atMs,
    begunAtMs: atMs,
    healedAtMs: verdict === 'healed' ? atMs : null,
    recordedAtMs: atMs,
    cost: 0,
    escalated: false
  }
}

function differencesOf(expected: PolicyTestCase['expect'], decision: Decision): Difference[] {
  const differences: Difference[] = []
  const compare = (what: string, wanted: string | undefined, was: string): void => {
    if (wanted !== undefined && wanted !== was) differences.push({ what, expected: wanted, was })
  }
  const name = (value: string | null | undefined): string | undefined => (value === null ? 'none' : value)
  const set = (guards: readonly string[] | undefined): string | undefined => guards && (guards.length === 0 ? 'nothing' : [...guards].sort().join(', '))
  compare('outcome', expected.outcome, decision.outcome)
  compare('policy', name(expected.policy), decision.policy ?? 'none')
  compare('runbook', name(expected.runbook), decision.runbook ?? 'none')
  compare('target', name(expected.target), decision.target ?? 'none')
  compare('blockedBy', set(expected.blockedBy), set(decision.blockedBy)!)
  for (const [guard, verdict] of Object.entries(expected.guards ?? {})) compare(`guards.${guard}`, verdict, verdictOf(decision.guards, guard))
  compare('attempt', expected.attempt === undefined ? undefined : String(expected.attempt), String(decision.attempt))
  if (expected.reason !== undefined && !decision.reason.includes(expected.reason))
    differences.push({ what: 'reason', expected: `… ${expected.reason} …`, was: decision.reason })
  return differences
}

function verdictOf(guards: readonly GuardResult[], name: string): string {
  return guards.find(({ guard }) => guard === name)?.verdict ?? 'not asked'
}
