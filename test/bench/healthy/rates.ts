// Observed against configured rates: how many times the configured rate, and between which bounds chance leaves it.

/** One-sided error of each bound. */
const ERROR = 0.05
const HALVINGS = 60

export interface RateFigure {
  /** Anomalies that opened. */
  count: number
  /** Series or entities times days. */
  days: number
  /** A day. */
  configured: number
  observed: number
  /** Observed over configured, and its 95 % bounds (each one-sided). */
  ratio: number
  ratioLow: number
  ratioHigh: number
}

/**
 * Source of the bounds: Garwood, "Fiducial limits for the Poisson distribution" (Biometrika, 1936), exact, by bisection.
 * Anomalies of one fleet are not quite independent, so the bounds are a little too narrow.
 */
export function rateFigure(count: number, days: number, configured: number): RateFigure {
  const expected = configured * days
  return {
    ...{ count, days, configured, observed: count / days, ratio: count / expected },
    ratioLow: (count === 0 ? 0 : meanAt(mean => 1 - atMost(count - 1, mean), ERROR, count)) / expected,
    ratioHigh: meanAt(mean => 1 - atMost(count, mean), 1 - ERROR, 2 * count + 10) / expected
  }
}

/** The mean at which an increasing probability takes a value. */
function meanAt(probability: (mean: number) => number, value: number, high: number): number {
  let [from, to] = [0, high]
  for (let halving = 0; halving < HALVINGS; halving++) {
    const middle = (from + to) / 2
    if (probability(middle) < value) from = middle
    else to = middle
  }
  return to
}

/** P(X ≤ count) of a Poisson variable. */
function atMost(count: number, mean: number): number {
  let logTerm = -mean
  let sum = Math.exp(logTerm)
  for (let at = 1; at <= count; at++) {
    logTerm += Math.log(mean / at)
    sum += Math.exp(logTerm)
  }
  return Math.min(1, sum)
}
