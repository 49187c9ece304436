// The verification loop: looks at raw signals from the act on until they held, or until the deadline.
//
//   applied ──settle──► may be judged ──all checks pass──► holding ──holdFor, fresh samples──► healed
//                                     ◄──one does not────┘
//   deadline, nothing holding ──► partial | ineffective | harmful | inconclusive     (a hold that began in time is waited for)
//
// It looks during the settle time too: no verdict comes of that, but when a service was well again is seen as it happens.
// Keeps nothing on disk: after a crash it begins anew from the act's times in the ledger.

import type { CheckResult, Verdict } from '../../schemas/outcome.ts'
import type { RunbookStep } from '../../schemas/runbook.ts'
import { type CheckPorts, type CheckSubject, type Look, lookAtAll } from './checks.ts'
import { type Direction, verdictOf } from './verdict.ts'

/** Between looks. Bounds the error of healedAtMs for checks without samples; each metric check costs two queries a look. */
export const LOOK_INTERVAL_MS = 500
const SAMPLE_LAG_MS_MAX = 15_000 // From measured to readable (export, derivation, store), and one interval between samples.

export interface VerifyInput {
  subject: CheckSubject & { sinceMs: number }
  step: RunbookStep
  appliedAtMs: number
  baseline: readonly CheckResult[]
  /** Checks of neighbours and dependents, asked when the own checks held and at the deadline. */
  collateral: () => Promise<readonly CheckResult[]>
  /** Which way the metric of a check hurts, where the incident says so. */
  direction: (check: string) => Direction
  signal: AbortSignal
}

export interface Verification {
  verdict: Verdict
  reason: string
  checks: CheckResult[]
  /** From when on everything was good; null unless healed. */
  healedAtMs: number | null
}

/** @returns undefined when `signal` aborted first: nothing is decided, the ledger's row stays as it is */
export async function verify(ports: CheckPorts, input: VerifyInput): Promise<Verification | undefined> {
  const { clock } = ports
  const { settle, verify: plan } = input.step
  const startMs = clock.monotonicMs()
  // After a crash part of the time is over; what is left must at least allow one full hold.
  const spentMs = Math.min(Math.max(0, clock.nowMs() - input.appliedAtMs), settle + plan.deadline)
  const settledMs = startMs + Math.max(0, settle - spentMs)
  const deadlineMs = Math.max(startMs + settle + plan.deadline - spentMs, settledMs + plan.holdFor)
  const run = goodRun(input.subject.sinceMs, input.appliedAtMs)
  for (;;) {
    const looks = await lookAtAll(ports, input.subject, plan.checks)
    if (input.signal.aborted) return undefined
    const nowMs = clock.monotonicMs()
    run.take(looks, nowMs)
    const checks = looks.map(look => look.result)
    const since = run.began()
    const held = since !== undefined && nowMs - Math.max(since, settledMs) >= plan.holdFor && heldBySamples(looks, input)
    // A run that began in time may finish: cutting it off would call a healed service broken.
    const overMs = since !== undefined && since <= deadlineMs ? deadlineMs + plan.holdFor + SAMPLE_LAG_MS_MAX : deadlineMs
    if (held || nowMs >= overMs) {
      const collateral = await input.collateral()
      if (held && collateral.every(check => check.result === 'pass')) {
        const reason = `${checks.map(check => check.detail).join('; ')}; held for ${plan.holdFor} ms`
        return { verdict: 'healed', reason, checks: [...checks, ...collateral], healedAtMs: run.healedAtMs() }
      }
      if (nowMs >= overMs) return { ...verdictOf(input.baseline, checks, collateral, input.direction), checks: [...checks, ...collateral], healedAtMs: null }
    }
    await clock.sleep(LOOK_INTERVAL_MS, input.signal)
    if (input.signal.aborted) return undefined
  }
}

/**
 * After an undo: waits until every check that passed before the act passes again.
 * @returns whether it did within settle + deadline; undefined when `signal` aborted first
 */
export async function verifyUndone(ports: CheckPorts, input: Omit<VerifyInput, 'collateral' | 'direction'>): Promise<boolean | undefined> {
  const { clock } = ports
  const wanted = new Set(input.baseline.filter(check => check.result === 'pass').map(check => check.name))
  const checks = input.step.verify.checks.filter(check => wanted.has(check.name))
  const spentMs = Math.max(0, clock.nowMs() - input.appliedAtMs)
  const deadlineMs = clock.monotonicMs() + Math.max(0, input.step.settle + input.step.verify.deadline - spentMs)
  await clock.sleep(Math.max(0, input.step.settle - spentMs), input.signal)
  while (!input.signal.aborted) {
    const looks = await lookAtAll(ports, input.subject, checks)
    if (looks.every(look => look.result.result === 'pass')) return true
    if (clock.monotonicMs() >= deadlineMs) return false
    await clock.sleep(LOOK_INTERVAL_MS, input.signal)
  }
  return undefined
}

/**
 * The hold as the samples tell it: they must reach over it. A metric that stopped must not pass on what was measured
 * before it did, however long its window remembers.
 */
function heldBySamples(looks: readonly Look[], { appliedAtMs, step }: VerifyInput): boolean {
  return looks.every(({ result, goodSinceMs, newestMs }) => {
    if (result.type !== 'metric') return true
    const sinceMs = Math.max(goodSinceMs ?? 0, appliedAtMs + step.settle)
    return newestMs !== null && newestMs - sinceMs >= step.verify.holdFor
  })
}

/** Follows which checks pass, since when, and since when all of them do. */
function goodRun(actMs: number, appliedAtMs: number) {
  const passing = new Map<string, number>()
  let signals: readonly Look[] = []
  let allSinceMs: number | undefined
  let looksTaken = 0
  return {
    take(looks: readonly Look[], monotonicMs: number): void {
      for (const { result } of looks) {
        if (result.result !== 'pass') passing.delete(result.name)
        // A check without samples that passes at the very first look has passed since the act, as far as anyone can tell.
        else if (!passing.has(result.name)) passing.set(result.name, looksTaken === 0 && result.type !== 'metric' ? appliedAtMs : result.atMs) // Its own time: a slow neighbour in the same look must not delay it.
      }
      signals = looks
      looksTaken++
      if (passing.size < looks.length) allSinceMs = undefined
      else allSinceMs ??= monotonicMs
    },
    /** Monotonic time from which on all looks were good; undefined while one is not. */
    began: () => allSinceMs,
    /** The last check to be good says when all were: by its samples where it has some, else by the looks. */
    healedAtMs(): number {
      const times = signals.map(({ result, goodSinceMs }) => {
        const seenMs = passing.get(result.name)!
        if (goodSinceMs === null) return seenMs
        // Samples tell it earlier than the looks. A state that was right from the first look on began with its process.
        return result.type === 'metric' || seenMs === appliedAtMs ? Math.min(goodSinceMs, seenMs) : seenMs
      })
      return Math.max(actMs, ...times)
    }
  }
}
