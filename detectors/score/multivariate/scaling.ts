// From the values of a row to comparable numbers: each metric as deviation from its running mean in its own scales.
//
// Flow: update -> scaling. The scale is the standard deviation of clipped deviations, but at least a tenth of the range ever
// seen: counters that rest for hours and then jump are not anomalous each time they move (measured: without the range
// floor VUS-PR on SMD falls from .61 to .49). A metric has no say until it has been seen for METRIC_ROWS_MIN rows.

import { type EntityState, METRIC_F32, METRIC_F64, SCALAR } from './entity-state.ts'

/** Rows with a value before a metric takes part. */
export const METRIC_ROWS_MIN = 60
/** Memory of mean and variance, rows. */
const SCALE_MEMORY = 8_000
const LEARN_CLIP_SCALES = 4
/** Floors of the scale: shares of the range seen and of the mean, and something above zero for what never moved. */
const RANGE_SHARE_MIN = 0.1
const MEAN_SHARE_MIN = 0.01
const SCALE_MIN = 1e-9
/** One absurd value (a counter's wrap) widens the range by this many scales at most. */
const RANGE_GROWTH_SCALES = 1_000
/** The range is forgotten over about a year of minutes. */
const RANGE_ROWS = 500_000
/** Squares of larger values leave the numbers: such a value counts as not reported. */
const VALUE_MAX = 1e30

/**
 * Writes the z-scores of a row; a metric that is missing keeps its last one until update.ts knows what to expect.
 * @param values one per metric; NaN, infinite, beyond 1e30 or past the end of the array = not reported
 * @param clipScales z-scores end here
 */
export function scaleRow({ metrics, metric64, metric32 }: EntityState, values: ArrayLike<number>, clipScales: number): void {
  const means = METRIC_F64.mean * metrics
  const raws = METRIC_F64.value * metrics
  const scales = METRIC_F32.scale * metrics
  const zs = METRIC_F32.z * metrics
  const ages = METRIC_F32.age * metrics
  for (let metric = 0; metric < metrics; metric++) {
    const raw = values[metric]
    const value = raw !== undefined && Math.abs(raw) <= VALUE_MAX ? raw : Number.NaN
    metric64[raws + metric] = value
    if (Number.isNaN(value)) continue
    if (metric32[ages + metric] === 0) {
      metric64[means + metric] = value
      metric64[METRIC_F64.low * metrics + metric] = value
      metric64[METRIC_F64.high * metrics + metric] = value
    }
    const scale = metric32[scales + metric]!
    const z = scale === 0 ? 0 : (value - metric64[means + metric]!) / scale
    metric32[zs + metric] = Math.max(-clipScales, Math.min(clipScales, z))
    metric32[ages + metric] = metric32[ages + metric]! + 1
  }
}

/**
 * Adds the last row to what the open block will teach mean, variance and range.
 * @param weight   0..1, little while the entity is anomalous
 * @param isGrown  deviations are clipped: the scales mean something
 */
export function collectRow({ metrics, metric64, metric32 }: EntityState, weight: number, isGrown: boolean): void {
  for (let metric = 0; metric < metrics; metric++) {
    const value = metric64[METRIC_F64.value * metrics + metric]!
    if (Number.isNaN(value)) continue
    const mean = metric64[METRIC_F64.mean * metrics + metric]!
    const scale = isGrown ? metric32[METRIC_F32.scale * metrics + metric]! : 0
    const reach = scale === 0 ? Number.POSITIVE_INFINITY : scale
    const deviation = value - mean
    const widened = mean + Math.max(-RANGE_GROWTH_SCALES * reach, Math.min(RANGE_GROWTH_SCALES * reach, deviation))
    const low = METRIC_F64.low * metrics + metric
    const high = METRIC_F64.high * metrics + metric
    metric64[low] = Math.min(metric64[low]!, widened)
    metric64[high] = Math.max(metric64[high]!, widened)
    const clipped = Math.max(-LEARN_CLIP_SCALES * reach, Math.min(LEARN_CLIP_SCALES * reach, deviation))
    const sum = METRIC_F64.sum * metrics + metric
    const squares = METRIC_F64.squares * metrics + metric
    metric64[sum] = metric64[sum]! + weight * clipped
    metric64[squares] = metric64[squares]! + weight * clipped * clipped
    metric32[METRIC_F32.seen * metrics + metric] = metric32[METRIC_F32.seen * metrics + metric]! + 1
    metric64[METRIC_F64.weight * metrics + metric] = metric64[METRIC_F64.weight * metrics + metric]! + weight
  }
}

/**
 * Folds the open block into mean, variance and scale of every metric.
 * @param onFirstScale called for each metric that takes part from now on
 */
export function learnScales({ metrics, metric64, metric32, scalars }: EntityState, onFirstScale: (metric: number) => void): void {
  for (let metric = 0; metric < metrics; metric++) {
    const seen = metric32[METRIC_F32.seen * metrics + metric]!
    if (seen === 0) continue
    const age = metric32[METRIC_F32.age * metrics + metric]!
    const learned = METRIC_F64.weight * metrics + metric
    const sum = METRIC_F64.sum * metrics + metric
    const squares = METRIC_F64.squares * metrics + metric
    const mean = METRIC_F64.mean * metrics + metric
    const variance = METRIC_F64.variance * metrics + metric
    const step = metric64[sum]! / seen
    const share = Math.min(1, seen / Math.min(age, SCALE_MEMORY))
    if (age === seen) metric64[variance] = Math.max(0, metric64[squares]! / seen - step * step)
    else metric64[variance] = (1 - (share * metric64[learned]!) / seen) * metric64[variance]! + (share * metric64[squares]!) / seen
    metric64[mean] = metric64[mean]! + share * step
    const low = METRIC_F64.low * metrics + metric
    const high = METRIC_F64.high * metrics + metric
    const narrowing = seen / RANGE_ROWS
    metric64[low] = metric64[low]! + narrowing * (metric64[mean]! - metric64[low]!)
    metric64[high] = metric64[high]! + narrowing * (metric64[mean]! - metric64[high]!)
    metric64[sum] = 0
    metric64[squares] = 0
    metric64[learned] = 0
    metric32[METRIC_F32.seen * metrics + metric] = 0
    if (age < METRIC_ROWS_MIN) continue
    const scale = METRIC_F32.scale * metrics + metric
    const isFirst = metric32[scale] === 0
    const range = metric64[high]! - metric64[low]!
    metric32[scale] = Math.max(Math.sqrt(metric64[variance]!), RANGE_SHARE_MIN * range, MEAN_SHARE_MIN * Math.abs(metric64[mean]!), SCALE_MIN)
    if (!isFirst) continue
    scalars[SCALAR.active] = scalars[SCALAR.active]! + 1
    onFirstScale(metric)
  }
}
