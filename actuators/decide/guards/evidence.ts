// Evidence: is the cause sure enough, seen long enough, and still there? A fault that is over must not be acted upon.

import type { IncidentMember } from '../../../schemas/incident.ts'
import { allow, type Guard, span, wait } from './guard.ts'

/** Diagnosis waits no longer for others that fell silent, too; more is left only since the clock was set back. */
const ALONE_WAIT_MS_MAX = 120_000

export const evidence: Guard = ({ nowMs, incident, cause, policy, state, watch }) => {
  const { causeScoreMin, membersMin } = policy.spec.evidence
  const telling = incident.members.filter(isTelling).length
  const steppedMs = state.steppedMs - (watch.steppedMs ?? state.steppedMs)
  const seenForMs = Math.max(0, nowMs - incident.openedAtMs - steppedMs)
  const inputs = {
    causeScore: cause.score,
    causeScoreMin,
    causeOpen: cause.open !== false,
    openMembers: telling,
    membersMin,
    omittedMembers: incident.membersOmitted,
    seenForMs,
    confirmForMs: policy.spec.confirmFor
  }
  if (telling === 0) {
    return wait('evidence', inputs, 'no anomaly of this incident is open: the condition has cleared', 'An open anomaly of warning or above.', null)
  }
  if (cause.open === false) {
    const reason = `the signs of ${cause.entity} have closed; what is still open does not point at it`
    return wait('evidence', inputs, reason, `An open anomaly of ${cause.entity} or of a caller that complains of it.`, null)
  }
  const aloneInMs = (cause.waitUntilMs ?? nowMs) - nowMs
  if (aloneInMs > 0 && aloneInMs <= ALONE_WAIT_MS_MAX) {
    const reason = `${cause.entity} is silent and nothing else is wrong: for ${span(aloneInMs)} more it may prove that others fell silent with it`
    return wait('evidence', inputs, reason, `${span(aloneInMs)} more, or a caller that complains of it.`, nowMs + aloneInMs)
  }
  if (cause.score < causeScoreMin) {
    const reason = `the first cause scores ${cause.score}, ${causeScoreMin} is needed`
    return wait('evidence', inputs, reason, `A cause score of at least ${causeScoreMin}, or evidence.causeScoreMin of at most ${cause.score}.`, null)
  }
  if (telling < membersMin) {
    return wait('evidence', inputs, `${telling} open anomalies, ${membersMin} are needed`, `${membersMin - telling} more open anomalies.`, null)
  }
  if (seenForMs < policy.spec.confirmFor) {
    const left = policy.spec.confirmFor - seenForMs
    return wait('evidence', inputs, `seen for ${span(seenForMs)} of ${span(policy.spec.confirmFor)}`, `${span(left)} more without recovery.`, nowMs + left)
  }
  return allow('evidence', inputs, `cause score ${cause.score} from ${telling} open anomalies`)
}

/** Whether an anomaly is open that tells of trouble, not just of something worth a note. */
export function isTelling(member: Pick<IncidentMember, 'closedAtMs' | 'severity'>): boolean {
  return member.closedAtMs === null && member.severity !== 'info'
}
