// The Gaussian model of an entity: second moments of its rows and their recent past, and the factor that whitens new ones.
//
// Flow: update -> second-moments, once a block of rows. Columns: clock, lag averages, row. All rows of the open block are made
// again from their z-scores, so that the state need not keep them at full width (48 KB for 38 metrics).

import { BLOCK_ROWS, CLOCK_COLUMNS, type EntityState, HARMONICS, LAG_WEIGHTS, MEMORIES, METRIC_F32, METRICS_MAX, SCALAR } from './entity-state.ts'
import { factorise, packedLength, precisionTail } from './packed-cholesky.ts'

/** Makes sines and cosines have variance one, as the z-scores have. */
const CLOCK_AMPLITUDE = 1.4
const DAY_MS = 86_400_000

const COLUMNS_MAX = CLOCK_COLUMNS + (LAG_WEIGHTS.length + 1) * METRICS_MAX
// Scratch of all entities: everything here is written before it is read, within one call.
const blockColumns = new Float64Array(COLUMNS_MAX * BLOCK_ROWS)
const weightedColumns = new Float64Array(COLUMNS_MAX * BLOCK_ROWS)
const replayedLags = new Float32Array(LAG_WEIGHTS.length * METRICS_MAX)
const clockRow = new Float64Array(CLOCK_COLUMNS)
const square = new Float64Array(COLUMNS_MAX * COLUMNS_MAX)

/** Writes sine and cosine of 1..HARMONICS turns a day (UTC) to the first columns. */
export function writeClock(columns: Float64Array, timeMs: number): void {
  const angle = (2 * Math.PI * (timeMs % DAY_MS)) / DAY_MS
  for (let turn = 1; turn <= HARMONICS; turn++) {
    columns[2 * turn - 2] = CLOCK_AMPLITUDE * Math.sin(turn * angle)
    columns[2 * turn - 1] = CLOCK_AMPLITUDE * Math.cos(turn * angle)
  }
}

/** Moves the lag averages on by a row of z-scores, the first of which is at `from`. */
export function moveLags(lags: Float32Array, zs: Float32Array, from: number, metrics: number): void {
  let at = 0
  for (let lag = 0; lag < LAG_WEIGHTS.length; lag++) {
    const weight = LAG_WEIGHTS[lag]!
    for (let metric = 0; metric < metrics; metric++, at++) lags[at] = lags[at]! + weight * (zs[from + metric]! - lags[at]!)
  }
}

/** A column pair of the model begins anew: unit variance, no correlation with anything. */
export function resetMetric({ columns, metrics, moments }: EntityState, metric: number): void {
  for (const matrix of moments) {
    for (let column = CLOCK_COLUMNS + metric; column < columns; column += metrics) {
      const base = packedLength(column)
      for (let other = 0; other < column; other++) matrix[base + other] = 0
      for (let row = column + 1; row < columns; row++) matrix[packedLength(row) + column] = 0
      matrix[base + column] = 1
    }
  }
}

/** Unit moments: what is assumed before anything is known. */
export function beginMoments({ columns, moments }: EntityState): void {
  for (const matrix of moments) for (let column = 0; column < columns; column++) matrix[packedLength(column + 1) - 1] = 1
}

/** Folds the rows of the open block into the moments of every memory. O(columns² · rows / 2) each. */
export function learnMoments(state: EntityState): void {
  const { columns, moments, scalars, blockWeights } = state
  const rows = scalars[SCALAR.blockRows]!
  replayBlock(state, rows)
  for (let memory = 0; memory < MEMORIES.length; memory++) {
    const share = rows / Math.min(scalars[SCALAR.modelRows]! + rows, MEMORIES[memory]!)
    let total = 0
    for (let row = 0; row < rows; row++) total += blockWeights[memory * BLOCK_ROWS + row]!
    for (let column = 0; column < columns; column++) {
      const base = column * BLOCK_ROWS
      for (let row = 0; row < rows; row++) {
        weightedColumns[base + row] = (blockColumns[base + row]! * blockWeights[memory * BLOCK_ROWS + row]! * share) / rows
      }
    }
    addOuterProducts(moments[memory]!, 1 - (share * total) / rows, columns, rows)
  }
  scalars[SCALAR.modelRows] = scalars[SCALAR.modelRows]! + rows
}

/** Makes the factors and the precisions of the row's own columns from the moments. O(columns³ / 6) each. */
export function refreshFactors({ columns, metrics, moments, factors, metric32 }: EntityState, ridge: number): void {
  for (let memory = 0; memory < MEMORIES.length; memory++) factorise(moments[memory]!, ridge, factors[memory]!, columns, square)
  const from = METRIC_F32.precision * metrics
  precisionTail(factors[0]!, metric32.subarray(from, from + metrics), columns - metrics, columns, square)
}

/** All columns of the open block's rows, column by column. */
function replayBlock({ columns, metrics, times, lags, blockLags, blockZ }: EntityState, rows: number): void {
  replayedLags.set(blockLags)
  const own = columns - metrics
  for (let row = 0; row < rows; row++) {
    writeClock(clockRow, times[row]!)
    for (let column = 0; column < CLOCK_COLUMNS; column++) blockColumns[column * BLOCK_ROWS + row] = clockRow[column]!
    for (let column = 0; column < lags.length; column++) blockColumns[(CLOCK_COLUMNS + column) * BLOCK_ROWS + row] = replayedLags[column]!
    for (let metric = 0; metric < metrics; metric++) blockColumns[(own + metric) * BLOCK_ROWS + row] = blockZ[row * metrics + metric]!
    moveLags(replayedLags, blockZ, row * metrics, metrics)
  }
}

/** matrix = keep · matrix + sum over the block's rows of weighted column × column. Two columns of the other side at a time. */
function addOuterProducts(matrix: Float32Array, keep: number, columns: number, rows: number): void {
  let at = 0
  for (let i = 0; i < columns; i++) {
    const left = i * BLOCK_ROWS
    let j = 0
    for (; j < i; j += 2) {
      const right = j * BLOCK_ROWS
      let first = 0
      let second = 0
      for (let row = 0; row < rows; row++) {
        const entry = weightedColumns[left + row]!
        first += entry * blockColumns[right + row]!
        second += entry * blockColumns[right + BLOCK_ROWS + row]!
      }
      matrix[at] = keep * matrix[at]! + first
      matrix[at + 1] = keep * matrix[at + 1]! + second
      at += 2
    }
    if (j > i) continue
    let sum = 0
    for (let row = 0; row < rows; row++) sum += weightedColumns[left + row]! * blockColumns[left + row]!
    matrix[at] = keep * matrix[at]! + sum
    at++
  }
}
