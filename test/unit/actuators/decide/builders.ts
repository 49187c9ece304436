// Small builders for deciding: policies as YAML, incidents, a reducer on a clock of its own, contexts for single guards.

import { rankCandidates } from '../../../../actuators/decide/candidates.ts'
import { type DecideEffect, type DecideEvent, decide } from '../../../../actuators/decide/decide.ts'
import type { GuardContext } from '../../../../actuators/decide/guards/guard.ts'
import { loadPolicySet, type PolicySet } from '../../../../actuators/decide/policy-file.ts'
import { type Attempt, type DecideState, emptyState, inFlight, targetOf, type Watch } from '../../../../actuators/decide/state.ts'
import type { Control } from '../../../../schemas/control.ts'
import type { Decision } from '../../../../schemas/decision.ts'
import type { Cause, Incident, IncidentMember } from '../../../../schemas/incident.ts'
import type { Outcome, Verdict } from '../../../../schemas/outcome.ts'
import { formatProblem } from '../../../../schemas/yaml.ts'
import { seededRandom } from '../../../support/virtual-clock.ts'

export const T0 = Date.UTC(2026, 0, 5, 12)
export const TARGET = 'lab/orders@orders-1'

/** A policy with YAML lines of its spec put in. */
export function policyYaml(spec = '', name = 'orders', match = 'cause.service == "orders"', runbooks = '[restart]'): string {
  return `apiVersion: homeostat.io/v1\nkind: Policy\nmetadata: {name: ${name}}\nspec:\n  match: '${match}'\n  runbooks: ${runbooks}\n${indented(spec)}`
}

export function runbookYaml(name = 'restart', spec = 'risk: low\nsignatures: [silent, errors]'): string {
  const step = `{name: act, action: {driver: process, verb: restart}, verify: {checks: [{name: up, type: http, url: "http://127.0.0.1/"}]}}`
  return `apiVersion: homeostat.io/v1\nkind: Runbook\nmetadata: {name: ${name}}\nspec:\n${indented(spec)}  steps:\n    - ${step}\n`
}

function indented(lines: string): string {
  return lines === '' ? '' : `${lines.replaceAll(/^/gm, '  ')}\n`
}

export function policySet(...texts: string[]): PolicySet {
  const loaded = loadPolicySet(texts.map((text, index) => ({ file: `file-${index}.yaml`, text })))
  if (!loaded.ok) throw new Error(loaded.problems.map(problem => formatProblem(problem, '')).join('\n'))
  return loaded.set
}

export function aMember(fields: Partial<IncidentMember> = {}): IncidentMember {
  return {
    anomalyId: 'anomaly-1',
    entity: TARGET,
    service: 'orders',
    metric: 'process.memory.usage',
    attributes: {},
    detector: 'absence',
    direction: 'absent',
    severity: 'critical',
    score: 9,
    observed: null,
    expected: 1,
    sinceMs: T0,
    closedAtMs: null,
    reason: '',
    ...fields
  }
}

export function aCause(fields: Partial<Cause> = {}): Cause {
  return { entity: TARGET, service: 'orders', score: 0.9, signature: 'silent', evidence: ['orders sends no telemetry'], ...fields }
}

export function anIncident(fields: Partial<Incident> = {}): Incident {
  return {
    id: 'incident-1',
    environment: 'lab',
    status: 'open',
    severity: 'critical',
    title: 'orders sends nothing',
    startedAtMs: T0,
    openedAtMs: T0,
    updatedAtMs: T0,
    healedAtMs: null,
    resolvedAtMs: null,
    resolution: null,
    causes: [aCause()],
    members: [aMember()],
    membersOmitted: 0,
    attempts: 0,
    unknownEntities: [TARGET],
    version: 1,
    ...fields
  }
}

export function anOutcome(decision: Decision, verdict: Verdict, fields: Partial<Outcome> = {}): Outcome {
  const recordedAtMs = fields.recordedAtMs ?? decision.decidedAtMs + 5_000
  return {
    id: `outcome-${decision.commandId}`,
    commandId: decision.commandId!,
    incidentId: decision.incidentId,
    decisionId: decision.id,
    environment: decision.environment,
    target: decision.target!,
    runbook: decision.runbook!,
    policy: decision.policy!,
    attempt: decision.attempt,
    verdict,
    reason: `was ${verdict}`,
    refusedBy: null,
    steps: [],
    evidence: { signals: [], logs: [], spans: [], facts: {} },
    receivedAtMs: decision.decidedAtMs + 1,
    begunAtMs: decision.decidedAtMs + 2,
    healedAtMs: verdict === 'healed' ? recordedAtMs - 1_000 : null,
    recordedAtMs,
    cost: 1,
    escalated: false,
    ...fields
  }
}

export const killSwitch = (scope: string, on: boolean, atMs = T0): Control => ({ kind: 'kill_switch', scope, on, reason: 'trouble', by: 'ada', atMs })

/** Feeds events at seconds after T0 and keeps what came out. */
export function decider(set: PolicySet, options: { state?: DecideState; seed?: number; environments?: string[] } = {}) {
  const state = options.state ?? emptyState()
  const random = seededRandom(options.seed ?? 1)
  const effects: DecideEffect[] = []
  const rules = { config: { commandExpiry: 60_000 }, policies: set, environments: options.environments ?? ['lab'] }
  const feed = (event: DecideEvent, atS: number) => {
    const made = decide(state, event, T0 + atS * 1_000, random, rules)
    effects.push(...made)
    return made
  }
  const decisions = () => effects.flatMap(effect => (effect.kind === 'publish_decision' ? [effect.record] : []))
  const commands = () => effects.flatMap(effect => (effect.kind === 'publish_command' ? [effect.record] : []))
  return {
    state,
    rules,
    feed,
    effects,
    decisions,
    commands,
    incident: (record: Incident, atS: number) => feed({ kind: 'incident', record }, atS),
    outcome: (record: Outcome, atS: number) => feed({ kind: 'outcome', record }, atS),
    control: (record: Control, atS: number) => feed({ kind: 'control', record }, atS),
    tick: (atS: number) => feed({ kind: 'tick' }, atS),
    /** Ticks every second. */
    run(fromS: number, toS: number) {
      for (let atS = fromS; atS <= toS; atS++) feed({ kind: 'tick' }, atS)
    },
    last: () => decisions().at(-1)!
  }
}

export function anAttempt(fields: Partial<Attempt> = {}): Attempt {
  return {
    commandId: 'command-1',
    incidentId: 'incident-0',
    environment: 'lab',
    target: TARGET,
    policy: 'orders',
    runbook: 'restart',
    signature: 'silent',
    issuedAtMs: T0 - 30_000,
    deadlineMs: T0 + 300_000,
    jitter: 0,
    verdict: 'ineffective',
    endedAtMs: T0 - 20_000,
    healedAtMs: null,
    ...fields
  }
}

export interface ContextOptions {
  spec?: string
  runbook?: string
  incident?: Partial<Incident>
  cause?: Partial<Cause>
  attempts?: Attempt[]
  watch?: Partial<Watch>
  nowMs?: number
  prepare?(state: DecideState): void
}

/** What a guard sees: an open incident of one silent target under a policy that acts. */
export function aContext(options: ContextOptions = {}): GuardContext {
  const set = policySet(policyYaml(options.spec ?? 'autonomy: auto'), runbookYaml('restart', options.runbook))
  const state = emptyState()
  const cause = aCause(options.cause)
  const incident = anIncident({ causes: [cause], ...options.incident })
  const watch: Watch = {
    incident,
    sequence: 0,
    answer: '',
    last: null,
    retryAtMs: null,
    attempts: 0,
    ask: null,
    holdUntilMs: null,
    escalated: false,
    paged: false,
    ...options.watch
  }
  state.watches[incident.id] = watch
  for (const attempt of options.attempts ?? []) targetOf(state, 'lab', attempt.target).attempts.push(attempt)
  options.prepare?.(state)
  const policy = set.policies[0]!
  const candidate = rankCandidates(policy, set, cause, state, [], incident.id)[0]
  return {
    nowMs: options.nowMs ?? T0 + 1_000,
    incident,
    cause,
    policy,
    runbook: candidate?.runbook ?? set.runbooks.get('restart')!,
    target: cause.entity,
    targetState: targetOf(state, 'lab', cause.entity),
    watch,
    state,
    inFlight: inFlight(state, 'lab')
  }
}
