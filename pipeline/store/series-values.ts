// Stored points of one metric as the values that checks compare: rates of counters, means of histograms, gauges as they are.
//
// Cumulative points mean something only as differences, within one series (same attributes and the same process: its resource). A reset
// shows as a later start time or a smaller value; the count then began anew, so the whole new value belongs to the interval since.

/** One stored point. */
export interface StoredPoint {
  kind: 'gauge' | 'sum' | 'distribution'
  /** Points with the same text are one series. */
  series: string
  atMs: number
  /** 0 when unset. */
  startMs: number
  /** Gauge and sum. */
  value: number
  /** Distribution. */
  count: number
  sum: number
  /** 1 delta, 2 cumulative, 0 unspecified. */
  temporality: number
  monotonic: boolean
}

export interface TimedValue {
  atMs: number
  value: number
}

const DELTA = 1
const CUMULATIVE = 2

/**
 * Values over time, of all series together, ordered by time; a point that gives none (the first of a counter, an empty interval) is left out.
 *
 * gauge, non-monotonic sum: its value. Monotonic sum: change per second; of a delta point over its own interval (its value where the sender
 * gives no start), of a cumulative one since the series' point before, or since its start time for the first one after a start. Histogram
 * and summary: mean of what the interval counted. Delta points of one series and instant are parts of one (detection derives them shard by
 * shard) and count together.
 *
 * @param points in order of time within a series, from before `fromMs` on so that the first interval is known
 * @param fromMs values of points before it are not returned
 */
export function seriesValues(points: readonly StoredPoint[], fromMs: number): TimedValue[] {
  const previous = new Map<string, StoredPoint>()
  const values: TimedValue[] = []
  for (const point of joinedParts(points)) {
    const value = pointValue(point, previous.get(point.series))
    previous.set(point.series, point)
    if (value !== undefined && Number.isFinite(value) && point.atMs >= fromMs) values.push({ atMs: point.atMs, value })
  }
  return values.sort((a, b) => a.atMs - b.atMs)
}

/** Delta points of the same series and instant as one point. */
function joinedParts(points: readonly StoredPoint[]): StoredPoint[] {
  const joined: StoredPoint[] = []
  const known = new Map<string, StoredPoint>()
  for (const point of points) {
    const key = `${point.kind} ${point.series} ${point.atMs}`
    const first = point.temporality === DELTA ? known.get(key) : undefined
    if (first) {
      first.value += point.value
      first.count += point.count
      first.sum += point.sum
      continue
    }
    const copy = { ...point }
    known.set(key, copy)
    joined.push(copy)
  }
  return joined
}

function pointValue(point: StoredPoint, before: StoredPoint | undefined): number | undefined {
  if (point.kind === 'gauge') return point.value
  if (point.kind === 'sum') return sumValue(point, before)
  return meanValue(point, before)
}

function sumValue(point: StoredPoint, before: StoredPoint | undefined): number | undefined {
  if (!point.monotonic) return point.value
  if (point.temporality !== CUMULATIVE)
    return point.startMs > 0 && point.startMs < point.atMs ? (point.value * 1_000) / (point.atMs - point.startMs) : point.value
  const continued = before !== undefined && !isReset(point, before, point.value < before.value)
  const sinceMs = continued ? before.atMs : startOf(point, before)
  if (sinceMs === undefined || point.atMs <= sinceMs) return undefined
  return ((point.value - (continued ? before.value : 0)) * 1_000) / (point.atMs - sinceMs)
}

function meanValue(point: StoredPoint, before: StoredPoint | undefined): number | undefined {
  if (point.temporality !== CUMULATIVE) return point.count > 0 ? point.sum / point.count : undefined
  const continued = before !== undefined && !isReset(point, before, point.count < before.count)
  // Without the point before and without a start, the sum covers an unknown time, not this interval.
  if (!continued && startOf(point, before) === undefined) return undefined
  const count = point.count - (continued ? before.count : 0)
  return count > 0 ? (point.sum - (continued ? before.sum : 0)) / count : undefined
}

function isReset(point: StoredPoint, before: StoredPoint, fell: boolean): boolean {
  return fell || (point.startMs > 0 && point.startMs > before.startMs && point.startMs >= before.atMs)
}

/** When a new count began: its start time, else the point before the reset; unknown for a first point without one. */
function startOf(point: StoredPoint, before: StoredPoint | undefined): number | undefined {
  if (point.startMs > 0) return Math.max(point.startMs, before?.atMs ?? 0)
  return before?.atMs
}
