// What the multivariate detector knows of one entity: one ArrayBuffer that is its own checkpoint.
//
// Header of 64 bytes (u32: magic, version, metrics; the rest zero), then columns, the widest type first:
//   f64  scalars (SCALAR), then per metric: METRIC_F64 columns, then the times of the rows in the open block
//   f32  per metric: METRIC_F32 columns and the lag averages (now and as they were when the block began), then the z-scores and
//        weights of the rows in the open block, then for each memory the second moments C and the Cholesky factor of C + ridge,
//        both packed by rows (packed-cholesky.ts)
// Byte order is the machine's own; the magic is a number, so a foreign order is refused as a foreign format.
// 38 metrics: 330,176 bytes, 95 % of them the four packed matrices.

import { AppError } from '../../../schemas/errors.ts'
import { packedLength } from './packed-cholesky.ts'

const MAGIC = 0x564d4548 // 'HEMV'
/** Grows with every change of layout or meaning: an old checkpoint is then refused, and the entity learns anew. */
export const ENTITY_VERSION = 1
const HEADER_BYTES = 64

/** State grows with the square: 64 metrics take 0.9 MB. Of an entity with more, the caller chooses. */
export const METRICS_MAX = 64
/** Weights of the averages that each metric's past enters by: half a minute to an hour at one row a minute. */
export const LAG_WEIGHTS = [0.5, 0.2, 0.05, 0.02] as const
/** Sines and cosines of 1..4 turns a day. */
export const HARMONICS = 4
export const CLOCK_COLUMNS = 2 * HARMONICS
/** Memories in rows: four weeks and six days at one row a minute. The short one notices what has lately become usual elsewhere. */
export const MEMORIES = [40_000, 8_000] as const
/** Rows after which the model is refreshed; until then they wait in the state. */
export const BLOCK_ROWS = 60

export const SCALAR = {
  rows: 0,
  blockRows: 1,
  lastTimeMs: 2,
  intervalMs: 3,
  /** Held level and its running median (calibration.ts). */
  held: 4,
  median: 5,
  /** −log10 of the false alarms a day that the last row's level is expected to give. */
  score: 6,
  /** Slow mean of log(1 + distance / mean distance): high while something lasts. */
  slowDistance: 7,
  /** Running mean of the squared distance, one per memory. */
  meanDistance: 8,
  /** Rows that the second moments have learned. */
  modelRows: 10,
  /** Metrics whose scale is known. */
  active: 11,
  /** Level of the last row, before it is held and calibrated. */
  level: 12,
  count: 13
} as const
/** Columns of doubles, one entry a metric. `sum`, `squares`, `weight`: what the open block will teach. */
export const METRIC_F64 = { mean: 0, variance: 1, low: 2, high: 3, value: 4, sum: 5, squares: 6, weight: 7, count: 8 } as const
/** Columns of floats, one entry a metric. `age`: rows with a value; `tail`: log of the residual's high quantile; `seen`: rows in the open block. */
export const METRIC_F32 = { scale: 0, z: 1, age: 2, tail: 3, residual: 4, precision: 5, seen: 6, count: 7 } as const

export interface EntityState {
  readonly buffer: ArrayBuffer
  readonly metrics: number
  /** Columns of the model: clock, lag averages, the row itself, in this order. */
  readonly columns: number
  readonly scalars: Float64Array
  readonly metric64: Float64Array
  readonly times: Float64Array
  readonly metric32: Float32Array
  readonly lags: Float32Array
  readonly blockLags: Float32Array
  readonly blockZ: Float32Array
  readonly blockWeights: Float32Array
  readonly moments: readonly Float32Array[]
  readonly factors: readonly Float32Array[]
}

/**
 * State of an entity that has not been seen yet.
 * @param metrics how many metrics a row has, 1..METRICS_MAX; those not reported yet cost only their place
 */
export function newEntityState(metrics: number): EntityState {
  if (!Number.isInteger(metrics) || metrics < 1 || metrics > METRICS_MAX) throw new RangeError(`an entity has 1 to ${METRICS_MAX} metrics, not ${metrics}`)
  const state = viewsOf(new ArrayBuffer(entityBytes(metrics)), metrics)
  new Uint32Array(state.buffer, 0, 3).set([MAGIC, ENTITY_VERSION, metrics])
  return state
}

/** Bytes of an entity's state. */
export function entityBytes(metrics: number): number {
  const columns = columnsOf(metrics)
  const lags = LAG_WEIGHTS.length
  const doubles = SCALAR.count + METRIC_F64.count * metrics + BLOCK_ROWS
  const floats = (METRIC_F32.count + 2 * lags + BLOCK_ROWS) * metrics + BLOCK_ROWS * MEMORIES.length + 2 * MEMORIES.length * packedLength(columns)
  return HEADER_BYTES + 8 * doubles + 4 * floats
}

/** Where in the buffer of such a state the second moments and their factors begin: all before them changes with every row. */
export function momentsAt(metrics: number): number {
  return entityBytes(metrics) - 4 * 2 * MEMORIES.length * packedLength(columnsOf(metrics))
}

/**
 * The state of a checkpoint; scores the next rows bit for bit as the one that was saved.
 * @throws AppError `checkpoint_invalid` when magic, version or size differ
 */
export function entityStateFrom(bytes: Uint8Array): EntityState {
  if (bytes.byteLength < HEADER_BYTES) throw new AppError('checkpoint_invalid', `an entity's state of ${bytes.byteLength} bytes is too short`)
  const buffer = new ArrayBuffer(bytes.byteLength)
  new Uint8Array(buffer).set(bytes)
  const [magic, version, metrics] = new Uint32Array(buffer, 0, 3)
  if (magic !== MAGIC || version !== ENTITY_VERSION) {
    throw new AppError('checkpoint_invalid', `an entity's state has format ${magic}/${version}, this is ${MAGIC}/${ENTITY_VERSION}`)
  }
  if (metrics! < 1 || metrics! > METRICS_MAX || entityBytes(metrics!) !== bytes.byteLength) {
    throw new AppError('checkpoint_invalid', `an entity's state claims ${metrics} metrics in ${bytes.byteLength} bytes`)
  }
  return viewsOf(buffer, metrics!)
}

function columnsOf(metrics: number): number {
  return CLOCK_COLUMNS + (LAG_WEIGHTS.length + 1) * metrics
}

function viewsOf(buffer: ArrayBuffer, metrics: number): EntityState {
  let at = HEADER_BYTES
  const doubles = (length: number): Float64Array => {
    const view = new Float64Array(buffer, at, length)
    at += 8 * length
    return view
  }
  const floats = (length: number): Float32Array => {
    const view = new Float32Array(buffer, at, length)
    at += 4 * length
    return view
  }
  const columns = columnsOf(metrics)
  const matrix = () => floats(packedLength(columns))
  return {
    buffer,
    metrics,
    columns,
    scalars: doubles(SCALAR.count),
    metric64: doubles(METRIC_F64.count * metrics),
    times: doubles(BLOCK_ROWS),
    metric32: floats(METRIC_F32.count * metrics),
    lags: floats(LAG_WEIGHTS.length * metrics),
    blockLags: floats(LAG_WEIGHTS.length * metrics),
    blockZ: floats(BLOCK_ROWS * metrics),
    blockWeights: floats(BLOCK_ROWS * MEMORIES.length),
    moments: MEMORIES.map(matrix),
    factors: MEMORIES.map(matrix)
  }
}
