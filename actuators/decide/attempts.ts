// What a target remembers of the commands for it, and what is learned from their outcomes. Shared by deciding, rebuilding and replays.

import type { Outcome } from '../../schemas/outcome.ts'
import { actionsOf, deadlineOf, type UnsignedCommand } from './command.ts'
import { type Attempt, type DecideState, learnedOf, type TargetState, targetOf } from './state.ts'

/** Attempts kept a target: budgets count at most tens within their window. */
const ATTEMPTS_MAX = 100

/** Known ones are not added again; the oldest makes room. */
export function addAttempt(target: TargetState, attempt: Attempt): void {
  if (target.attempts.some(known => known.commandId === attempt.commandId)) return
  target.attempts.push(attempt)
  if (target.attempts.length > ATTEMPTS_MAX) target.attempts.shift()
}

/** Notes what became of a command. @returns false when it was known */
export function settleOutcome(state: DecideState, outcome: Outcome): boolean {
  const target = targetOf(state, outcome.environment, outcome.target)
  const attempt = target.attempts.find(known => known.commandId === outcome.commandId)
  if (attempt === undefined || (attempt.verdict !== null && attempt.verdict !== 'unknown')) return false
  // An orphan may have been given up in the very millisecond in which its outcome was recorded.
  const orphaned = attempt.verdict === 'unknown' && (attempt.endedAtMs !== outcome.recordedAtMs || outcome.verdict !== 'unknown')
  if (attempt.verdict === 'unknown' && !orphaned) return false
  attempt.verdict = outcome.verdict
  attempt.endedAtMs = outcome.recordedAtMs
  attempt.steppedMs = state.steppedMs
  attempt.healedAtMs = outcome.healedAtMs
  if (outcome.verdict === 'unknown') target.frozen = { sinceMs: outcome.recordedAtMs, reason: outcome.reason }
  // Given up as an orphan, and here is what became of it after all.
  else if (orphaned && target.frozen?.reason.includes(outcome.commandId)) target.frozen = null
  if (outcome.verdict === 'harmful') target.quarantined[outcome.runbook] = outcome.recordedAtMs
  learn(state, outcome.runbook, attempt.signature, outcome.verdict)
  return true
}

/** Commands that have no outcome though their deadline passed: nobody knows what they did, so their targets freeze. @returns them */
export function giveUpOrphans(state: DecideState, nowMs: number): Attempt[] {
  const orphans = Object.values(state.targets).flatMap(target => target.attempts.filter(attempt => attempt.verdict === null && nowMs >= attempt.deadlineMs))
  for (const orphan of orphans) {
    Object.assign(orphan, { verdict: 'unknown', endedAtMs: nowMs, steppedMs: state.steppedMs } satisfies Partial<Attempt>)
    const reason = `command ${orphan.commandId} has no outcome though its deadline passed: is the actuator of ${orphan.environment} running?`
    targetOf(state, orphan.environment, orphan.target).frozen = { sinceMs: nowMs, reason }
  }
  return orphans
}

function learn(state: DecideState, runbook: string, signature: string, verdict: Outcome['verdict']): void {
  const { successes, failures } = learnedOf(state, runbook, signature)
  if (verdict === 'healed') state.learned[`${runbook}|${signature}`] = { successes: successes + 1, failures }
  // inconclusive, unknown and refused say nothing about the runbook.
  else if (verdict === 'partial' || verdict === 'ineffective' || verdict === 'harmful')
    state.learned[`${runbook}|${signature}`] = { successes, failures: failures + 1 }
}

/** What the target remembers of a command. */
export function attemptOf(command: UnsignedCommand, jitter: number): Attempt {
  const { id, incidentId, environment, target, policy, runbook, issuedAtMs, expiresAtMs, steps, cause, undoes } = command
  const deadlineMs = deadlineOf(
    expiresAtMs,
    steps.map(({ step }) => step)
  )
  const signature = typeof cause.signature === 'string' ? cause.signature : 'other'
  return {
    commandId: id,
    incidentId,
    environment,
    target,
    policy,
    runbook,
    signature,
    issuedAtMs,
    deadlineMs,
    jitter,
    verdict: null,
    endedAtMs: null,
    healedAtMs: null,
    cost: command.cost,
    actions: actionsOf(steps.map(({ step }) => step)),
    ...(undoes === undefined ? {} : { undoes })
  }
}
