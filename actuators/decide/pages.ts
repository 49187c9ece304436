// Whom a decision calls, and when: for a question, for the end of automation, for what stays blocked, and for the end of the incident after it.
//
// One call an incident (escalate/calls.ts), whatever the actuators and the decisions say of it. A target that keeps breaking
// calls people once per budget window, not once per incident.

import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { EscalationRules } from '../../schemas/escalation.ts'
import type { Incident } from '../../schemas/incident.ts'
import { acknowledgeCall, advanceCall, type Call, endCall, ON_CALL, openCall, urgencyOf, worsenCall } from '../escalate/calls.ts'
import type { LoadedPolicy, PolicySet } from './policy-file.ts'
import { type DecideState, targetOf, type Watch } from './state.ts'
import type { TrustNews } from './trust.ts'

const GUARDS_SHOWN = ['refuse', 'ask', 'wait']
/** Automation that waits for one of these does not heal for a while, and people should know. */
const HOLDS: readonly string[] = ['attempt_budget', 'storm', 'cost_budget']
/** What people announced, and faults that are over, need no page. */
const QUIET: readonly string[] = ['evidence', 'kill_switch', 'maintenance_window', 'deploy_window']
const HELD_AGAIN_MS = 3_600_000 // A storm is one page an hour, not one an incident.
const SIGNS_SHOWN = 10 // A person reads the strongest; the incident has them all.

/**
 * The call for what this decision has to tell, to be advanced; undefined when it tells nobody.
 * @param isOverdue nothing was done about the incident for so long that people are called
 */
export function callFor(
  state: DecideState,
  watch: Watch,
  decision: Decision,
  isOverdue: boolean,
  policy: LoadedPolicy | undefined,
  rules: EscalationRules | undefined,
  nowMs: number
): Call | undefined {
  if (decision.outcome !== 'ask' && decision.outcome !== 'escalate' && !isOverdue && !tellsOfHold(state, decision, nowMs)) return undefined
  if (policy === undefined || decision.target === null) return undefined
  const { incident } = watch
  let fromMs: number | undefined
  if (decision.outcome === 'escalate') {
    const target = targetOf(state, decision.environment, decision.target)
    const told = target.escalatedAtMs !== null && nowMs - target.escalatedAtMs < policy.spec.attempts.window
    // They know the target; this incident is one of its own when it does not pass by itself.
    if (told && (watch.paged || urgencyOf(incident, rules) === 'ticket')) return undefined
    if (told) fromMs = nowMs + policy.spec.escalate.blockedFor
    else target.escalatedAtMs = nowMs
  } else if (watch.paged) return undefined
  const summary = `${incident.title}: ${decision.reason}${isOverdue ? changesOf(decision) : ''}`
  const call = openOf(state, watch, decision, policy, summary, fromMs)
  // Who owns it is looked up outside; without rules nobody asks.
  if (rules === undefined) call.owner = null
  return call
}

/** The call that a decision had promised for later, in a state that is made from what was published. */
export function promisedCall(state: DecideState, watch: Watch, decision: Decision, policy: LoadedPolicy): Call {
  return openOf(state, watch, decision, policy, `${watch.incident.title}: ${decision.reason}`, decision.callAtMs ?? undefined)
}

function openOf(state: DecideState, watch: Watch, decision: Decision, policy: LoadedPolicy, summary: string, fromMs: number | undefined): Call {
  watch.paged = true
  const { id, environment, severity } = watch.incident
  const news = {
    ...{ incidentId: id, environment, severity, summary },
    entity: decision.target!,
    channels: [...policy.spec.escalate.channels],
    details: detailsOf(watch, decision),
    ...(fromMs === undefined ? {} : { fromMs })
  }
  return openCall(state, news, decision.outcome === 'escalate', decision.decidedAtMs)
}

/** What would change the answer, for channels that show a line of text only. */
function changesOf({ guards }: Decision): string {
  const changes = guards.filter(({ verdict }) => GUARDS_SHOWN.includes(verdict)).map(({ counterfactual }) => counterfactual)
  return changes.length === 0 ? '' : `. What would change that: ${changes.join(' ')}`
}

function detailsOf({ incident, attempts }: Watch, decision: Decision) {
  return {
    incidentId: incident.id,
    decisionId: decision.id,
    environment: incident.environment,
    policy: decision.policy,
    runbook: decision.runbook,
    target: decision.target,
    attempts,
    evidence: incident.causes[0]?.evidence ?? [],
    signs: incident.members
      .filter(member => member.closedAtMs === null)
      .slice(0, SIGNS_SHOWN)
      .map(({ anomalyId, entity, metric, attributes, observed, expected, reason }) => ({ anomalyId, entity, metric, attributes, observed, expected, reason })),
    blockedBy:
      decision.outcome === 'none'
        ? decision.blockedBy.map(guard => ({ guard, reason: decision.reason, counterfactual: `A runbook of ${decision.policy} for this kind of trouble.` }))
        : decision.guards
            .filter(result => GUARDS_SHOWN.includes(result.verdict))
            .map(({ guard, reason, counterfactual }) => ({ guard, reason, counterfactual }))
  }
}

/** Whether automation that would act is held back by something that people should know, and were not told of lately. */
function tellsOfHold(state: DecideState, decision: Decision, nowMs: number): boolean {
  if (decision.outcome !== 'blocked' || (decision.autonomy !== 'auto' && decision.autonomy !== 'approve')) return false
  if (decision.blockedBy.some(guard => QUIET.includes(guard))) return false
  const held = decision.guards.find(result => result.verdict === 'wait' && HOLDS.includes(result.guard))
  if (held === undefined) return false
  const key = `${decision.environment}|${held.guard}`
  if (nowMs - (state.heldTold[key] ?? Number.NEGATIVE_INFINITY) < HELD_AGAIN_MS) return false
  state.heldTold[key] = nowMs
  return true
}

/**
 * Tells people that a policy lost a level, or has earned one that they may give it: its channels once, nobody need answer. It is over
 * when it is true no more (`endTrust`): a person gave the level back, or took the proposal, or the record no longer supports it.
 */
export function tellTrust(state: DecideState, policy: LoadedPolicy, news: TrustNews, nowMs: number, rules: EscalationRules | undefined): void {
  const isLoss = news.kind === 'demoted'
  const id = `policy/${policy.name}/${isLoss ? news.atMs : news.level}`
  const summary = isLoss
    ? `policy ${policy.name} lost a level of autonomy: ${news.reason}`
    : `policy ${policy.name} has earned the level ${news.level}: ${news.reason}`
  const severity = isLoss ? ('warning' as const) : ('info' as const)
  const details = { policy: policy.name, fileLevel: policy.spec.autonomy, reason: news.reason }
  const call = openCall(
    state,
    { incidentId: id, environment: '', entity: '', channels: [...policy.spec.escalate.channels], severity, summary, details },
    false,
    nowMs
  )
  call.owner = null
  advanceCall(state, call, rules, nowMs)
  call.isExhausted = true // One step is enough for what nobody need answer.
}

/** Ends what people were told of a policy's trust and is true no more. */
export function endTrust(state: DecideState, policies: PolicySet): void {
  for (const id of Object.keys(state.calls)) {
    const [, name, news] = TRUST_CALL.exec(id) ?? []
    if (name === undefined) continue
    const { demotions = [], proposed = null } = policies.policies.some(policy => policy.name === name) ? (state.trust[name] ?? {}) : {}
    if ([...demotions.map(({ atMs }) => String(atMs)), proposed].includes(news!)) continue
    endCall(state, id, `policy ${name}: its level was given, or what was told of it holds no more`, { policy: name })
  }
}

/** Name of the policy, and the level that it earned or the time of its loss. Ids of incidents are hex digits. */
const TRUST_CALL = /^policy\/([^/]+)\/(.+)$/

/** Tells everyone who was called that the incident is over; never held back. */
export function resolvePages(state: DecideState, watch: Watch, incident: Incident, policies: PolicySet, rules: EscalationRules | undefined = undefined): void {
  const summary = `${incident.title}: over (${incident.resolution})`
  const { id, resolution, healedAtMs, attempts } = incident
  const details = { incidentId: id, resolution, healedAtMs, attempts }
  if (endCall(state, id, summary, details) || !watch.paged) return
  // Somebody was paged, and who is no longer known: an actuator did it, or the checkpoint was lost. Whoever may have been hears it.
  const policy = policies.policies.find(one => one.name === watch.last?.policy)
  const channels = policy?.spec.escalate.channels ?? [ON_CALL]
  const { environment, severity } = incident
  const entity = watch.last?.target ?? incident.causes[0]?.entity ?? ''
  const call = openCall(state, { incidentId: id, environment, entity, channels: [...channels], severity, summary, details }, false, 0)
  const onCall =
    rules === undefined || !channels.includes(ON_CALL) ? [] : Object.values(rules.onCall).flatMap(({ page }) => page.flatMap(step => step.channels))
  const known = onCall.length === 0 ? channels : [...channels.filter(channel => channel !== ON_CALL), ...onCall]
  for (const channel of new Set(known)) call.told[channel] = { severity, urgency: 'page' }
  endCall(state, id, summary, details)
}

/** Somebody has it: who says so, and who answers its question. */
export function takeAnswer(state: DecideState, control: Control): void {
  if (control.kind !== 'acknowledgement' && control.kind !== 'approval') return
  const watch = state.watches[control.incidentId]
  if (state.calls[control.incidentId] === undefined && watch !== undefined && control.kind === 'acknowledgement') watch.takenBy = control.by
  acknowledgeCall(state, control.incidentId, control.by)
}

/** News of an open incident: a ticket may have become a page. */
export function worsen(state: DecideState, { id, severity }: Incident, rules: EscalationRules | undefined, nowMs: number): void {
  const call = state.calls[id]
  if (call !== undefined && worsenCall(call, severity, rules, nowMs)) advanceCall(state, call, rules, nowMs)
}

/** A call is due, or its owner is known now. */
export function onCallDue(state: DecideState, event: { incidentId: string; owner?: string | null }, rules: EscalationRules | undefined, nowMs: number): void {
  const call = state.calls[event.incidentId]
  if (call === undefined) return
  if (event.owner !== undefined) call.owner ??= event.owner
  advanceCall(state, call, rules, nowMs)
}
