// Judges one incident: which policy, which runbook, what every guard says, and hence the decision. Pure; changes nothing.
//
//   no policy | no runbook → none          only the autonomy level is in the way → would_act
//   all allow → act                        a person is asked → ask
//   budget used up, flapping, frozen, unanswered question → escalate          else → blocked, looked at again

import type { Autonomy, BlockReason, Decision, GuardResult } from '../../schemas/decision.ts'
import type { Cause, Incident } from '../../schemas/incident.ts'
import { entityService } from '../../schemas/entity.ts'
import { evaluateCondition } from '../cel.ts'
import { type Candidate, candidateOf, rankCandidates } from './candidates.ts'
import { decidingLevel } from './guards/approval.ts'
import type { GuardContext } from './guards/guard.ts'
import { telemetryBack, telemetryMissing } from './guards/freshness.ts'
import { askGuards, GUARDS, UNDO_GUARDS } from './guards/guards.ts'
import type { LoadedPolicy, PolicySet } from './policy-file.ts'
import type { MemberAct, Rollout } from './rollout.ts'
import { firstTurn, memberTurn, undoesOf } from './rollout-turn.ts'
import { type DecideState, inFlight, targetKey, targetOf, type Watch } from './state.ts'

/** A decision without its identity. */
export type Judgement = Omit<Decision, 'id' | 'commandId'> & {
  /** When to look again; null when only an event can change the answer. */
  retryAtMs: number | null
  /** What an act or a question is about; null when there is nothing to do. */
  chosen: GuardContext | null
}

/** Guards whose refusal means that automation is at its end here, and a person is called. */
const GIVES_UP: readonly string[] = ['attempt_budget', 'flapping', 'target_frozen', 'ownership', 'approval', 'stages']
/** While these hold, nobody is called: people stopped or announced it themselves. */
const SILENCES: readonly string[] = ['kill_switch', 'maintenance_window', 'deploy_window']

/** Judges the incident of a watch at `nowMs`. O(policies + candidates · guards). */
export function judge(state: DecideState, watch: Watch, set: PolicySet, nowMs: number): Judgement {
  const { incident } = watch
  const cause = incident.causes[0]
  if (cause === undefined) return nothing(watch, nowMs, null, null, 'no_policy', 'the incident has no cause yet')
  if (cause.signature === 'telemetry_gap') return blind(watch, set, cause, nowMs)
  const policy = policyFor(incident, cause, set)
  if (policy === undefined) return nothing(watch, nowMs, null, cause, 'no_policy', `no policy matches ${cause.entity} (${cause.signature})`)
  const attempts = state.targets[targetKey(incident.environment, cause.entity)]?.attempts ?? []
  const candidates = rankCandidates(policy, set, cause, state, attempts, incident.id)
  if (candidates.length === 0) {
    return nothing(watch, nowMs, policy, cause, 'no_runbook', `no runbook of ${policy.name} answers the signature ${cause.signature}`)
  }
  const judged = candidates.map(candidate => {
    const turn = firstTurn(state, watch, policy, candidate.runbook, cause, nowMs)
    const target = turn === undefined || 'problem' in turn ? cause.entity : turn.member
    return judgeCandidate(candidate, { nowMs, cause, policy, target, watch, state, turn })
  })
  // What one left in doubt is for people first. Else the best that is not refused; a wait holds its place, so that a cooldown is
  // not evaded by the next runbook.
  const forPeople = judged.find(({ candidate }) => watch.stopped?.[candidate.runbook.name]?.isForPeople)
  const chosen = forPeople ?? judged.find(one => !one.guards.some(result => result.verdict === 'refuse' && result.guard !== 'autonomy')) ?? judged[0]!
  return verdictOf(chosen, candidates)
}

function policyFor(incident: Incident, cause: Cause, set: PolicySet): LoadedPolicy | undefined {
  return set.policies.find(candidate => evaluateCondition(candidate.match, { incident, cause }).holds)
}

/** Whether a rollout is still what its incident calls for: same policy and runbook, same group. */
export function isCurrent(rollout: Rollout, { incident }: Watch, set: PolicySet): boolean {
  const cause = incident.causes[0]
  if (cause === undefined || entityService(cause.entity) !== rollout.group) return false
  const policy = policyFor(incident, cause, set)
  return (
    policy?.name === rollout.policy && policy.version === rollout.policyVersion && set.runbooks.get(rollout.runbook.name)?.version === rollout.runbook.version
  )
}

/** Judges the next act of a rollout that runs and is current: every guard is asked about the member. */
export function judgeMember(state: DecideState, watch: Watch, rollout: Rollout, member: string, set: PolicySet, nowMs: number): Judgement {
  const cause = watch.incident.causes[0]!
  const policy = policyFor(watch.incident, cause, set)!
  const candidate = candidateOf(set.runbooks.get(rollout.runbook.name)!, cause, state)
  const turn = memberTurn(state, watch.incident, cause, rollout, member, nowMs)
  return verdictOf(judgeCandidate(candidate, { nowMs, cause, policy, target: member, watch, state, turn }))
}

/** Judges taking back what a rollout did to a member. @returns undefined when its policy is gone: nobody says any more what holds */
export function judgeUndo(state: DecideState, watch: Watch, rollout: Rollout, act: MemberAct, set: PolicySet, nowMs: number): Judgement | undefined {
  const { cause, runbook } = rollout
  const policy = set.policies.find(({ name }) => name === rollout.policy)
  if (policy === undefined) return undefined
  const candidate = candidateOf(runbook, cause, state)
  const turn = { rollout, member: act.member, undoes: act.commandId }
  return verdictOf(judgeCandidate(candidate, { nowMs, cause, policy, target: act.member, watch, state, turn }))
}

interface Judged {
  candidate: Candidate
  context: GuardContext
  guards: GuardResult[]
}

/** What every guard says of a candidate; `question`: of what act, when. */
function judgeCandidate(candidate: Candidate, question: Omit<GuardContext, 'incident' | 'runbook' | 'targetState' | 'inFlight'>): Judged {
  const { state, watch, target, turn } = question
  const { incident } = watch
  const context: GuardContext = {
    ...question,
    incident,
    runbook: candidate.runbook,
    targetState: targetOf(state, incident.environment, target),
    inFlight: inFlight(state, incident.environment)
  }
  return { candidate, context, guards: askGuards(context, undoesOf(turn) === null ? GUARDS : UNDO_GUARDS) }
}

/** @param candidates all that were judged, in their order */
function verdictOf(chosen: Judged, candidates: readonly Candidate[] = [chosen.candidate]): Judgement {
  const { guards, candidate, context } = chosen
  const { nowMs, watch, policy } = context
  const blocking = guards.filter(result => result.verdict === 'refuse' || result.verdict === 'wait')
  const asking = guards.filter(result => result.verdict === 'ask')
  const level = decidingLevel(context)
  const outcome = outcomeOf(level, blocking, asking)
  const retries = [...blocking, ...asking].flatMap(result => (result.retryAtMs === null ? [] : [result.retryAtMs]))
  return {
    ...common(watch.incident, nowMs),
    policy: policy.name,
    policyVersion: policy.version,
    runbook: candidate.runbook.name,
    runbookVersion: candidate.runbook.version,
    target: context.target,
    autonomy: level,
    outcome,
    blockedBy: guards.filter(result => result.verdict !== 'allow').map(result => result.guard),
    guards,
    candidates: candidates.map(({ runbook, successMean, successes, failures, reason }) => ({
      runbook: runbook.name,
      risk: runbook.spec.risk,
      successMean,
      successes,
      failures,
      chosen: runbook === candidate.runbook,
      reason
    })),
    attempt: watch.attempts + 1,
    reason: reasonOf(outcome, chosen, blocking, asking),
    retryAtMs: retries.length > 0 ? Math.min(...retries) : null,
    chosen: context
  }
}

function outcomeOf(level: Autonomy, blocking: readonly GuardResult[], asking: readonly GuardResult[]): Decision['outcome'] {
  const withoutLevel = blocking.filter(result => result.guard !== 'autonomy')
  if (blocking.length === 0) return asking.length === 0 ? 'act' : 'ask'
  if (withoutLevel.length === 0) return 'would_act'
  const mayAct = level === 'auto' || level === 'approve'
  const gaveUp = withoutLevel.some(result => result.verdict === 'refuse' && GIVES_UP.includes(result.guard))
  const silenced = withoutLevel.some(result => SILENCES.includes(result.guard))
  // A fault that is over needs nobody, whatever else is used up; a target that is frozen does all the same.
  const cleared = withoutLevel.some(result => result.guard === 'evidence')
  const frozen = withoutLevel.some(result => result.guard === 'target_frozen' && result.inputs.frozen === true)
  return mayAct && gaveUp && !silenced && (frozen || !cleared) ? 'escalate' : 'blocked'
}

function reasonOf(
  outcome: Decision['outcome'],
  { candidate, context, guards }: Judged,
  blocking: readonly GuardResult[],
  asking: readonly GuardResult[]
): string {
  const what = `${candidate.runbook.name} on ${context.target}`
  const inStage = guards.find(({ guard }) => guard === 'stages')?.reason
  switch (outcome) {
    case 'act':
      return `${what}: ${inStage ?? candidate.reason}`
    case 'would_act':
      return `would run ${what}: ${blocking[0]!.reason}`
    case 'ask':
      return `${what} awaits people${inStage === undefined ? '' : `, a yes is for all of its stage (${inStage})`}: ${asking[0]!.reason}`
    case 'escalate':
      return `${what} is over to people: ${blocking.find(result => result.verdict === 'refuse' && GIVES_UP.includes(result.guard))!.reason}`
    default:
      return `${what} is blocked: ${blocking.map(result => result.reason).join('; ')}`
  }
}

function nothing(watch: Watch, nowMs: number, policy: LoadedPolicy | null, cause: Cause | null, blockedBy: BlockReason, reason: string): Judgement {
  return {
    ...common(watch.incident, nowMs),
    policy: policy?.name ?? null,
    policyVersion: policy?.version ?? '',
    runbook: null,
    runbookVersion: '',
    target: cause?.entity ?? null,
    autonomy: policy?.spec.autonomy ?? 'observe',
    outcome: 'none',
    blockedBy: [blockedBy],
    guards: [],
    candidates: [],
    attempt: watch.attempts + 1,
    reason,
    retryAtMs: null,
    chosen: null
  }
}

/** Telemetry is missing: no runbook acts on that. A policy of what is silent says who is called when it stays so (unattended.ts). */
function blind(watch: Watch, set: PolicySet, cause: Cause, nowMs: number): Judgement {
  const { incident } = watch
  const guard = cause.open === false ? telemetryBack() : telemetryMissing(incident, cause)
  return {
    ...nothing(watch, nowMs, policyOfSilent(incident, cause, set) ?? null, cause, guard.guard, guard.reason),
    outcome: 'blocked',
    guards: [guard]
  }
}

/** The policy about what is missing, else one about an entity that is silent; one that may act before one that may not. */
function policyOfSilent(incident: Incident, cause: Cause, set: PolicySet): LoadedPolicy | undefined {
  const silent = incident.members.filter(({ direction }) => direction === 'absent')
  const causes = [cause, ...silent.map(({ entity, service }): Cause => ({ ...cause, entity, service, signature: 'silent' }))]
  const found = causes.flatMap(one => policyFor(incident, one, set) ?? [])
  return found.find(({ spec }) => spec.autonomy === 'auto' || spec.autonomy === 'approve') ?? found[0]
}

function common(incident: Incident, nowMs: number) {
  return { incidentId: incident.id, environment: incident.environment, decidedAtMs: nowMs, incidentOpenedAtMs: incident.openedAtMs }
}

/** What a decision says, without times and figures: a new record is due when this changes. */
export function answerOf(decision: Omit<Decision, 'id' | 'commandId' | 'decidedAtMs'>): string {
  const { outcome, policy, policyVersion, runbook, runbookVersion, target, blockedBy, attempt } = decision
  return JSON.stringify([outcome, policy, policyVersion, runbook, runbookVersion, target, [...blockedBy].sort(), attempt])
}
