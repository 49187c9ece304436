// The one scale: a distance in units of a series' own scale becomes −log10 of a calibrated tail probability.
//
// Each side of each series has two numbers, learned online (level.ts): `start`, the distance that TAIL_SHARE of normal points
// exceed, and `excess`, how far beyond it those points lie on average. Beyond `start` the tail is a generalised Pareto
// with the fixed shape SHAPE > 0, that is heavier than any Gaussian (peaks over threshold: Siffer et al., "Anomaly
// detection in streams with extreme value theory", KDD 2017, eq. 1; we fix the shape because a few dozen excesses cannot fit it).
//
// The threshold follows from the configured false alarms per series and day. An alarm needs `enterPoints` consecutive
// points; neighbours are correlated, so k points count as k^0.56 independent ones (simulated on autoregressive, heavy-tailed and
// discrete series: test/unit/detectors/level.test.ts): p = (rate · interval / day)^(1 / k^0.56).

export const TAIL_SHARE = 0.02
const SHAPE = 0.2
const DAY_MS = 86_400_000
const INDEPENDENCE = 0.56
/** A single point is never called rare above this probability, however seldom the series reports. */
const PROBABILITY_MAX = 1e-3
/** Intervals by powers of two of a ms: 2^40 ms is 35 years. */
const INTERVAL_STEPS = 41

/** Beginning of the score's tail: −log10(TAIL_SHARE). */
const TAIL_SCORE = -Math.log10(TAIL_SHARE)

export interface TailTable {
  /** By floor(log2(interval in ms)): mean excesses beyond the tail's start at which a point deviates. */
  reach: Float64Array
  /** By the same: the threshold on the score's scale. */
  threshold: Float64Array
}

/** @param rate expected false alarms per series and day */
export function tailTable(rate: number, enterPoints: number): TailTable {
  const reach = new Float64Array(INTERVAL_STEPS)
  const threshold = new Float64Array(INTERVAL_STEPS)
  const independent = enterPoints ** INDEPENDENCE
  for (let step = 0; step < INTERVAL_STEPS; step++) {
    const probability = Math.min((rate * 2 ** (step + 0.5)) / DAY_MS, 1) ** (1 / independent)
    const rare = Math.min(probability, PROBABILITY_MAX)
    reach[step] = ((TAIL_SHARE / rare) ** SHAPE - 1) / SHAPE
    threshold[step] = -Math.log10(rare)
  }
  return { reach, threshold }
}

/** Row of a TailTable for an interval. */
export function intervalStep(intervalMs: number): number {
  return 31 - Math.clz32(Math.max(1, Math.min(intervalMs, 0x7fffffff)))
}

/**
 * Score of a distance: −log10 of the probability that a normal point of this series lies that far out on this side.
 * @param distance in scales, >= 0
 */
export function tailScore(distance: number, start: number, excess: number): number {
  if (distance <= start) return (TAIL_SCORE * distance) / start
  return TAIL_SCORE + Math.log10(1 + (SHAPE * (distance - start)) / excess) / SHAPE
}

/**
 * How rarely a normal series gives an alarm of this score: the inverse of the threshold above.
 * @param score      of each of `enterPoints` consecutive points, −log10 of the tail probability
 * @param intervalMs usual distance of its points
 * @returns days between two such alarms of one series, > 0
 */
export function daysBetweenAlarms(score: number, intervalMs: number, enterPoints: number): number {
  return intervalMs / DAY_MS / 10 ** (-score * enterPoints ** INDEPENDENCE)
}
