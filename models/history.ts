// Reads what training needs from ClickHouse: feature vectors as detect wrote them, and what failed when.

import type { Store } from '../schemas/ports.ts'
import type { FailureInterval, FeatureRow } from './dataset.ts'
import { FEATURE_NAMES } from './features.ts'

/** The gauge that detect writes, one point a feature, named by its attribute `feature`. */
export const FEATURE_METRIC = 'homeostat.feature'
/** The gauge of a model's forecasts, by the attributes `entity`, `model`, `version`. */
export const PROBABILITY_METRIC = 'homeostat.failure.probability'
/** Newest vectors read: about a gigabyte of JSON at most; longer histories are thinned by the newest-first limit. */
export const ROWS_MAX = 200_000

interface FeatureQueryRow {
  entity: string
  atMs: number
  names: string[]
  values: number[]
}

/** @returns vectors, oldest first, and failures: every incident's first cause with the time it lasted */
export async function readHistory(store: Store, sinceMs: number): Promise<{ rows: FeatureRow[]; failures: FailureInterval[] }> {
  const vectors = await store.query<FeatureQueryRow>(
    `SELECT Attributes['entity'] AS entity, toUnixTimestamp64Milli(toDateTime64(TimeUnix, 9)) AS atMs,
            groupArray(Attributes['feature']) AS names, groupArray(Value) AS values
     FROM otel_metrics_gauge
     WHERE MetricName = {metric:String} AND TimeUnix >= fromUnixTimestamp64Milli({since:Int64})
     GROUP BY entity, TimeUnix ORDER BY TimeUnix DESC LIMIT {limit:UInt32}`,
    { metric: FEATURE_METRIC, since: Math.floor(sinceMs), limit: ROWS_MAX }
  )
  const failures = await store.query<{ causes: string; startedAtMs: number; endedAtMs: number }>(
    `SELECT Causes AS causes, toUnixTimestamp64Milli(StartedAt) AS startedAtMs, toUnixTimestamp64Milli(coalesce(HealedAt, ResolvedAt, toDateTime64(0, 9))) AS endedAtMs
     FROM homeostat_incidents_latest WHERE StartedAt >= fromUnixTimestamp64Milli({since:Int64})`,
    { since: Math.floor(sinceMs) }
  )
  return { rows: vectors.map(toRow).reverse(), failures: failures.flatMap(toFailure) }
}

function toRow({ entity, atMs, names, values }: FeatureQueryRow): FeatureRow {
  const vector = new Float64Array(FEATURE_NAMES.length)
  for (const [index, name] of names.entries()) {
    const position = FEATURE_NAMES.indexOf(name)
    if (position >= 0) vector[position] = values[index]!
  }
  return { entity, atMs: Number(atMs), vector }
}

function toFailure({ causes, startedAtMs, endedAtMs }: { causes: string; startedAtMs: number; endedAtMs: number }): FailureInterval[] {
  const first = (JSON.parse(causes) as { entity: string; service: string }[])[0]
  if (!first) return []
  return [{ entity: first.entity, service: first.service, startedAtMs: Number(startedAtMs), endedAtMs: Number(endedAtMs) > 0 ? Number(endedAtMs) : null }]
}
