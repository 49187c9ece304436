// Checkpoint part of histogram states: JSON, since there are few of them and only changed chunks are written.

import { AppError } from '../../schemas/errors.ts'
import { emptyExponential, type Exponential } from './exponential.ts'
import type { Distribution, HistogramState, HistogramWindow } from './histogram.ts'

interface ExponentialRow {
  scale: number
  offset: number
  length: number
  zeroCount: number
  counts: number[]
}
interface DistributionRow {
  count: number
  sum: number
  bounds: number[]
  buckets: number[]
  exponential: ExponentialRow | null
}

type WindowRow = DistributionRow & { startMs: number | null; seen: number }
interface StateRow {
  series: number
  mean: number
  p95: number
  lastTimeMs: number | null
  open: WindowRow
  next: WindowRow
  previous: (DistributionRow & { startMs: number }) | null
}

export function histogramsToBytes(states: readonly HistogramState[]): Uint8Array {
  const rows: StateRow[] = states.map(state => ({
    series: state.series,
    mean: state.mean,
    p95: state.p95,
    // JSON has no −Infinity and no NaN: null stands for "none yet".
    lastTimeMs: Number.isFinite(state.lastTimeMs) ? state.lastTimeMs : null,
    open: windowRow(state.open),
    next: windowRow(state.next),
    previous: state.previous && { ...distributionRow(state.previous), startMs: state.previous.startMs }
  }))
  return new TextEncoder().encode(JSON.stringify(rows))
}

/** @throws AppError `checkpoint_invalid` */
export function histogramsFromBytes(bytes: Uint8Array): HistogramState[] {
  try {
    const rows = JSON.parse(new TextDecoder().decode(bytes)) as StateRow[]
    return rows.map(row => ({
      series: row.series,
      mean: row.mean,
      p95: row.p95,
      lastTimeMs: row.lastTimeMs ?? Number.NEGATIVE_INFINITY,
      open: windowOf(row.open),
      next: windowOf(row.next),
      previous: row.previous && { ...distributionOf(row.previous), startMs: row.previous.startMs },
      dirty: false
    }))
  } catch (cause) {
    throw new AppError('checkpoint_invalid', 'the histograms of a checkpoint cannot be read', { cause })
  }
}

function windowRow(window: HistogramWindow): WindowRow {
  return { ...distributionRow(window), startMs: Number.isNaN(window.startMs) ? null : window.startMs, seen: window.seen }
}

function windowOf(row: WindowRow): HistogramWindow {
  return { ...distributionOf(row), startMs: row.startMs ?? Number.NaN, seen: row.seen }
}

function distributionRow({ count, sum, bounds, buckets, exponential }: Distribution): DistributionRow {
  return { count, sum, bounds: [...bounds], buckets: [...buckets], exponential: exponential && exponentialRow(exponential) }
}

function distributionOf({ count, sum, bounds, buckets, exponential }: DistributionRow): Distribution {
  return { count, sum, bounds: Float64Array.from(bounds), buckets: Float64Array.from(buckets), exponential: exponential && exponentialOf(exponential) }
}

export function exponentialRow({ scale, offset, length, zeroCount, counts }: Exponential): ExponentialRow {
  return { scale, offset, length, zeroCount, counts: [...counts.subarray(0, length)] }
}

export function exponentialOf(row: ExponentialRow): Exponential {
  const histogram = emptyExponential()
  histogram.scale = row.scale
  histogram.offset = row.offset
  histogram.length = row.length
  histogram.zeroCount = row.zeroCount
  histogram.counts.set(row.counts)
  return histogram
}
