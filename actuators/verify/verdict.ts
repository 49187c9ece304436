// The verdict when the time for healing is over: what the last look says against the look before the act.

import type { CheckResult, Verdict } from '../../schemas/outcome.ts'

/** A failing value this many times worse than before, in the direction that the incident itself names, is harm and not noise. */
export const WORSE_RATIO = 2

export type Direction = 'above' | 'below' | undefined

/**
 * @param before     the checks just before the act (empty when they could not be looked at)
 * @param after      the checks now, same order
 * @param collateral checks of neighbours now; a failing one is harm, and one without data leaves harm open
 * @param direction  which way the metric of a check hurts, where the incident says so
 */
export function verdictOf(
  before: readonly CheckResult[],
  after: readonly CheckResult[],
  collateral: readonly CheckResult[],
  direction: (check: string) => Direction = () => undefined
): { verdict: Exclude<Verdict, 'healed' | 'unknown' | 'refused'>; reason: string } {
  const hurt = collateral.find(check => check.result === 'fail')
  if (hurt) return { verdict: 'harmful', reason: `neighbour check ${hurt.name} fails: ${hurt.detail}` }
  for (const check of after) {
    const old = before.find(other => other.name === check.name)
    if (check.result !== 'fail' || !old) continue
    if (old.result === 'pass') return { verdict: 'harmful', reason: `check ${check.name} passed before the act and fails now: ${check.detail}` }
    if (clearlyWorse(old, check, direction(check.name))) return { verdict: 'harmful', reason: `check ${check.name} went from ${old.value} to ${check.value}` }
  }
  const blind = after.find(check => check.result === 'no_data')
  if (blind) return { verdict: 'inconclusive', reason: `check ${blind.name} has no data: ${blind.detail}` }
  const failing = after.filter(check => check.result === 'fail')
  const unseen = collateral.find(check => check.result === 'no_data')
  if (failing.length === 0 && unseen)
    return { verdict: 'inconclusive', reason: `its own checks pass, and harm elsewhere cannot be ruled out: ${unseen.detail}` }
  // Every check passed at the last look, but not for long enough without a break.
  if (failing.length === 0) return { verdict: 'partial', reason: 'the checks passed, but not without a break for long enough' }
  const mended = after.filter(check => check.result === 'pass' && before.find(other => other.name === check.name)?.result !== 'pass')
  const named = failing.map(check => `${check.name} (${check.detail})`).join('; ')
  return mended.length > 0
    ? { verdict: 'partial', reason: `mended: ${mended.map(check => check.name).join(', ')}; still failing: ${named}` }
    : { verdict: 'ineffective', reason: `still failing: ${named}` }
}

function clearlyWorse(old: CheckResult, now: CheckResult, direction: Direction): boolean {
  if (direction === undefined || old.result !== 'fail' || old.value === null || now.value === null || old.value <= 0) return false
  return direction === 'above' ? now.value > old.value * WORSE_RATIO : now.value < old.value / WORSE_RATIO
}
