// The multivariate detector of an entity: is this row of all its metrics usual, given their past, each other and the time of day?
//
// Flow: (row of values) -> scaling -> update -> calibration; second-moments learns. Runs once per row: no object is made, all state
// in the entity's buffer, so a restored copy continues bit for bit. A row is scored before it is learned, and learned with its
// block of 60 rows, before the next row is scored.
//
//   z      = clipped deviation of each metric in its own scales                             (scaling.ts)
//   y      = clock, averages of z up to the previous row with weights .5 .2 .05 .02, z
//   M      = yᵀ (C + ridge)⁻¹ y − the clock's own part, C = second moments of y: the squared Mahalanobis distance given the time
//            of day, its parts (the averages from quick to slow, the row) weighted .7 1 1.4 2 1; the larger one of two memories
//   level  = log(1 + M / metrics) + ¼ log(1 + largest residual of a metric given all others, in units of its own 99.9 % quantile)
//   score  = −log10 of the false alarms a day expected at that level                        (calibration.ts)
// C is a robust estimate: rows weigh (ν + 1) / (ν + M / mean M), as the multivariate t distribution has it (Lange, Little &
// Taylor, "Robust statistical modeling using the t distribution", JASA 1989, eq. 2.7, with distances relative to their mean), and
// less while something lasts.

import { beginCalibration, calibrate, unknownScore } from './calibration.ts'
import { BLOCK_ROWS, CLOCK_COLUMNS, type EntityState, LAG_WEIGHTS, MEMORIES, METRIC_F32, METRIC_F64, METRICS_MAX, SCALAR } from './entity-state.ts'
import { backSolveTail, forwardSolve, precisionColumn } from './packed-cholesky.ts'
import { collectRow, learnScales, scaleRow } from './scaling.ts'
import { MULTIVARIATE, type MultivariateSettings } from './settings.ts'
import { beginMoments, learnMoments, moveLags, refreshFactors, resetMetric, writeClock } from './second-moments.ts'

/** Rows per column of the model before it is believed: at 38 metrics and a row a minute, 17 hours. */
const WARMUP_ROWS_PER_COLUMN = 5
/** Of the values of metrics that are missing together; each sweep takes the others' new values into account. */
const MISSING_SWEEPS = 2
const INTERVAL_WEIGHT = 0.05
/** One silence counts as this many intervals at most when the interval is learned. */
const INTERVAL_GROWTH_MAX = 10
/** Missing rows that count as a silence; fewer are jitter, which may not cost a refresh of the model each time. */
const SILENCE_ROWS_MIN = 5
/** Distance in means beyond which its slow average says that something lasts, and the weight of that average. */
const LASTING_DISTANCE = 4
const LASTING_RATE = 0.02
/** Memory of the mean distance, and how far one row may pull it. */
const DISTANCE_ROWS = 2_000
const DISTANCE_CLIP = 3
/** Of the mean distance: an entity of constants has none. */
const DISTANCE_MIN = 1e-3
/** The quantile that residuals are measured in, and of its log: start, step, bounds. */
const RESIDUAL_TAIL = 0.001
const RESIDUAL_TAIL_FIRST = Math.log(5)
const RESIDUAL_TAIL_STEP = 1
const RESIDUAL_TAIL_MAX = Math.log(1e4)
const RESIDUAL_QUANTILE_MIN = 2

const COLUMNS_MAX = CLOCK_COLUMNS + (LAG_WEIGHTS.length + 1) * METRICS_MAX
// Scratch of all entities, written before it is read within one call.
const rowColumns = new Float64Array(COLUMNS_MAX)
const whitened = new Float64Array(COLUMNS_MAX)
const solved = new Float64Array(COLUMNS_MAX)
const change = new Float64Array(COLUMNS_MAX)
const scratch = new Float64Array(COLUMNS_MAX)
const distances = new Float64Array(MEMORIES.length)

/**
 * Scores a row of an entity and keeps it for learning.
 * @param values one per metric, always in the same order; NaN = not reported in this row
 * @param timeMs event time, finite, later than that of the row before (an older one is scored, and leaves the interval alone)
 * @returns −log10 of the false alarms a day expected at this score: compare with alarmThreshold(perDay)
 */
export function updateEntity(state: EntityState, values: ArrayLike<number>, timeMs: number, settings: MultivariateSettings = MULTIVARIATE): number {
  const { scalars, columns } = state
  if (scalars[SCALAR.rows] === 0) begin(state, timeMs, settings)
  else noteTime(state, timeMs, settings)
  if (scalars[SCALAR.blockRows] === BLOCK_ROWS) learnBlock(state, settings)
  if (scalars[SCALAR.blockRows] === 0) state.blockLags.set(state.lags)
  scaleRow(state, values, settings.clipScales)
  const grownRows = scalars[SCALAR.modelRows]! - WARMUP_ROWS_PER_COLUMN * columns
  const isGrown = grownRows >= 0
  scalars[SCALAR.level] = levelOf(state, timeMs, settings)
  weighRow(state, isGrown, settings)
  scalars[SCALAR.score] = isGrown ? calibrate(state, scalars[SCALAR.level]!, grownRows, settings.calibration) : unknownScore(state)
  keepRow(state, timeMs, isGrown)
  return scalars[SCALAR.score]!
}

/** Whether the entity has been seen long enough to be judged. */
export function isReady({ scalars, columns }: EntityState): boolean {
  return scalars[SCALAR.modelRows]! >= WARMUP_ROWS_PER_COLUMN * columns
}

function begin(state: EntityState, timeMs: number, { calibration, ridge }: MultivariateSettings): void {
  const { scalars, metric32, metrics } = state
  scalars[SCALAR.lastTimeMs] = timeMs
  scalars.fill(1, SCALAR.meanDistance, SCALAR.meanDistance + MEMORIES.length)
  metric32.fill(RESIDUAL_TAIL_FIRST, METRIC_F32.tail * metrics, (METRIC_F32.tail + 1) * metrics)
  beginCalibration(state, calibration)
  beginMoments(state)
  refreshFactors(state, ridge)
}

/** Learns the usual interval, and lets the past fade that a silence has made old. */
function noteTime(state: EntityState, timeMs: number, settings: MultivariateSettings): void {
  const { scalars, lags, metrics } = state
  const elapsedMs = timeMs - scalars[SCALAR.lastTimeMs]!
  if (!(elapsedMs > 0)) return
  scalars[SCALAR.lastTimeMs] = timeMs
  const intervalMs = scalars[SCALAR.intervalMs]!
  const missed = intervalMs === 0 ? 0 : Math.round(elapsedMs / intervalMs) - 1
  scalars[SCALAR.intervalMs] =
    intervalMs === 0 ? elapsedMs : intervalMs + INTERVAL_WEIGHT * (Math.min(elapsedMs, INTERVAL_GROWTH_MAX * intervalMs) - intervalMs)
  if (missed < SILENCE_ROWS_MIN) return
  // The rows of a block are made again from its first lag averages without silences in between: so the block ends here.
  if (scalars[SCALAR.blockRows]! > 0) learnBlock(state, settings)
  scalars[SCALAR.held] = scalars[SCALAR.held]! * settings.calibration.hold ** missed
  for (let lag = 0; lag < LAG_WEIGHTS.length; lag++) {
    const kept = (1 - LAG_WEIGHTS[lag]!) ** missed
    for (let at = lag * metrics; at < (lag + 1) * metrics; at++) lags[at] = lags[at]! * kept
  }
}

/** Level of the row whose z-scores are in the state; writes distances and residuals. */
function levelOf(state: EntityState, timeMs: number, { partShares, residualShare }: MultivariateSettings): number {
  const { columns, metrics, metric32, lags, factors, scalars } = state
  const own = columns - metrics
  const zs = METRIC_F32.z * metrics
  writeClock(rowColumns, timeMs)
  for (let column = 0; column < lags.length; column++) rowColumns[CLOCK_COLUMNS + column] = lags[column]!
  for (let metric = 0; metric < metrics; metric++) rowColumns[own + metric] = metric32[zs + metric]!
  let farthest = measure(state, partShares)
  if (expectMissing(state, own)) farthest = measure(state, partShares)
  backSolveTail(factors[0]!, whitened, solved, own, columns)
  const residual = largestResidual(state, own)
  return Math.log1p(farthest / Math.max(1, scalars[SCALAR.active]!)) + residualShare * Math.log1p(residual)
}

/** The larger of the memories' weighted distances of the row; leaves the long memory's whitened row behind. */
function measure({ columns, metrics, factors }: EntityState, partShares: readonly number[]): number {
  let farthest = 0
  // The long memory last: residuals are made of its whitened row.
  for (let memory = MEMORIES.length - 1; memory >= 0; memory--) {
    forwardSolve(factors[memory]!, rowColumns, whitened, columns)
    let distance = 0
    let weighted = 0
    let column = CLOCK_COLUMNS
    for (let part = 0; part < partShares.length; part++) {
      let sum = 0
      for (let metric = 0; metric < metrics; metric++, column++) sum += whitened[column]! * whitened[column]!
      distance += sum
      weighted += partShares[part]! * sum
    }
    distances[memory] = distance
    farthest = Math.max(farthest, weighted)
  }
  return farthest
}

/**
 * Puts metrics that were not reported where the others, the past and the clock expect them, so that they say nothing: with the
 * conditional mean in their place the distance is that of the others alone. Gauss and Seidel's sweeps over the missing ones.
 * @returns whether there were any
 */
function expectMissing({ columns, metrics, metric64, metric32, factors }: EntityState, own: number): boolean {
  let isSolved = false
  for (let sweep = 0; sweep < MISSING_SWEEPS; sweep++) {
    for (let metric = 0; metric < metrics; metric++) {
      if (!Number.isNaN(metric64[METRIC_F64.value * metrics + metric]!) || metric32[METRIC_F32.scale * metrics + metric] === 0) continue
      if (!isSolved) backSolveTail(factors[0]!, whitened, solved, own, columns)
      isSolved = true
      const step = -solved[own + metric]! / metric32[METRIC_F32.precision * metrics + metric]!
      precisionColumn(factors[0]!, change, own + metric, own, columns, scratch)
      for (let column = own; column < columns; column++) solved[column] = solved[column]! + step * change[column]!
      rowColumns[own + metric] = rowColumns[own + metric]! + step
      metric32[METRIC_F32.z * metrics + metric] = rowColumns[own + metric]!
    }
    if (!isSolved) return false
  }
  return true
}

/** The largest residual of a metric given all other columns, in its own quantiles, which learn it. */
function largestResidual({ metrics, metric32, metric64, scalars }: EntityState, own: number): number {
  const isModel = scalars[SCALAR.modelRows]! > 0
  let largest = 0
  for (let metric = 0; metric < metrics; metric++) {
    const residual = solved[own + metric]! / Math.sqrt(metric32[METRIC_F32.precision * metrics + metric]!)
    metric32[METRIC_F32.residual * metrics + metric] = residual
    if (Number.isNaN(metric64[METRIC_F64.value * metrics + metric]!)) continue
    const at = METRIC_F32.tail * metrics + metric
    const quantile = Math.exp(metric32[at]!)
    const size = Math.abs(residual)
    largest = Math.max(largest, size / Math.max(quantile, RESIDUAL_QUANTILE_MIN))
    if (!isModel) continue
    const step = size > quantile ? RESIDUAL_TAIL_STEP * (1 - RESIDUAL_TAIL) : -RESIDUAL_TAIL_STEP * RESIDUAL_TAIL
    metric32[at] = Math.min(RESIDUAL_TAIL_MAX, metric32[at]! + step)
  }
  return largest
}

/** How much the row will teach each memory. */
function weighRow({ scalars, blockWeights }: EntityState, isGrown: boolean, { freedom, lastingWeight }: MultivariateSettings): void {
  const row = scalars[SCALAR.blockRows]!
  const slowness = isGrown && scalars[SCALAR.slowDistance]! > Math.log1p(LASTING_DISTANCE) ? lastingWeight : 1
  if (isGrown) {
    const relative = Math.log1p(distances[0]! / scalars[SCALAR.meanDistance]!)
    scalars[SCALAR.slowDistance] = scalars[SCALAR.slowDistance]! + LASTING_RATE * (relative - scalars[SCALAR.slowDistance]!)
  }
  for (let memory = 0; memory < MEMORIES.length; memory++) {
    const at = SCALAR.meanDistance + memory
    const mean = scalars[at]!
    const distance = distances[memory]!
    blockWeights[memory * BLOCK_ROWS + row] = isGrown ? slowness * robustWeight(distance / mean, freedom) : 1
    const learned = isGrown ? Math.min(distance, DISTANCE_CLIP * mean) : distance
    scalars[at] = Math.max(DISTANCE_MIN, mean + (learned - mean) / Math.min(scalars[SCALAR.rows]! + 1, DISTANCE_ROWS))
  }
}

/** Weight of a row in a multivariate t distribution; 1 where its distance is usual. */
function robustWeight(relative: number, freedom: number): number {
  return freedom === Number.POSITIVE_INFINITY ? 1 : (freedom + 1) / (freedom + relative)
}

/** The row waits in the open block. */
function keepRow(state: EntityState, timeMs: number, isGrown: boolean): void {
  const { scalars, metrics, metric32, times, blockZ, lags, blockWeights } = state
  const row = scalars[SCALAR.blockRows]!
  const zs = METRIC_F32.z * metrics
  times[row] = timeMs
  for (let metric = 0; metric < metrics; metric++) blockZ[row * metrics + metric] = metric32[zs + metric]!
  collectRow(state, blockWeights[row]!, isGrown)
  moveLags(lags, metric32, zs, metrics)
  scalars[SCALAR.blockRows] = row + 1
  scalars[SCALAR.rows] = scalars[SCALAR.rows]! + 1
}

/** Folds the open block into everything that is learned slowly. */
function learnBlock(state: EntityState, { ridge }: MultivariateSettings): void {
  const { scalars } = state
  if (scalars[SCALAR.active]! > 0) learnMoments(state)
  learnScales(state, metric => resetMetric(state, metric))
  refreshFactors(state, ridge)
  scalars[SCALAR.blockRows] = 0
}
