// Incidents that nobody attends to: open, of a severity that pages, under a policy that is trusted to act, and still nothing is done,
// nobody is asked and nobody was called. After `escalate.blockedFor` of that people are called, once an incident.
//
// Time in which people hold acting back themselves does not count, nor time in which the fault is over or a storm is told already; it
// goes on where it stood. Only an act begins it anew.

import type { Decision, GuardResult } from '../../schemas/decision.ts'
import type { EscalationRules } from '../../schemas/escalation.ts'
import { urgencyOf } from '../escalate/calls.ts'
import { isTelling } from './guards/evidence.ts'
import type { LoadedPolicy } from './policy-file.ts'
import type { DecideState, Watch } from './state.ts'

/** Guards that hold acting back by people's will, or whose hold is told once for the whole environment. */
const HELD: Readonly<Partial<Record<GuardResult['guard'], (result: GuardResult) => boolean>>> = {
  kill_switch: () => true,
  maintenance_window: () => true,
  deploy_window: () => true,
  // Hands off after another's change; a command in flight elsewhere is nobody's will.
  ownership: ({ verdict, inputs }) => verdict === 'wait' && inputs.commandInFlight === null,
  storm: () => true,
  // `confirmFor`, and a silence that may yet prove to be one of many, are the only waits for evidence that end by time.
  evidence: ({ retryAtMs }) => retryAtMs !== null
}

type Look = Pick<Decision, 'outcome' | 'guards'>

/**
 * Notes what a look at the incident found.
 * @returns when people are called unless something is done before; null when time alone will not lead to it
 */
export function noteUnattended(watch: Watch, look: Look, policy: LoadedPolicy | undefined, rules: EscalationRules | undefined, nowMs: number): number | null {
  if (policy === undefined || !isUnattended(watch, look, policy, rules)) {
    watch.unattended = null
    return null
  }
  const { sinceMs, heldAtMs } = watch.unattended ?? { sinceMs: nowMs, heldAtMs: null }
  const isHeld = !watch.incident.members.some(isTelling) || look.guards.some(result => result.verdict !== 'allow' && HELD[result.guard]?.(result))
  const countedSinceMs = heldAtMs === null ? sinceMs : sinceMs + nowMs - heldAtMs
  watch.unattended = { sinceMs: countedSinceMs, heldAtMs: isHeld ? nowMs : null }
  return isHeld ? null : countedSinceMs + policy.spec.escalate.blockedFor
}

function isUnattended({ incident, paged, takenBy }: Watch, { outcome }: Look, { spec }: LoadedPolicy, rules: EscalationRules | undefined): boolean {
  if (paged || takenBy !== undefined || outcome === 'act' || outcome === 'ask' || outcome === 'escalate') return false
  // By the level of its file: who trusted it to act relies on it, also after it lost a level.
  return (spec.autonomy === 'auto' || spec.autonomy === 'approve') && urgencyOf(incident, rules) === 'page'
}

/** Nothing is decided, for something is done about it already. */
export function attended(watch: Watch): [] {
  watch.unattended = null
  return []
}

/** The wall clock was set: what was counted stays what it was. */
export function shiftUnattended(state: Pick<DecideState, 'watches'>, byMs: number): void {
  for (const { unattended } of Object.values(state.watches)) {
    if (unattended == null) continue
    unattended.sinceMs += byMs
    if (unattended.heldAtMs !== null) unattended.heldAtMs += byMs
  }
}
