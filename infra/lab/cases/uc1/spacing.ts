// The back-off of attempts: from the outcome of one to the decision of the next, and to its effect as the witness saw it. Pure.
//
// Between decision and effect lie the command's way and what is read before acting: that delays an act and never hastens it, so the
// effect is held to the least of the back-off, the decision to both ends.

import type { CaseFacts, Assertion } from '../assertions.ts'

/** Of the policy `checkout-crash-loop`. */
const COOLDOWNS_MS = [10_000, 20_000, 40_000] as const
const TOLERANCE = 0.1

export interface AttemptSeen {
  effectAtMs: number
  /** From the outcome of the attempt before to the decision, and to the effect; null for the first. */
  decidedMs: number | null
  waitedMs: number | null
  /** What the cooldown guard made the next one wait, by its own record; null when it was not asked. */
  cooldownMs: number | null
}

export function attemptsOf({ stories, effects }: Pick<CaseFacts, 'stories' | 'effects'>): AttemptSeen[] {
  const outcomes = stories.flatMap(story => story.outcomes)
  const guards = stories.flatMap(({ decisions }) => decisions.flatMap(decision => decision.guards.filter(({ guard }) => guard === 'cooldown')))
  const inOrder = [...effects].sort((a, b) => a.atMs - b.atMs)
  const own = inOrder.map(({ key }) => outcomes.find(({ steps }) => steps.some(step => step.idempotencyKey === key)))
  const decided = new Map(stories.flatMap(({ decisions }) => decisions.map(({ id, decidedAtMs }) => [id, decidedAtMs])))
  return inOrder.map(({ atMs }, index) => {
    const before = own[index - 1]?.recordedAtMs
    const decidedAtMs = decided.get(own[index]?.decisionId ?? '')
    const asked = guards.find(({ inputs }) => inputs['attempts'] === index + 1 && typeof inputs['waitMs'] === 'number')
    return {
      effectAtMs: atMs,
      decidedMs: before === undefined || decidedAtMs === undefined ? null : decidedAtMs - before,
      waitedMs: before === undefined ? null : atMs - before,
      cooldownMs: (asked?.inputs['waitMs'] as number | undefined) ?? null
    }
  })
}

/**
 * Each wait within a tenth of the back-off, and the guard's record of it.
 * @param lateMs what a wait may be longer, by times in which nobody was there to act
 */
export function spacingOf(attempts: readonly AttemptSeen[], lateMs: readonly number[] = []): Assertion[] {
  const waits = attempts.slice(1).map(({ decidedMs, waitedMs }, index) => {
    const leastMs = COOLDOWNS_MS[index]! * (1 - TOLERANCE)
    const mostMs = COOLDOWNS_MS[index]! * (1 + TOLERANCE) + (lateMs[index] ?? 0)
    const ok = decidedMs !== null && waitedMs !== null && decidedMs >= leastMs && decidedMs <= mostMs && waitedMs >= leastMs
    return { ok, text: `${decidedMs} to the decision and ${waitedMs} to the effect of ${COOLDOWNS_MS[index]}` }
  })
  const recorded = attempts.map(({ cooldownMs }, index) => ({
    ok: cooldownMs !== null && Math.abs(cooldownMs - COOLDOWNS_MS[index]!) <= COOLDOWNS_MS[index]! * TOLERANCE,
    text: String(cooldownMs)
  }))
  return [
    { name: 'spacing', ok: waits.every(({ ok }) => ok), detail: `waited ${waits.map(({ text }) => text).join(', ')} ms between attempts` },
    { name: 'back-off', ok: recorded.every(({ ok }) => ok), detail: `the cooldown guard made it wait ${recorded.map(({ text }) => text).join(', ')} ms` }
  ]
}
