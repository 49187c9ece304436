// Autonomy is earned: every act, and every act that was only recorded (shadow), is scored against what really happened.
//
//   act       healed → right; healed and back within the recurrence window, partial, ineffective, harmful → wrong
//   shadow    a person changed this target meanwhile, or called the alarm true → right
//             it recovered by itself, people changed another target, said no, or called the alarm false → wrong
//   anything else is not known and counts neither way.
//
// Recovery without a known hand counts against a policy: what people heal and do not report cannot be told from what heals
// itself, and a level must not be earned by doubt. Demotion is automatic (harm, drift); promotion is only proposed.

import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import { overlap } from '../../schemas/entity.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import { levelOf } from './guards/level.ts'
import type { LoadedPolicy } from './policy-file.ts'
import { type DecideState, type Trial, type Trust, TRIALS_MAX, trustOf } from './state.ts'
import { drift, earned } from './trust-record.ts'

/** There are three levels to lose; more demotions say nothing more. */
const DEMOTIONS_MAX = 3
const ANOMALIES_MAX = 20 // Kept a trial, for labels: people label the first ones.

/** What people are told of a policy's trust. */
export type TrustNews = { kind: 'demoted'; atMs: number; reason: string } | { kind: 'proposed'; level: string; reason: string }

/**
 * Takes a decision into the record: an act, or what would have been one. A question becomes an act when it is approved.
 * @param anomalyIds of its incident, for labels
 */
export function addTrial(state: DecideState, decision: Decision, anomalyIds: readonly string[]): void {
  const { outcome, policy, runbook, target } = decision
  if (policy === null || runbook === null || target === null || (outcome !== 'act' && outcome !== 'would_act' && outcome !== 'ask')) return
  const trust = trustOf(state, policy)
  const mode = outcome === 'act' ? 'act' : 'shadow'
  const same = (trial: Trial) =>
    trial.mode === 'shadow' && trial.result === null && trial.incidentId === decision.incidentId && trial.runbook === runbook && trial.target === target
  if (mode === 'shadow' && trust.trials.some(same)) return // Said again of the same incident is one statement.
  trust.trials = trust.trials.filter(trial => !same(trial) && trial.decisionId !== decision.id)
  trust.trials.push({
    decisionId: decision.id,
    incidentId: decision.incidentId,
    environment: decision.environment,
    target,
    runbook,
    atMs: decision.decidedAtMs,
    mode,
    result: null,
    why: '',
    healedAtMs: null,
    anomalyIds: anomalyIds.slice(0, ANOMALIES_MAX)
  })
  if (trust.trials.length > TRIALS_MAX) trust.trials.shift()
}

/** Scores an act by its outcome; harm costs a level at once. @returns why a level was lost, or undefined */
export function scoreOutcome(state: DecideState, outcome: Outcome): string | undefined {
  const trust = trustOf(state, outcome.policy)
  const trial = trust.trials.find(known => known.decisionId === outcome.decisionId)
  const { verdict } = outcome
  if (trial !== undefined && verdict === 'healed') {
    settle(trial, 'right', verdict)
    trial.healedAtMs = outcome.healedAtMs
  } else if (trial !== undefined && (verdict === 'partial' || verdict === 'ineffective' || verdict === 'harmful')) settle(trial, 'wrong', verdict)
  if (verdict !== 'harmful') return undefined
  const reason = `${outcome.runbook} did harm to ${outcome.target}`
  return demote(trust, outcome.recordedAtMs, reason) ? reason : undefined
}

/** A new incident of a target that was healed a moment ago says that it was not. @param recurrenceMs of the policy, by name */
export function scoreOnset(state: DecideState, incident: Incident, recurrenceMs: (policy: string) => number): void {
  const target = incident.causes[0]?.entity
  if (target === undefined) return
  for (const [policy, { trials }] of Object.entries(state.trust)) {
    const windowMs = recurrenceMs(policy)
    for (const trial of trials) {
      if (trial.healedAtMs === null || trial.incidentId === incident.id || trial.environment !== incident.environment || trial.target !== target) continue
      const afterMs = incident.openedAtMs - trial.healedAtMs
      if (afterMs >= 0 && afterMs <= windowMs) settle(trial, 'wrong', 'came back')
    }
  }
}

/** Scores the shadow decisions of an incident that is over. */
export function scoreResolution(state: DecideState, incident: Incident): void {
  if (incident.resolution === 'merged') return
  const changes = Object.values(state.changes).filter(
    change => change.environment === incident.environment && change.what !== 'deploy' && change.target !== '*'
  )
  for (const trial of shadowsOf(state, incident.id)) {
    const meanwhile = changes.filter(change => change.fromMs >= trial.atMs && change.fromMs <= (incident.resolvedAtMs ?? incident.updatedAtMs))
    const here = meanwhile.find(change => overlap(change.target, trial.target))
    if (here !== undefined) settle(trial, 'right', `${here.actor} acted there too`)
    else if (meanwhile.length > 0) settle(trial, 'wrong', `${meanwhile[0]!.actor} acted on ${meanwhile[0]!.target} instead`)
    else if (incident.resolution === 'self_healed') settle(trial, 'wrong', 'it recovered by itself')
  }
}

/** What people's words say of decisions: labels of anomalies, and a no to a question. */
export function scoreControl(state: DecideState, control: Control): void {
  for (const { trials } of Object.values(state.trust)) {
    for (const trial of trials) {
      if (control.kind === 'label' && trial.anomalyIds.includes(control.anomalyId)) {
        if (control.label === 'false_positive') settle(trial, 'wrong', `${control.by} calls the alarm false`)
        else if (trial.mode === 'shadow' && trial.result === null) settle(trial, 'right', `${control.by} calls the alarm true`)
      } else if (control.kind === 'approval' && !control.approved && trial.decisionId === control.decisionId) settle(trial, 'wrong', `${control.by} said no`)
    }
  }
}

/** Looks at a policy's record: drift costs a level; what it has earned is proposed, once. */
export function reviewTrust(state: DecideState, policy: LoadedPolicy, nowMs: number): TrustNews[] {
  const trust = state.trust[policy.name]
  if (trust === undefined) return []
  const news: TrustNews[] = []
  const drifted = drift(trust, policy.spec.trust, levelOf(policy, state))
  if (drifted !== undefined && demote(trust, nowMs, drifted)) news.push({ kind: 'demoted', atMs: nowMs, reason: drifted })
  const { proposal, trials, precision, precisionLower } = earned(trust, policy.spec.trust, levelOf(policy, state))
  if (proposal !== undefined && trust.proposed !== proposal) {
    news.push({ kind: 'proposed', level: proposal, reason: `precision ${precision} over ${trials} decisions, at least ${precisionLower}` })
  }
  trust.proposed = proposal ?? null
  return news
}

/** @returns false when it is known already */
export function demote(trust: Trust, atMs: number, reason: string): boolean {
  if (trust.demotions.some(known => known.atMs === atMs && known.reason === reason)) return false
  trust.demotions = [...trust.demotions, { atMs, reason }].slice(-DEMOTIONS_MAX)
  return true
}

function shadowsOf(state: DecideState, incidentId: string): Trial[] {
  return Object.values(state.trust).flatMap(({ trials }) =>
    trials.filter(trial => trial.mode === 'shadow' && trial.result === null && trial.incidentId === incidentId)
  )
}

function settle(trial: Trial, result: 'right' | 'wrong', why: string): void {
  trial.result = result
  trial.why = why
}
