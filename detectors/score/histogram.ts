// Histogram series: points of both kinds and temporalities become one distribution per window, scored as mean and p95.
//
// Flow: scorer -> histogram (merge point) -> scorer (close window: judge statistics as series of their own).
// The state is made once per series, reused for every point, and part of the checkpoint (`histogram-N`). Explicit buckets
// are merged as they are when their bounds agree; exponential ones at the coarser scale. Negative values count as zero:
// what is scored are durations and sizes.

import { POINT_KIND, type PointView, TEMPORALITY } from '../../schemas/otlp.ts'
import { remember, TAKEN, type Taken, windowStart } from './windows.ts'
import { addBuckets, clearExponential, emptyExponential, type Exponential, exponentialQuantile } from './exponential.ts'

/** Fewer values than this say nothing about a p95. */
const QUANTILE_SAMPLES_MIN = 5
/** An explicit histogram with more buckets is refused: SDK defaults have 15 bounds. */
const BOUNDS_MAX = 256

export interface Distribution {
  count: number
  sum: number
  /** Explicit: counts per bucket, one more than bounds. Empty when exponential. */
  bounds: Float64Array
  buckets: Float64Array
  exponential: Exponential | null
}

export interface HistogramWindow extends Distribution {
  /** Epoch ms; NaN: the window has no data. */
  startMs: number
  /** Derived points: shards already merged. Others: offset of the last point in the window, ms. */
  seen: number
}

export interface HistogramState {
  /** Series numbers: the histogram's own, and of its statistics. */
  series: number
  mean: number
  p95: number
  open: HistogramWindow
  next: HistogramWindow
  /** Last cumulative point; null before the first. */
  previous: (Distribution & { startMs: number }) | null
  /** Time of the last point taken, epoch ms. */
  lastTimeMs: number
  dirty: boolean
}

export function newHistogram(series: number, mean: number, p95: number): HistogramState {
  return { series, mean, p95, open: emptyWindow(), next: emptyWindow(), previous: null, lastTimeMs: Number.NEGATIVE_INFINITY, dirty: true }
}

function emptyWindow(): HistogramWindow {
  return { startMs: Number.NaN, seen: 0, ...emptyDistribution() }
}

function emptyDistribution(): Distribution {
  return { count: 0, sum: 0, bounds: new Float64Array(0), buckets: new Float64Array(0), exponential: null }
}

/**
 * Merges a point into its window; windows that it leaves behind are closed first.
 * @param closedMs end of the last window that was judged
 */
export function takeDistribution(
  state: HistogramState,
  view: PointView,
  isDerived: boolean,
  windowMs: number,
  closedMs: number,
  close: (state: HistogramState) => void
): Taken {
  if (!isDerived && view.timeMs <= state.lastTimeMs) return TAKEN.duplicate
  const startMs = windowStart(view.timeMs, windowMs)
  if (Number.isNaN(state.open.startMs)) {
    if (startMs + windowMs <= closedMs) return TAKEN.late
    state.open.startMs = startMs
  }
  // Closing makes the next window the open one; both empty, the point's window is opened.
  while (startMs > state.open.startMs + windowMs) {
    close(state)
    if (Number.isNaN(state.open.startMs)) state.open.startMs = startMs
  }
  if (startMs === state.open.startMs - windowMs && Number.isNaN(state.next.startMs) && startMs + windowMs > closedMs) {
    // The later window was seen first: it becomes the next one.
    const { open } = state
    state.open = state.next
    state.next = open
    state.open.startMs = startMs
  }
  if (startMs < state.open.startMs) return TAKEN.late
  const window = startMs === state.open.startMs ? state.open : state.next
  const seen = remember(window.seen, isDerived, view.timeMs, view.startMs, startMs)
  if (seen < 0) return TAKEN.duplicate
  state.lastTimeMs = Math.max(state.lastTimeMs, view.timeMs)
  window.startMs = startMs
  if (mergePoint(state, window, view)) window.seen = seen
  return TAKEN.added
}

/** The open window was judged: the next one takes its place. */
export function nextWindow(state: HistogramState): void {
  const { open } = state
  clearWindow(open)
  state.open = state.next
  state.next = open
  state.dirty = true
}

/**
 * Merges a point into `window`: a delta point as it is, a cumulative one as its difference to the previous.
 * @returns false when the point has no use: the first or a reset cumulative point, or buckets that are too many
 */
function mergePoint(state: HistogramState, window: HistogramWindow, view: PointView): boolean {
  if (view.kind === POINT_KIND.histogram && view.boundCount > BOUNDS_MAX) return false
  state.dirty = true
  if (view.temporality !== TEMPORALITY.cumulative) {
    addPoint(window, view, 1)
    return true
  }
  const { previous } = state
  const isContinued =
    previous !== null &&
    view.count >= previous.count &&
    !(view.startMs > previous.startMs) &&
    (view.kind === POINT_KIND.exponentialHistogram || sameBounds(previous.bounds, view.bounds, view.boundCount))
  if (isContinued && view.count > previous.count) {
    addPoint(window, view, 1)
    subtract(window, previous)
  }
  const kept = previous ?? { ...emptyDistribution(), startMs: 0 }
  clearDistribution(kept)
  addPoint(kept, view, 1)
  kept.startMs = view.startMs
  state.previous = kept
  return isContinued
}

/** Statistics of a window that closes; NaN where it holds too few values. */
export function windowMean(window: Distribution): number {
  return window.count > 0 ? window.sum / window.count : Number.NaN
}

export function windowP95(window: Distribution): number {
  if (window.count < QUANTILE_SAMPLES_MIN) return Number.NaN
  return window.exponential ? exponentialQuantile(window.exponential, 0.95) : explicitQuantile(window.bounds, window.buckets, 0.95)
}

function clearWindow(window: HistogramWindow): void {
  clearDistribution(window)
  window.startMs = Number.NaN
  window.seen = 0
}

function clearDistribution(distribution: Distribution): void {
  distribution.count = 0
  distribution.sum = 0
  distribution.buckets.fill(0)
  if (distribution.exponential) clearExponential(distribution.exponential)
}

function addPoint(into: Distribution, view: PointView, sign: 1 | -1): void {
  into.count += sign * view.count
  into.sum += sign * (Number.isFinite(view.sum) ? view.sum : 0)
  if (view.kind === POINT_KIND.exponentialHistogram) {
    into.exponential ??= emptyExponential()
    into.exponential.zeroCount += sign * view.zeroCount
    for (let i = 0; i < view.negativeBucketCount; i++) into.exponential.zeroCount += sign * view.negativeBuckets[i]!
    addBuckets(into.exponential, view.scale, view.positiveOffset, view.buckets, view.bucketCount, sign)
    return
  }
  if (!sameBounds(into.bounds, view.bounds, view.boundCount)) {
    into.bounds = view.bounds.slice(0, view.boundCount)
    into.buckets = new Float64Array(view.boundCount + 1)
  }
  const length = Math.min(view.bucketCount, into.buckets.length)
  for (let i = 0; i < length; i++) into.buckets[i] = into.buckets[i]! + sign * view.buckets[i]!
}

function subtract(from: Distribution, other: Distribution): void {
  from.count -= other.count
  from.sum -= other.sum
  if (from.exponential && other.exponential) {
    from.exponential.zeroCount -= other.exponential.zeroCount
    addBuckets(from.exponential, other.exponential.scale, other.exponential.offset, other.exponential.counts, other.exponential.length, -1)
  } else if (sameBounds(from.bounds, other.bounds, other.bounds.length)) {
    for (let i = 0; i < from.buckets.length; i++) from.buckets[i] = from.buckets[i]! - other.buckets[i]!
  }
}

function sameBounds(mine: Float64Array, theirs: Float64Array, length: number): boolean {
  if (mine.length !== length) return false
  for (let i = 0; i < length; i++) if (mine[i] !== theirs[i]) return false
  return true
}

/** Interpolated linearly within the bucket; the last, open bucket gives its lower bound. @returns NaN when empty */
function explicitQuantile(bounds: Float64Array, buckets: Float64Array, quantile: number): number {
  let total = 0
  for (const count of buckets) total += count
  if (total <= 0 || bounds.length === 0) return Number.NaN
  const rank = quantile * total
  let below = 0
  for (let i = 0; i < bounds.length; i++) {
    const count = buckets[i]!
    if (below + count >= rank) {
      const lower = i === 0 ? Math.min(0, bounds[0]!) : bounds[i - 1]!
      return count <= 0 ? bounds[i]! : lower + ((bounds[i]! - lower) * (rank - below)) / count
    }
    below += count
  }
  return bounds[bounds.length - 1]!
}
