// Attempt budget: at most `max` attempts of a runbook on a target within the window, over all verdicts and all incidents.
//
// A fix that "works" and has to be repeated masks the real fault, so healed attempts count as well; how many of them came
// back within the recurrence window is shown. When the budget is used up a person is called, once.

import { recentAttempts } from './cooldown.ts'
import { allow, type Guard, refuse, span } from './guard.ts'

export const attemptBudget: Guard = ({ nowMs, policy, runbook, target, targetState }) => {
  const { max, window } = policy.spec.attempts
  const tries = recentAttempts(targetState.attempts, runbook.name, nowMs - window)
  const recurrences = tries.filter(attempt => {
    const { healedAtMs, incidentId } = attempt
    return (
      healedAtMs !== null &&
      targetState.onsets.some(onset => onset.incidentId !== incidentId && onset.atMs >= healedAtMs && onset.atMs - healedAtMs <= policy.spec.recurrenceWindow)
    )
  }).length
  const verdicts = tries.map(attempt => attempt.verdict ?? 'in flight').join(', ')
  const inputs = { attempts: tries.length, max, windowMs: window, recurrences, verdicts }
  if (tries.length < max) return allow('attempt_budget', inputs, `${tries.length} of ${max} attempts used within ${span(window)}`)
  const reason = `${runbook.name} was tried ${tries.length} times on ${target} within ${span(window)} (${verdicts}; ${recurrences} came back): the budget is used up`
  return refuse('attempt_budget', inputs, reason, `attempts.max above ${max}, or a person's look at ${target}.`)
}
