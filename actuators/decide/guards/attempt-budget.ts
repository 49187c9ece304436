// Attempt budget: at most so many attempts within a window: of a runbook on a target, of a runbook anywhere, of anything in the
// environment. All verdicts and all incidents count.
//
// A fix that "works" and has to be repeated masks the real fault, so healed attempts count as well; how many of them came
// back within the recurrence window is shown. When the target's budget is used up a person is called, once; the wider ones
// refill with time, so the incident waits (and a person is told).

import { attemptsIn, type Attempt, type DecideState } from '../state.ts'
import { endOf, recentAttempts } from './cooldown.ts'
import { allow, type Guard, type GuardContext, refuse, span, times, wait } from './guard.ts'

export const attemptBudget: Guard = context => {
  const { nowMs, incident, policy, runbook, target, targetState, state } = context
  const { max, window, ...wider } = policy.spec.attempts
  const tries = recentAttempts(targetState.attempts, runbook.name, nowMs - window, state)
  const recurrences = tries.filter(attempt => cameBack(context, attempt)).length
  const verdicts = tries.map(attempt => attempt.verdict ?? 'in flight').join(', ')
  const sinceMs = nowMs - Math.max(wider.runbook.window, wider.environment.window)
  const everywhere = attemptsIn(state, incident.environment, attempt => endOf(attempt, state) >= sinceMs)
  const ofRunbook = recentAttempts(everywhere, runbook.name, nowMs - wider.runbook.window, state)
  const ofAll = everywhere.filter(attempt => endOf(attempt, state) >= nowMs - wider.environment.window)
  const inputs = {
    attempts: tries.length,
    max,
    windowMs: window,
    recurrences,
    verdicts,
    ofRunbook: ofRunbook.length,
    ofRunbookMax: wider.runbook.max,
    inEnvironment: ofAll.length,
    inEnvironmentMax: wider.environment.max
  }
  if (tries.length >= max) {
    const reason = `${runbook.name} was tried ${times(tries.length)} on ${target} within ${span(window)} (${verdicts}${recurrences > 0 ? `; ${recurrences} came back` : ''}): the budget is used up`
    return refuse('attempt_budget', inputs, reason, `attempts.max above ${max}, or a person's look at ${target}.`)
  }
  const scopes = [
    { what: runbook.name, key: 'runbook', used: ofRunbook, ...wider.runbook },
    { what: `automation in ${incident.environment}`, key: 'environment', used: ofAll, ...wider.environment }
  ]
  for (const scope of scopes) {
    if (scope.used.length < scope.max) continue
    const reason = `${scope.what} acted ${scope.used.length} times within ${span(scope.window)}: the budget is used up`
    return wait(
      'attempt_budget',
      inputs,
      reason,
      `attempts.${scope.key}.max above ${scope.used.length}, or time.`,
      refillMs(scope.used, scope.max, scope.window, state)
    )
  }
  return allow('attempt_budget', inputs, `${tries.length} of ${max} attempts used within ${span(window)}`)
}

function cameBack({ targetState, policy }: GuardContext, { healedAtMs, incidentId }: Attempt): boolean {
  return (
    healedAtMs !== null &&
    targetState.onsets.some(onset => onset.incidentId !== incidentId && onset.atMs >= healedAtMs && onset.atMs - healedAtMs <= policy.spec.recurrenceWindow)
  )
}

/** When so many have left the window that one more fits. */
function refillMs(used: readonly Attempt[], max: number, windowMs: number, state: DecideState): number {
  const ends = used.map(attempt => endOf(attempt, state)).sort((a, b) => a - b)
  return ends[ends.length - max]! + windowMs + 1 // At the window's edge it still counts.
}
