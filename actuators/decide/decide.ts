// The decide reducer: (state, event, now, random) → effects. Incidents become decisions, some of them commands.
//
// Pure but for changing `state` in place. A decision is recorded when its answer changes, never for each look. Blocked is
// not terminal: an incident is judged again when its retry time comes, on its news, on any outcome, on people's words.
// Ids derive from incident, sequence and answer, so what is decided again after a crash is the same decision.

import type { Config } from '../../schemas/config.ts'
import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { EscalationRules } from '../../schemas/escalation.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { Random } from '../../schemas/ports.ts'
import { advanceCall, shiftCalls } from '../escalate/calls.ts'
import { addAttempt, attemptOf, giveUpOrphans, settleOutcome } from './attempts.ts'
import { commandId, makeCommand, type UnsignedCommand } from './command.ts'
import { applyControl } from './controls.ts'
import { askSubject } from './guards/approval.ts'
import { type GuardContext, span } from './guards/guard.ts'
import { answerOf, isCurrent, type Judgement, judge, judgeMember, judgeUndo } from './judge.ts'
import { callFor, endTrust, onCallDue, resolvePages, takeAnswer, tellTrust, worsen } from './pages.ts'
import type { PolicySet } from './policy-file.ts'
import { hasInFlight, nextOf, type Rollout, stoppedOf, takeVerdict } from './rollout.ts'
import { noteTurn, undoesOf } from './rollout-turn.ts'
import { addOnset, addOpening, type DecideState, lastOf, newWatch, OVER_MAX, targetOf, type Watch } from './state.ts'
import { addTrial, reviewTrust, scoreControl, scoreOnset, scoreOutcome, scoreResolution } from './trust.ts'
import { attended, noteUnattended, shiftUnattended } from './unattended.ts'

export type DecideEvent =
  | { kind: 'incident'; record: Incident }
  | { kind: 'outcome'; record: Outcome }
  | { kind: 'control'; record: Control }
  | { kind: 'page_sent'; id: string }
  | { kind: 'call_due'; incidentId: string; owner?: string | null }
  | { kind: 'policies_changed' }
  /** The wall clock was set forward, or back (below 0). */
  | { kind: 'clock_step'; byMs: number }
  | { kind: 'tick' }

export type DecideEffect =
  | { kind: 'publish_decision'; record: Decision }
  | { kind: 'publish_command'; record: UnsignedCommand }
  /** News that changed nothing, and why. */
  | { kind: 'ignored'; reason: 'environment' | 'old_version' | 'resolved' | 'watches_max' | 'known_outcome' | 'pages_max' }

export interface DecideRules {
  config: Pick<Config['decide'], 'commandExpiry'>
  policies: PolicySet
  environments: readonly string[]
  /** Absent: people are called by the channels that policies name, without owners and steps. */
  escalation?: EscalationRules | undefined
}

/** Open incidents watched; diagnose opens no more than this. */
export const WATCHES_MAX = 1_000
/** After a healed verdict diagnose has this long to say so; a lost record must not stop deciding for ever. */
export const HEALED_HOLD_MS = 10 * 60_000

/** Takes one event in. */
export function decide(state: DecideState, event: DecideEvent, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  switch (event.kind) {
    case 'incident':
      return onIncident(state, event.record, nowMs, random, rules)
    case 'outcome':
      return onOutcome(state, event.record, nowMs, random, rules)
    case 'control':
      applyControl(state, event.record)
      scoreControl(state, event.record)
      reviewPolicies(state, nowMs, rules)
      takeAnswer(state, event.record)
      if (event.record.kind === 'release_target') reopenEscalated(state, event.record.target)
      return decideAll(state, nowMs, random, rules)
    case 'page_sent':
      state.pages = state.pages.filter(pending => pending.id !== event.id)
      return []
    case 'call_due':
      onCallDue(state, event, rules.escalation, nowMs)
      return []
    case 'policies_changed':
      return onPolicies(state, nowMs, random, rules)
    case 'clock_step':
      state.steppedMs += event.byMs
      shiftUnattended(state, event.byMs)
      shiftCalls(state, event.byMs)
      return decideAll(state, nowMs, random, rules) // When to look again was said by the clock as it was.
    case 'tick':
      return onTick(state, nowMs, random, rules)
  }
}

function onIncident(state: DecideState, incident: Incident, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  if (!rules.environments.includes(incident.environment)) return [{ kind: 'ignored', reason: 'environment' }]
  const known = state.watches[incident.id]
  if (known !== undefined && known.incident.version >= incident.version) return [{ kind: 'ignored', reason: 'old_version' }]
  // Resolved is final: what comes back is another incident. A straggler must not be decided anew under ids that were used.
  if (state.over.includes(incident.id)) return [{ kind: 'ignored', reason: 'resolved' }]
  if (incident.status === 'resolved') {
    state.over = [...state.over, incident.id].slice(-OVER_MAX)
    scoreResolution(state, incident)
    reviewPolicies(state, nowMs, rules)
    if (known === undefined) return []
    delete state.watches[incident.id]
    resolvePages(state, known, incident, rules.policies, rules.escalation)
    return []
  }
  if (known === undefined && Object.keys(state.watches).length >= WATCHES_MAX) return [{ kind: 'ignored', reason: 'watches_max' }]
  if (known === undefined) {
    addOpening(state, incident)
    scoreOnset(state, incident, name => rules.policies.policies.find(policy => policy.name === name)?.spec.recurrenceWindow ?? 0)
  }
  const watch = known ?? newWatch(incident, state)
  watch.incident = incident
  state.watches[incident.id] = watch
  worsen(state, incident, rules.escalation, nowMs)
  const cause = incident.causes[0]
  if (cause !== undefined) addOnset(targetOf(state, incident.environment, cause.entity), incident)
  if (tookOutcomeIn(watch)) watch.holdUntilMs = null
  return decideOne(state, watch, nowMs, random, rules)
}

function onOutcome(state: DecideState, outcome: Outcome, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  if (!rules.environments.includes(outcome.environment)) return [{ kind: 'ignored', reason: 'environment' }]
  if (!settleOutcome(state, outcome)) return [{ kind: 'ignored', reason: 'known_outcome' }]
  const harm = scoreOutcome(state, outcome)
  const policy = rules.policies.policies.find(one => one.name === outcome.policy)
  if (harm !== undefined && policy !== undefined)
    tellTrust(state, policy, { kind: 'demoted', atMs: outcome.recordedAtMs, reason: harm }, nowMs, rules.escalation)
  reviewPolicies(state, nowMs, rules)
  const watch = state.watches[outcome.incidentId]
  if (watch !== undefined) {
    watch.paged ||= outcome.escalated
    if (watch.rollout != null) takeVerdict(watch.rollout, outcome.commandId, outcome)
    if (outcome.verdict === 'healed' && !tookOutcomeIn(watch)) watch.holdUntilMs = nowMs + HEALED_HOLD_MS
  }
  // Others may have waited for this target or for room in the blast radius.
  return decideAll(state, nowMs, random, rules)
}

/** Levels lost to drift, and levels earned: people are told of both, and when it is over. */
function reviewPolicies(state: DecideState, nowMs: number, rules: DecideRules): void {
  for (const policy of rules.policies.policies) {
    for (const news of reviewTrust(state, policy, nowMs)) tellTrust(state, policy, news, nowMs, rules.escalation)
  }
  endTrust(state, rules.policies)
}

function onTick(state: DecideState, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  if (state.policiesVersion !== rules.policies.version) return onPolicies(state, nowMs, random, rules)
  const orphans = giveUpOrphans(state, nowMs)
  for (const { incidentId, commandId } of orphans) {
    const rollout = state.watches[incidentId]?.rollout
    if (rollout != null) takeVerdict(rollout, commandId, undefined)
  }
  if (orphans.length > 0) return decideAll(state, nowMs, random, rules)
  return Object.values(state.watches)
    .filter(watch => isDue(watch.retryAtMs, nowMs) || isDue(watch.holdUntilMs, nowMs) || watch.unattended === undefined) // Of an earlier release.
    .flatMap(watch => decideOne(state, watch, nowMs, random, rules))
}

const isDue = (atMs: number | null, nowMs: number): boolean => atMs !== null && atMs <= nowMs

/** Other policies are in force: since the last look, or since whoever had this state before. */
function onPolicies(state: DecideState, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  state.policiesVersion = rules.policies.version
  reviewPolicies(state, nowMs, rules)
  return decideAll(state, nowMs, random, rules)
}

/** A person released a target: what was given up there is judged again. Shared with rebuilding. @param sinceMs not what was given up later */
export function reopenEscalated(state: DecideState, target: string, sinceMs = Number.POSITIVE_INFINITY): void {
  for (const watch of Object.values(state.watches)) {
    if (!watch.escalated || watch.last?.target !== target || watch.last.decidedAtMs > sinceMs) continue
    watch.escalated = false
    delete watch.stopped
  }
}

function decideAll(state: DecideState, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  return Object.values(state.watches).flatMap(watch => decideOne(state, watch, nowMs, random, rules))
}

function decideOne(state: DecideState, watch: Watch, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  watch.retryAtMs = null
  if (watch.escalated) return attended(watch)
  if (watch.rollout != null) return goThrough(state, watch, watch.rollout, nowMs, random, rules)
  if (watch.incident.healedAtMs !== null) return attended(watch)
  if (watch.holdUntilMs !== null) {
    if (nowMs < watch.holdUntilMs) return attended(watch)
    watch.holdUntilMs = null
  }
  if (isInFlight(state, watch)) return attended(watch) // Its own command runs: the outcome is the next news.
  const judgement = judge(state, watch, rules.policies, nowMs)
  const effects = record(state, watch, judgement, nowMs, random, rules)
  return watch.rollout == null ? effects : [...effects, ...goThrough(state, watch, watch.rollout, nowMs, random, rules)]
}

/**
 * Goes on with a rollout: as many members as its stage and the guards let, or what has to be taken back. What one member's heal says of
 * the incident does not end it; that the incident is over does, with the watch.
 */
function goThrough(state: DecideState, watch: Watch, rollout: Rollout, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  const next = nextOf(rollout)
  const end = (): DecideEffect[] => {
    watch.rollout = null
    return decideOne(state, watch, nowMs, random, rules)
  }
  const stopped = (also?: string): DecideEffect[] => {
    watch.stopped = { ...watch.stopped, [rollout.runbook.name]: stoppedOf(rollout, also) }
    watch.holdUntilMs = null // What one member's heal promised is over.
    return end()
  }
  if (next.kind === 'await') return attended(watch)
  if (next.kind === 'over' && next.isHealed) return end()
  if (next.kind === 'over') return stopped()
  if (next.kind === 'act' && !isCurrent(rollout, watch, rules.policies)) return hasInFlight(rollout.acts) ? attended(watch) : end() // Decided anew, by what is in force now.
  const judgement =
    next.kind === 'act'
      ? judgeMember(state, watch, rollout, next.member, rules.policies, nowMs)
      : judgeUndo(state, watch, rollout, next.act, rules.policies, nowMs)
  if (judgement === undefined) return stopped('its policy is gone')
  const effects = record(state, watch, judgement, nowMs, random, rules)
  return judgement.outcome === 'act' && effects.length > 0 ? [...effects, ...goThrough(state, watch, rollout, nowMs, random, rules)] : effects
}

function isInFlight(state: DecideState, { incident, last }: Watch): boolean {
  if (!last?.commandId || last.target === null) return false
  return targetOf(state, incident.environment, last.target).attempts.some(attempt => attempt.commandId === last.commandId && attempt.verdict === null)
}

/** Whether diagnose's record already reflects the last outcome: healed, or no longer acting on a command that it counts. */
function tookOutcomeIn({ incident, attempts }: Watch): boolean {
  return incident.healedAtMs !== null || (incident.status !== 'acting' && incident.attempts >= attempts)
}

/** Publishes what is new in a judgement, and the command where it is to act. That people are called for want of any act is news too. */
function record(state: DecideState, watch: Watch, judgement: Judgement, nowMs: number, random: Random, rules: DecideRules): DecideEffect[] {
  const { retryAtMs, chosen, ...said } = judgement
  const policy = rules.policies.policies.find(({ name }) => name === said.policy)
  const callAtMs = noteUnattended(watch, said, policy, rules.escalation, nowMs)
  const isOverdue = isDue(callAtMs, nowMs)
  watch.retryAtMs = isOverdue ? retryAtMs : earlier(retryAtMs, callAtMs)
  const answer = answerOf(judgement)
  const isNew = answer !== watch.answer
  if (!isNew && !isOverdue) return []
  const id = derivedId('decision', watch.incident.id, watch.sequence, answer)
  const plan = said.outcome === 'act' && chosen !== null ? planOf(chosen, said.attempt) : undefined
  const decision: Decision = { id, ...said, commandId: plan === undefined ? null : commandId(plan), callAtMs: isOverdue ? null : callAtMs }
  if (isOverdue) decision.reason = `nothing was done about it for ${span(policy!.spec.escalate.blockedFor)}: ${said.reason}`
  watch.sequence++
  watch.answer = answer
  watch.last = lastOf(decision)
  const anomalyIds = watch.incident.members.map(member => member.anomalyId)
  if (isNew && undoesOf(chosen?.turn) === null) addTrial(state, decision, anomalyIds)
  const effects: DecideEffect[] = [{ kind: 'publish_decision', record: decision }]
  if (chosen !== null && (said.outcome === 'ask' || (said.outcome === 'would_act' && said.autonomy === 'suggest'))) {
    const subject = askSubject(decision, decision.guards)
    if (watch.ask?.subject !== subject) watch.ask = { decisionId: id, askedAtMs: nowMs, subject }
    // What made it a question may pass before people answer.
    watch.retryAtMs = earlier(watch.ask.askedAtMs + chosen.policy.spec.approval.expiresAfter, watch.retryAtMs)
  }
  if (said.outcome === 'escalate') watch.escalated = true
  if (plan !== undefined) {
    const target = targetOf(state, watch.incident.environment, plan.target)
    const command = makeCommand({ ...plan, decisionId: id, fenceBefore: target.fence, nonce: random.uuid(), nowMs, expiryMs: rules.config.commandExpiry })
    target.fence = command.fence
    const attempt = { ...attemptOf(command, random.next() * 2 - 1), steppedMs: state.steppedMs }
    addAttempt(target, attempt)
    decision.outcomeByMs = attempt.deadlineMs
    watch.attempts = Math.max(watch.attempts, command.attempt)
    noteTurn(watch, plan.turn, command.id)
    effects.push({ kind: 'publish_command', record: command })
  }
  const call = callFor(state, watch, decision, isOverdue, policy, rules.escalation, nowMs)
  decision.calledPeople = call !== undefined && call.fromMs === undefined
  decision.callAtMs = call?.fromMs ?? decision.callAtMs
  if (call !== undefined && !advanceCall(state, call, rules.escalation, nowMs)) effects.push({ kind: 'ignored', reason: 'pages_max' })
  return effects
}

/** What its id and its command are made from. */
function planOf({ incident, cause, policy, runbook, target, turn }: GuardContext, attempt: number) {
  return { incident, cause, policy, runbook, target, turn, attempt }
}

const earlier = (a: number | null, b: number | null): number | null => (a === null || b === null ? (a ?? b) : Math.min(a, b))
