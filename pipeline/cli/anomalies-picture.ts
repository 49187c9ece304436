// The picture of an anomaly: the series' values as the detector judged them, before, during and after, with what it expected.
//
// Values come from ClickHouse and go through the detector's own code once more (counters become rates, histograms quantiles). The
// band is what the anomaly's records say: one each time it was told, so it holds from one to the next and, before the first, stands
// for what had been learned by then.

import type { LoadedConfig } from '../config/load.ts'
import { openReplay } from '../roles/backtest.ts'
import type { AnomalyStory } from './anomalies-read.ts'
import { type History, type HistoryQuery, historyRequests, METRIC_TABLES, metricFilter } from './backtest-history.ts'
import type { Expectation, Picture } from './plot/picture.ts'

/** Shown before and after: this multiple of the anomaly's length, and at least so many points of the series. */
const BEFORE_SHARE = 3
const AFTER_SHARE = 1
const BEFORE_POINTS = 60
const AFTER_POINTS = 15
/** What is read, to find the usual distance of points, and never shown less or more than. */
const AROUND_MS_MIN = 20_000
const READ_MS_MIN = 900_000
const AROUND_MS_MAX = 6 * 3_600_000
/** Longer anomalies are shown from their beginning. */
const LENGTH_MS_MAX = 24 * 3_600_000
/** A counter's first rate needs the point before it, which comes within this. */
const LOOKBACK_MS = 120_000
/** Bars of the picture of a silence. */
const SILENCE_STEPS = 60

/**
 * @param nowMs the end of what can be known of an open anomaly
 * @throws AppError `store_unavailable`, `timeout`
 */
export async function anomalyPicture(story: AnomalyStory, history: Pick<History, 'sql'>, config: LoadedConfig['config'], nowMs: number): Promise<Picture> {
  const { first } = story
  const endMs = Math.min(story.closedAtMs ?? nowMs, first.sinceMs + LENGTH_MS_MAX)
  const lengthMs = Math.max(0, endMs - first.sinceMs)
  const around = (share: number): number => Math.min(AROUND_MS_MAX, Math.max(READ_MS_MIN, share * lengthMs))
  const base = {
    description: first.reason,
    fromMs: first.sinceMs - around(BEFORE_SHARE),
    toMs: Math.max(endMs + 1_000, Math.min(nowMs, endMs + around(AFTER_SHARE))),
    anomalous: { fromMs: first.sinceMs, toMs: endMs, isOpen: story.closedAtMs === null }
  }
  return first.direction === 'absent' || first.metric === ''
    ? silencePicture(story, history, cropped(base, lengthMs, 0, nowMs))
    : seriesPicture(story, history, config, base, nowMs)
}

type Base = Pick<Picture, 'description' | 'fromMs' | 'toMs' | 'anomalous'>

/** Less around the anomaly where its series has many points, so that it can be seen. */
function cropped(read: Base, lengthMs: number, intervalMs: number, nowMs: number): Base {
  const before = Math.max(AROUND_MS_MIN, BEFORE_SHARE * lengthMs, BEFORE_POINTS * intervalMs)
  const after = Math.max(AROUND_MS_MIN, AFTER_SHARE * lengthMs, AFTER_POINTS * intervalMs)
  const { fromMs, toMs } = read.anomalous!
  return { ...read, fromMs: Math.max(read.fromMs, fromMs - before), toMs: Math.max(fromMs + 1_000, Math.min(read.toMs, toMs + after, nowMs)) }
}

/** Middle of the distances between points; 0 for fewer than two. */
function usualIntervalMs(values: Picture['values']): number {
  const distances = values.slice(1).map(({ atMs }, index) => atMs - values[index]!.atMs)
  return distances.toSorted((a, b) => a - b)[distances.length >> 1] ?? 0
}

async function seriesPicture(story: AnomalyStory, history: Pick<History, 'sql'>, config: LoadedConfig['config'], read: Base, nowMs: number): Promise<Picture> {
  const { first } = story
  // What the configuration does not score any more was scored then.
  const replay = openReplay({ ...config, detect: { ...config.detect, ignore: [], rules: [] } }, new Set([first.series]))
  const query = { fromMs: read.fromMs - LOOKBACK_MS, toMs: read.toMs, entity: first.entity, environment: first.environment }
  const metrics = [first.metric, ...(await pulseOf(history, query))]
  for await (const { requests } of historyRequests(history, { ...query, metrics })) for (const request of requests) replay.take(request)
  replay.finish(read.toMs)
  const judged = replay.watched(first.series)
  const base = cropped(read, read.anomalous!.toMs - read.anomalous!.fromMs, usualIntervalMs(judged?.values ?? []), nowMs)
  const values = (judged?.values ?? []).filter(({ atMs }) => atMs >= base.fromMs && atMs <= base.toMs)
  const notes: string[] = []
  if (values.length === 0) notes.push('ClickHouse has no values of this series in this time: they are older than store.telemetryTtlDays, or were never stored.')
  const isWhole = values.length > 0 && first.expected !== null
  const expectations = isWhole
    ? expectationsOf(
        story,
        base,
        values.every(({ value }) => value >= 0)
      )
    : []
  if (isWhole) {
    notes.push(
      expectations.length > 1
        ? 'Normal and expected are as the detector told them, each time until it told again.'
        : 'Normal and expected are those of the moment when the anomaly was found.'
    )
  } else if (values.length > 0) notes.push('The record does not say what was expected.')
  return { ...base, title: seriesTitle(story), unit: judged?.unit ?? first.unit, rate: judged?.rate ?? false, values, expectations, notes }
}

/** The metric that the entity sent most steadily: an empty window of another one is a zero only while the entity is heard. */
async function pulseOf({ sql }: Pick<History, 'sql'>, query: HistoryQuery): Promise<string[]> {
  const filter = metricFilter(query)
  const tables = METRIC_TABLES.map(table => `SELECT MetricName, TimeUnix FROM ${table} WHERE ${filter}`)
  const rows = await sql<{ metric: string }>(
    `SELECT MetricName AS metric FROM (${tables.join('\nUNION ALL\n')}) GROUP BY metric ORDER BY uniq(TimeUnix) DESC, count(), metric LIMIT 1`
  )
  return rows.map(({ metric }) => metric)
}

/** Metric, statistic, attributes, entity. */
export function seriesTitle({ first }: AnomalyStory): string {
  const { stat, ...others } = first.attributes
  const shown = Object.entries(others)
    .filter(([key]) => key !== 'template')
    .map(([key, value]) => `${key} ${value}`)
  return `${stat === undefined ? '' : `${stat} of `}${first.metric}${shown.length === 0 ? '' : ` (${shown.join(', ')})`} of ${first.entity}`
}

/** From one record to the next; the first reaches back to the beginning of the picture. @param isPositive a band below zero would be drawn where no value can be */
function expectationsOf({ records }: AnomalyStory, { fromMs, toMs }: Base, isPositive: boolean): Expectation[] {
  return records.map((record, index) => ({
    fromMs: index === 0 ? fromMs : record.observedAtMs,
    toMs: records[index + 1]?.observedAtMs ?? toMs,
    expected: record.expected,
    lower: record.lower === null ? null : isPositive ? Math.max(0, record.lower) : record.lower,
    upper: record.upper
  }))
}

/** A silence is drawn as what arrived: points of all metrics of the entity, per step. */
async function silencePicture({ first }: AnomalyStory, { sql }: Pick<History, 'sql'>, base: Base): Promise<Picture> {
  const stepMs = Math.max(1_000, Math.ceil((base.toMs - base.fromMs) / SILENCE_STEPS / 1_000) * 1_000)
  const filter = metricFilter({ ...base, entity: first.entity })
  const tables = METRIC_TABLES.map(table => `SELECT TimeUnix FROM ${table} WHERE ${filter}`)
  const rows = await sql<{ bucket: number; points: number }>(
    `SELECT toInt64(floor(toUnixTimestamp64Milli(toDateTime64(TimeUnix, 3)) / ${stepMs})) AS bucket, count() AS points FROM (${tables.join('\nUNION ALL\n')}) GROUP BY bucket ORDER BY bucket`
  )
  const counts = new Map(rows.map(({ bucket, points }) => [Number(bucket), Number(points)]))
  const values: Picture['values'][number][] = []
  for (let bucket = Math.ceil(base.fromMs / stepMs); (bucket + 1) * stepMs <= base.toMs; bucket++) {
    values.push({ atMs: (bucket + 0.5) * stepMs, value: ((counts.get(bucket) ?? 0) * 1_000) / stepMs })
  }
  return {
    ...base,
    title: `metric points that came from ${first.entity}`,
    unit: '{point}',
    rate: true,
    values,
    expectations: [],
    notes: ['A silence has no band: drawn is what was heard. Spans and logs count as the metrics that are derived from them.']
  }
}
