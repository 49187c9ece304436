// Whom to tell, and when: a question once, the end of automation once, the end of the incident always after either.
//
// One page an incident: the incident's id is the dedup key, as in the actuator's own pages. A target that keeps breaking
// calls people once per budget window, not once per incident. Pages wait in the state until their channel took them.

import type { Decision } from '../../schemas/decision.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Page } from '../../schemas/ports.ts'
import type { PolicySet } from './policy-file.ts'
import { type DecideState, PAGES_MAX, targetOf, type Watch } from './state.ts'

const GUARDS_SHOWN = ['refuse', 'ask', 'wait']

/** Queues what this decision has to tell. @returns false when an older page had to be dropped for it */
export function pageFor(state: DecideState, watch: Watch, decision: Decision, policies: PolicySet, nowMs: number): boolean {
  if (decision.outcome !== 'ask' && decision.outcome !== 'escalate') return true
  const policy = policies.policies.find(one => one.name === decision.policy)
  if (policy === undefined || decision.target === null) return true
  if (decision.outcome === 'escalate') {
    const target = targetOf(state, decision.environment, decision.target)
    const told = target.escalatedAtMs !== null && nowMs - target.escalatedAtMs < policy.spec.attempts.window
    if (told) return true
    target.escalatedAtMs = nowMs
  } else if (watch.paged) return true
  watch.paged = true
  const { incident } = watch
  const cause = incident.causes[0]
  const page: Page = {
    action: 'trigger',
    dedupKey: incident.id,
    severity: incident.severity,
    summary: `${incident.title}: ${decision.reason}`,
    details: {
      incidentId: incident.id,
      decisionId: decision.id,
      environment: incident.environment,
      policy: decision.policy,
      runbook: decision.runbook,
      target: decision.target,
      attempts: watch.attempts,
      evidence: cause?.evidence ?? [],
      blockedBy: decision.guards
        .filter(result => GUARDS_SHOWN.includes(result.verdict))
        .map(({ guard, reason, counterfactual }) => ({ guard, reason, counterfactual }))
    }
  }
  return queue(state, policy.spec.escalate.channels, page, decision.id)
}

/** Tells everyone who was paged that the incident is over; never held back. */
export function resolvePages(state: DecideState, watch: Watch, incident: Incident, policies: PolicySet): void {
  if (!watch.paged) return
  const policy = policies.policies.find(one => one.name === watch.last?.policy)
  const details = { incidentId: incident.id, resolution: incident.resolution, healedAtMs: incident.healedAtMs, attempts: incident.attempts }
  const page: Page = {
    action: 'resolve',
    dedupKey: incident.id,
    severity: incident.severity,
    summary: `${incident.title}: over (${incident.resolution})`,
    details
  }
  queue(state, policy?.spec.escalate.channels ?? ['default'], page, `resolve/${incident.id}`)
}

function queue(state: DecideState, channels: readonly string[], page: Page, subject: string): boolean {
  for (const channel of channels) {
    const id = derivedId('page', subject, channel)
    if (!state.pages.some(pending => pending.id === id)) state.pages.push({ id, channel, page })
  }
  const dropped = state.pages.length > PAGES_MAX
  if (dropped) state.pages.splice(0, state.pages.length - PAGES_MAX)
  return !dropped
}
