// Effect sizes with their confidence intervals: by how much more often an arm fails, and how many times slower it is.
//
// Flow: analysis -> intervals. Both intervals are honest with few failures and with any shape of durations; neither supposes that
// what was counted is normally distributed.

import { type Exponential, exponentialQuantile } from '../score/exponential.ts'

/** The estimate and the bounds that hold at the level asked for; a bound that the data cannot give is infinite. */
export interface Interval {
  estimate: number
  lower: number
  upper: number
}

export interface Proportion {
  /** Requests that failed. */
  errors: number
  /** All of them; at least 1. */
  requests: number
}

/**
 * Error ratio with Wilson's score bounds.
 * Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
 * @param z normal quantile of each side's error probability
 */
export function wilson({ errors, requests }: Proportion, z: number): Interval {
  const estimate = errors / requests
  const square = z * z
  const centre = (estimate + square / (2 * requests)) / (1 + square / requests)
  const half = (z / (1 + square / requests)) * Math.sqrt((estimate * (1 - estimate)) / requests + square / (4 * requests * requests))
  return { estimate, lower: Math.max(0, centre - half), upper: Math.min(1, centre + half) }
}

/**
 * Error ratio of `a` minus that of `b`, −1..1.
 * Source: Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven methods",
 * Statistics in Medicine 17 (1998), method 10: the squared distances of both Wilson bounds added.
 * @param z normal quantile of each side's error probability
 */
export function differenceOfProportions(a: Proportion, b: Proportion, z: number): Interval {
  const first = wilson(a, z)
  const second = wilson(b, z)
  const estimate = first.estimate - second.estimate
  return {
    estimate,
    lower: estimate - Math.hypot(first.estimate - first.lower, second.upper - second.estimate),
    upper: estimate + Math.hypot(first.upper - first.estimate, second.estimate - second.lower)
  }
}

/**
 * A quantile of `a` divided by that of `b`, > 0.
 * Source: bounds of a quantile are order statistics (Woodruff, "Confidence intervals for medians and other position measures",
 * JASA 47, 1952); the ratio takes the unfavourable bound of each, so its level is at least that of both together.
 * @param quantile 0 < quantile < 1
 * @param z        normal quantile of *half* of each side's error probability: two bounds may each be wrong
 */
export function ratioOfQuantiles(a: Exponential, b: Exponential, quantile: number, z: number): Interval {
  const first = quantileBounds(a, quantile, z)
  const second = quantileBounds(b, quantile, z)
  return {
    estimate: quotient(first.estimate, second.estimate),
    lower: quotient(first.lower, second.upper),
    upper: quotient(first.upper, second.lower)
  }
}

/** A quantile with the order statistics around it. */
export function quantileBounds(histogram: Exponential, quantile: number, z: number): Interval {
  let count = histogram.zeroCount
  for (let i = 0; i < histogram.length; i++) count += histogram.counts[i]!
  const half = z * Math.sqrt((quantile * (1 - quantile)) / count)
  return {
    estimate: exponentialQuantile(histogram, quantile),
    lower: quantile - half <= 0 ? 0 : exponentialQuantile(histogram, quantile - half),
    upper: quantile + half >= 1 ? Number.POSITIVE_INFINITY : exponentialQuantile(histogram, quantile + half)
  }
}

/** 0/0 and ∞/∞ say nothing: 1 for the former (both take no time), NaN never leaves here. */
function quotient(numerator: number, denominator: number): number {
  if (numerator === denominator && numerator === 0) return 1
  if (!Number.isFinite(denominator)) return 0
  return denominator === 0 ? Number.POSITIVE_INFINITY : numerator / denominator
}
