// Compares a canary with its baseline at one look: by how much more often it fails and how many times slower it is, and what of that is sure.
//
//   surely worse by more than tolerated, in either → fail     surely not worse by as much, in both → pass     else → undecided
//
// Pure; the same counts at the same look give the same finding. One tolerance a measure serves both sides, so there is nothing
// between them to argue about: what lies near it stays undecided, and that is the truth.

import { upperQuantile } from './normal.ts'
import { levelOf } from './looks.ts'
import type { Exponential } from '../score/exponential.ts'
import { differenceOfProportions, type Interval, ratioOfQuantiles, wilson } from './intervals.ts'

/** What one version did since the canary began. */
export interface Arm {
  requests: number
  errors: number
  /** Durations in seconds, failed requests included. */
  duration: Exponential
}

export interface Tolerance {
  /** How much higher the canary's error ratio may be, 0..1. */
  errorDifference: number
  /** How many times as long as the baseline's the canary's 95th percentile may be, > 1. */
  latencyRatio: number
  /** A baseline that surely fails more often than this says nothing about the canary, 0..1. */
  baselineErrorRatio: number
}

export interface Finding {
  verdict: 'pass' | 'fail' | 'undecided'
  /** Error ratio of the canary minus that of the baseline. */
  errorDifference: Interval
  /** 95th percentile of the canary divided by that of the baseline. */
  latencyRatio: Interval
  /** One sentence with the figures. */
  reason: string
}

/** People speak of the 95th percentile; with 200 requests an arm its bounds are the 91st and the 99th. */
export const LATENCY_QUANTILE = 0.95
/** Two measures may abort: each has half of what a look may spend. */
const MEASURES = 2
/** How sure it must be that the baseline fails: this only holds a verdict back, so one look is like another. */
const BASELINE_TAIL = 0.025

/**
 * @param look from 0, see looks.ts; both arms have at least the requests that it is due at
 */
export function compare(canary: Arm, baseline: Arm, look: number, tolerance: Tolerance): Finding {
  const tail = levelOf(look) / MEASURES
  const errorDifference = differenceOfProportions(canary, baseline, upperQuantile(tail))
  const latencyRatio = ratioOfQuantiles(canary.duration, baseline.duration, LATENCY_QUANTILE, upperQuantile(tail / 2))
  const found = { errorDifference, latencyRatio }
  const rates = `${percent(canary.errors / canary.requests)} of ${canary.requests} requests fail, ${percent(baseline.errors / baseline.requests)} of ${baseline.requests} in the baseline`
  const errors = `${rates}: a difference of ${points(errorDifference.lower)} to ${points(errorDifference.upper)}, ${points(tolerance.errorDifference)} tolerated`
  const latency = `its 95th percentile is ${latencyRatio.lower.toFixed(2)} to ${latencyRatio.upper.toFixed(2)} times the baseline's, ${tolerance.latencyRatio} tolerated`
  if (wilson(baseline, upperQuantile(BASELINE_TAIL)).lower > tolerance.baselineErrorRatio)
    return { ...found, verdict: 'undecided', reason: `the baseline fails too (${rates}): what both suffer from is not the canary's` }
  if (errorDifference.lower > tolerance.errorDifference) return { ...found, verdict: 'fail', reason: errors }
  if (latencyRatio.lower > tolerance.latencyRatio) return { ...found, verdict: 'fail', reason: latency }
  if (errorDifference.upper < tolerance.errorDifference && latencyRatio.upper < tolerance.latencyRatio)
    return { ...found, verdict: 'pass', reason: `${errors}; ${latency}` }
  return { ...found, verdict: 'undecided', reason: `${errors}; ${latency}` }
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)} %`
}

function points(difference: number): string {
  return `${(100 * difference).toFixed(1)} points`
}
