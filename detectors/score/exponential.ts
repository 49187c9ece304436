// Exponential histograms: counts in buckets whose bounds grow by 2^(2^-scale), as OpenTelemetry defines them.
//
// Used by derive (durations of spans into buckets) and by the scorer (merging points of one window, difference of cumulative ones).
// Buckets are dense in one fixed array; when values spread over more than BUCKETS_MAX buckets, neighbours are merged
// (scale - 1), which keeps bounds aligned: histograms of different scales can always be added exactly at the coarser one.

/** The SDKs' default size: relative error below 2.2 % over a range of 1:1000. */
export const BUCKETS_MAX = 160
/** Finest scale that a duration is counted at: bounds grow by 4.4 %. */
export const SCALE_INITIAL = 4

export interface Exponential {
  scale: number
  /** Index of the first bucket: it holds (base^offset, base^(offset + 1)]. */
  offset: number
  /** Buckets used; 0 = empty. */
  length: number
  zeroCount: number
  readonly counts: Float64Array
}

export function emptyExponential(): Exponential {
  return { scale: SCALE_INITIAL, offset: 0, length: 0, zeroCount: 0, counts: new Float64Array(BUCKETS_MAX) }
}

export function clearExponential(histogram: Exponential): void {
  histogram.scale = SCALE_INITIAL
  histogram.offset = 0
  histogram.length = 0
  histogram.zeroCount = 0
  histogram.counts.fill(0)
}

/** Counts one value; values at or below zero count as zero. */
export function addValue(histogram: Exponential, value: number): void {
  if (!(value > 0)) {
    histogram.zeroCount++
    return
  }
  let index = Math.ceil(Math.log2(value) * 2 ** histogram.scale) - 1
  index >>= cover(histogram, index, index)
  histogram.counts[index - histogram.offset]!++
}

/**
 * Adds (`sign` 1) or takes away (−1) buckets of another histogram. Negative results are left for the caller to see as a reset.
 * @param counts `length` counts, the first for bucket `offset` at `scale`
 */
export function addBuckets(histogram: Exponential, scale: number, offset: number, counts: Float64Array, length: number, sign: 1 | -1): void {
  if (length === 0) return
  if (histogram.length === 0 && scale < histogram.scale) histogram.scale = scale
  if (histogram.scale > scale) downscale(histogram, histogram.scale - scale)
  let shift = scale - histogram.scale
  shift += cover(histogram, offset >> shift, (offset + length - 1) >> shift)
  for (let i = 0; i < length; i++) {
    const at = ((offset + i) >> shift) - histogram.offset
    histogram.counts[at] = histogram.counts[at]! + sign * counts[i]!
  }
}

/**
 * Value below which the share `quantile` of the counts lies, interpolated within its bucket on the logarithmic scale.
 * @returns NaN when empty
 */
export function exponentialQuantile({ scale, offset, length, zeroCount, counts }: Exponential, quantile: number): number {
  let total = zeroCount
  for (let i = 0; i < length; i++) total += counts[i]!
  if (total <= 0) return Number.NaN
  const rank = quantile * total
  let below = zeroCount
  if (rank <= below) return 0
  for (let i = 0; i < length; i++) {
    const count = counts[i]!
    if (below + count >= rank) return 2 ** ((offset + i + (rank - below) / count) / 2 ** scale)
    below += count
  }
  return 2 ** ((offset + length) / 2 ** scale)
}

/** Makes room for buckets `low`..`high` (at the histogram's scale); returns how many times the scale had to be halved for it. */
function cover(histogram: Exponential, low: number, high: number): number {
  let shift = 0
  for (;;) {
    const first = histogram.length === 0 ? low >> shift : Math.min(histogram.offset, low >> shift)
    const last = histogram.length === 0 ? high >> shift : Math.max(histogram.offset + histogram.length - 1, high >> shift)
    if (last - first < BUCKETS_MAX) {
      if (histogram.length > 0 && first < histogram.offset) {
        const by = histogram.offset - first
        histogram.counts.copyWithin(by, 0, histogram.length)
        histogram.counts.fill(0, 0, by)
      }
      histogram.offset = first
      histogram.length = last - first + 1
      return shift
    }
    if (histogram.length === 0) histogram.scale--
    else downscale(histogram, 1)
    shift++
  }
}

function downscale(histogram: Exponential, by: number): void {
  const { counts, offset, length } = histogram
  histogram.scale -= by
  if (length === 0) return
  const first = offset >> by
  for (let i = 0; i < length; i++) {
    const count = counts[i]!
    counts[i] = 0
    counts[((offset + i) >> by) - first]! += count
  }
  histogram.offset = first
  histogram.length = ((offset + length - 1) >> by) - first + 1
}
