// Cooldown: after each attempt of a runbook on a target, wait longer before the next: initial · factor^(n−1), at most max, ± jitter.
// The jitter keeps a fleet from retrying in step (Brooker, "Exponential backoff and jitter", AWS 2015); it is drawn once per
// attempt, so the answer does not move while it is waited for.

import type { Policy } from '../../../schemas/runbook.ts'
import type { Attempt } from '../state.ts'
import { allow, type Guard, span, time, wait } from './guard.ts'

export const cooldown: Guard = ({ nowMs, policy, runbook, target, targetState }) => {
  const tries = recentAttempts(targetState.attempts, runbook.name, nowMs - policy.spec.attempts.window)
  const last = tries.at(-1)
  if (last === undefined) return allow('cooldown', { attempts: 0, waitMs: 0, untilMs: null }, `${runbook.name} was not tried on ${target} lately`)
  const waitMs = backoffMs(policy.spec.cooldown, tries.length, last.jitter)
  const untilMs = (last.endedAtMs ?? last.issuedAtMs) + waitMs
  const inputs = { attempts: tries.length, waitMs, untilMs, lastVerdict: last.verdict }
  if (nowMs >= untilMs) return allow('cooldown', inputs, `${span(waitMs)} have passed since the last attempt`)
  const reason = `attempt ${tries.length} of ${runbook.name} on ${target} was ${last.verdict ?? 'begun'}: the next one not before ${time(untilMs)}`
  return wait('cooldown', inputs, reason, `${span(untilMs - nowMs)} more.`, untilMs)
}

/** Wait after the `count`-th attempt, ms. `jitter` in −1..1. */
export function backoffMs(settings: Policy['spec']['cooldown'], count: number, jitter: number): number {
  const base = Math.min(settings.max, settings.initial * settings.factor ** (count - 1))
  return Math.round(base * (1 + settings.jitter * jitter))
}

/** Attempts of a runbook since a time, oldest first. Every verdict counts. */
export function recentAttempts(attempts: readonly Attempt[], runbook: string, sinceMs: number): Attempt[] {
  return attempts.filter(attempt => attempt.runbook === runbook && (attempt.endedAtMs ?? attempt.issuedAtMs) >= sinceMs)
}
