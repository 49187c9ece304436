// Features of an entity at one instant: how far its series are from normal, by class of metric, and how that moves.
//
// The same function serves training and scoring: detect writes the vector as ordinary gauges (`homeostat.feature`), which
// reach ClickHouse with the rest of the telemetry; training reads back exactly what scoring saw. Scale-free on purpose
// (deviations, not values), so that what was learned on one entity carries over to another.

/** Classes of metrics that the detectors tell apart; anything else counts as other. */
export const FEATURE_CLASSES = ['errors', 'latency', 'saturation', 'cpu', 'traffic', 'other'] as const
export type FeatureClass = (typeof FEATURE_CLASSES)[number]

/** Of each class: the largest deviation (signed), the mean absolute one, and the largest one's moving average. */
export const FEATURE_STATISTICS = ['peak', 'mean', 'trend'] as const

/** Names in the order of the vector: `errors|peak`, `errors|mean`, … */
export const FEATURE_NAMES: readonly string[] = FEATURE_CLASSES.flatMap(each => FEATURE_STATISTICS.map(statistic => `${each}|${statistic}`))

/** Deviations beyond this say no more than "far away"; clipping keeps one broken series from drowning the rest. */
const DEVIATION_MAX = 10
/** Weight of the newest peak in its moving average: about the last ten instants. */
const TREND_WEIGHT = 0.2

export interface SeriesDeviation {
  class: string
  /** Signed distance from the expected value in units of the series' own spread. */
  deviation: number
}

/**
 * The vector of one entity now.
 * @param series   deviations of its series at this instant
 * @param previous the entity's vector before, for the trends; undefined at first
 * @returns FEATURE_NAMES.length numbers; classes without a series are 0
 */
export function entityFeatures(series: readonly SeriesDeviation[], previous: Float64Array | undefined): Float64Array {
  const vector = new Float64Array(FEATURE_NAMES.length)
  const counts = new Float64Array(FEATURE_CLASSES.length)
  for (const { class: name, deviation } of series) {
    if (!Number.isFinite(deviation)) continue
    const known = FEATURE_CLASSES.indexOf(name as FeatureClass)
    const index = known < 0 ? FEATURE_CLASSES.length - 1 : known
    const clipped = Math.max(-DEVIATION_MAX, Math.min(DEVIATION_MAX, deviation))
    const peak = index * FEATURE_STATISTICS.length
    if (Math.abs(clipped) > Math.abs(vector[peak]!)) vector[peak] = clipped
    vector[peak + 1] = vector[peak + 1]! + Math.abs(clipped)
    counts[index] = counts[index]! + 1
  }
  for (const index of FEATURE_CLASSES.keys()) {
    const peak = index * FEATURE_STATISTICS.length
    if (counts[index]! > 0) vector[peak + 1] = vector[peak + 1]! / counts[index]!
    vector[peak + 2] = previous ? previous[peak + 2]! + TREND_WEIGHT * (vector[peak]! - previous[peak + 2]!) : vector[peak]!
  }
  return vector
}
