// Whether something happened more often than a rate allows: counts of alarms against the rate that was configured.

/** A rate this seldom exceeded by chance is exceeded. */
const CHANCE_MAX = 0.01
/** Alarms of one metric so close in time are one story: a fault shows in many series at once. */
const EPISODE_MS = 600_000

/**
 * Whether `count` events are too many for `expected` of them (Poisson, one-sided: P(X ≥ count) < 1 %). O(count).
 * @param expected >= 0
 */
export function exceeds(count: number, expected: number): boolean {
  if (count === 0 || count <= expected) return false
  if (expected === 0) return true
  let below = 0
  let logTerm = -expected
  for (let k = 0; k < count; k++) {
    below += Math.exp(logTerm)
    logTerm += Math.log(expected) - Math.log(k + 1)
  }
  return 1 - below < CHANCE_MAX
}

/** Events that lie EPISODE_MS or closer behind another are one. @param timesMs in any order */
export function episodesOf(timesMs: readonly number[]): number[] {
  const sorted = [...timesMs].sort((a, b) => a - b)
  return sorted.filter((timeMs, index) => index === 0 || timeMs - sorted[index - 1]! > EPISODE_MS)
}
