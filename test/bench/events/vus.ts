// VUS-PR: volume under the surface of precision and recall over thresholds and buffer widths around each labelled event.
//
// Source: Paparrizos et al., "Volume under the surface: a new accuracy evaluation measure for time-series anomaly detection"
// (VLDB 2022), with 250 thresholds, in the same arithmetic as the reference scorer of the data sets.

const THRESHOLDS = 250
export const WINDOW_ROWS = 100

/** Inclusive runs of non-zero rows; runs at most `gap` rows apart are one. */
export function runs(mask: ArrayLike<number>, gap = 0): [start: number, end: number][] {
  const found: [number, number][] = []
  for (let row = 0; row < mask.length; row++) {
    if (!mask[row]) continue
    const last = found.at(-1)
    if (last !== undefined && row - last[1] <= Math.max(gap, 1)) last[1] = row
    else found.push([row, row])
  }
  return found
}

/** VUS-PR of one series, 0..1. `labels` is 0 or 1 per row, with at least one 1. */
export function vusPr(labels: Uint8Array, scores: Float64Array, window = WINDOW_ROWS): number {
  const rows = labels.length
  const events = runs(labels)
  const order = Float64Array.from({ length: rows }, (_, row) => row).sort((a, b) => scores[b]! - scores[a]! || a - b)
  const stride = (rows - 1) / (THRESHOLDS - 1)
  const levels = Array.from({ length: THRESHOLDS }, (_, step) => scores[order[step === THRESHOLDS - 1 ? rows - 1 : Math.trunc(step * stride)]!]!)
  const predicted = levels.map(level => countAtLeast(scores, order, level))
  const positives = labels.reduce((sum, label) => sum + label, 0)
  let volume = 0
  for (let buffer = 0; buffer <= window; buffer++) {
    const { extended, zones } = extend(labels, events, buffer)
    const peaks = zones.map(([start, end]) => peak(scores, start, end))
    let hits = 0
    let soft = 0
    let row = 0
    let before = 0
    for (let step = 0; step < THRESHOLDS; step++) {
      for (; row < predicted[step]!; row++) {
        const at = order[row]!
        const value = Math.min(extended[at]!, 1)
        hits += value
        if (!labels[at]) soft += value
      }
      const recall = Math.min(hits / (positives + soft / 2), 1)
      const found = peaks.filter(one => one >= levels[step]!).length / peaks.length
      volume += (recall * found - before) * (hits / predicted[step]!)
      before = recall * found
    }
  }
  return volume / (window + 1)
}

function extend(labels: Uint8Array, events: readonly [number, number][], buffer: number) {
  const half = buffer >> 1
  const extended = Float64Array.from(labels)
  const zones: [number, number][] = []
  for (const [start, end] of events) {
    for (let row = end + 1; row < Math.min(end + half + 1, labels.length); row++) extended[row]! += Math.sqrt(1 - (row - end) / buffer)
    for (let row = Math.max(start - half, 0); row < start; row++) extended[row]! += Math.sqrt(1 - (start - row) / buffer)
    const last = zones.at(-1)
    if (last !== undefined && last[1] >= start - half) last[1] = end + half
    else zones.push([Math.max(start - half, 0), end + half])
  }
  return { extended, zones }
}

function peak(scores: Float64Array, start: number, end: number): number {
  let highest = Number.NEGATIVE_INFINITY
  for (let row = start; row <= Math.min(end, scores.length - 1); row++) highest = Math.max(highest, scores[row]!)
  return highest
}

/** Rows with a score of at least `level`; `order` has the highest first. */
function countAtLeast(scores: Float64Array, order: Float64Array, level: number): number {
  let low = 0
  let high = order.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (scores[order[middle]!]! >= level) low = middle + 1
    else high = middle
  }
  return low
}
