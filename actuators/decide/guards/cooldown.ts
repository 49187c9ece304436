// Cooldown: after each attempt of a runbook on a target, wait longer before the next: initial · factor^(n−1), at most max, ± jitter.
// The jitter keeps a fleet from retrying in step (Brooker, "Exponential backoff and jitter", AWS 2015); it is drawn once per
// attempt, so the answer does not move while it is waited for. After any runbook healed the target, every other lets it stabilise
// too: what was just restarted is slow at first, and that is no new fault.

import type { Policy } from '../../../schemas/runbook.ts'
import type { Attempt, DecideState } from '../state.ts'
import { allow, type Guard, span, time, wait } from './guard.ts'

export const cooldown: Guard = ({ nowMs, policy, runbook, state, target, targetState }) => {
  const settings = policy.spec.cooldown
  const tries = recentAttempts(targetState.attempts, runbook.name, nowMs - policy.spec.attempts.window, state)
  const last = tries.at(-1)
  const healed = targetState.attempts.findLast(attempt => attempt.verdict === 'healed')
  const waitMs = last === undefined ? 0 : backoffMs(settings, tries.length, last.jitter)
  const untilMs = last === undefined ? 0 : endOf(last, state) + waitMs
  const settledMs = healed === undefined ? 0 : endOf(healed, state) + (settings.stabilise ?? settings.initial)
  const inputs = { attempts: tries.length, waitMs, untilMs: untilMs || null, settledAtMs: settledMs || null, lastVerdict: last?.verdict ?? null }
  if (last !== undefined && nowMs < untilMs) {
    const reason = `attempt ${tries.length} of ${runbook.name} on ${target} was ${last.verdict ?? 'begun'}: the next one not before ${time(untilMs)}`
    return wait('cooldown', inputs, reason, `${span(untilMs - nowMs)} more.`, untilMs)
  }
  if (healed !== undefined && nowMs < settledMs) {
    const reason = `${healed.runbook} healed ${target} ${span(nowMs - endOf(healed, state))} ago: it may settle until ${time(settledMs)}`
    return wait('cooldown', inputs, reason, `${span(settledMs - nowMs)} more.`, settledMs)
  }
  const reason = last === undefined ? `${runbook.name} was not tried on ${target} lately` : `${span(waitMs)} have passed since the last attempt`
  return allow('cooldown', inputs, reason)
}

/** Wait after the `count`-th attempt, ms. `jitter` in −1..1. */
export function backoffMs(settings: Policy['spec']['cooldown'], count: number, jitter: number): number {
  const base = Math.min(settings.max, settings.initial * settings.factor ** (count - 1))
  return Math.round(base * (1 + settings.jitter * jitter))
}

/** Attempts of a runbook since a time, oldest first. Every verdict counts; taking one back is none. */
export function recentAttempts(attempts: readonly Attempt[], runbook: string, sinceMs: number, state: DecideState): Attempt[] {
  return attempts.filter(attempt => attempt.runbook === runbook && attempt.undoes === undefined && endOf(attempt, state) >= sinceMs)
}

/** When it ended, or was issued while it runs, by the wall clock as it is set now: no step of it ends a wait, nor makes one longer. */
export function endOf(attempt: Attempt, { steppedMs }: Pick<DecideState, 'steppedMs'>): number {
  // The end is stamped by the actuator's clock. Were that far behind ours, an attempt just made would count as long ago, and
  // nothing would bound the next ones.
  return Math.max(attempt.endedAtMs ?? 0, attempt.issuedAtMs) + steppedMs - (attempt.steppedMs ?? steppedMs)
}
