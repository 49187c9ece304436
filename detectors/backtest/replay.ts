// Replay: stored metric points through the shard that scores live ones, on the clock of their own event times.
//
// Flow: history (rows of ClickHouse as OTLP requests) -> replay -> Shard.take, as records of the log -> anomalies -> evaluate.ts.
// Differences to what ran live, all by design: a point arrives at its event time (the tables do not keep the arrival, so lateness
// is not replayed); one shard holds every entity (no state spans entities); learned detectors do not run. Deterministic: the same
// requests give the same anomalies, ids and times included.

import { budgetOf } from '../score/budget.ts'
import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import type { EncodeDerived, OpenReader } from '../../schemas/otlp.ts'
import type { LogRecordInput } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { derivedRecord } from '../merge.ts'
import { seriesId } from '../score/telling.ts'
import { settingsFrom } from '../settings.ts'
import type { Scorer } from '../score/scorer.ts'
import { openShard, type Shard } from '../shard.ts'
import { EXPOSURE_STEP_MS, type Exposure, openExposure } from './exposure.ts'

/** Silence is judged and windows of silent senders are closed this often, as the worker's tick does, on the replay's clock. */
const TICK_MS = 1_000
/** Nothing from anybody for so long is a hole in the history (Homeostat did not run), which says nothing about senders. */
const HOLE_MS = 60_000
const SOURCE = 'replay'

export interface ReplayOptions {
  config: Config['detect']
  openReader: OpenReader
  encodeDerived: EncodeDerived
  /** Environment of telemetry that does not say. */
  environment: string
  /** Values of these series (Anomaly.series) are kept: for drawing. */
  watch?: ReadonlySet<string>
  /** What comes before is learned from: it does not count as judged. Default: all counts. */
  judgedFromMs?: number
}

/** Points of one moment, as they stood in the log. */
export interface ReplayedRequest {
  /** Empty: somebody was heard, whose points are not replayed. */
  request: Uint8Array
  /** Event time of its newest point. */
  atMs: number
  /** What Homeostat had made of spans and logs: of one entity in one environment, and of one window. */
  derived?: { entity: string; environment: string }
}

export interface JudgedValue {
  atMs: number
  value: number
}

export interface JudgedSeries {
  unit: string
  /** Values are the unit per second. */
  rate: boolean
  /** As they were judged, oldest first. */
  values: JudgedValue[]
}

export interface Replay {
  /** In order of `atMs`. @throws AppError `malformed_otlp` */
  take(request: ReplayedRequest): void
  /** Moves the clock on to the end, closing what is due. */
  finish(toMs: number): void
  /** Found since the last call. */
  anomalies(): Anomaly[]
  /** What was judged of a watched series; undefined when it had no point. */
  watched(series: string): JudgedSeries | undefined
  readonly stats: ReplayStats
  /** For how long what was judged. */
  readonly exposure: Pick<Exposure, 'byMetric' | 'entityDays'>
}

export interface ReplayStats {
  points: number
  /** Values that were judged or learned from. */
  scored: number
  series: number
  /** Days for which series were judged (warm-up and silence left out), summed over series. */
  seriesDays: number
}

export function openReplay(options: ReplayOptions): Replay {
  const { config, watch = new Set() } = options
  let heardMs = 0
  let listeningSinceMs = 0
  let nowMs = 0
  let tickedMs = 0
  let exposedMs = 0
  let offset = 0
  const shard: Shard = openShard(
    { topic: TOPICS.metrics.name, partition: 0 },
    {
      settings: settingsFrom(config),
      budget: budgetOf(config.memoryMax),
      openReader: options.openReader,
      encodeDerived: options.encodeDerived,
      environment: options.environment,
      nowMs: () => nowMs,
      models: () => [],
      sources: () => []
    }
  )
  const exposure = openExposure(shard.scorer!, options.judgedFromMs)
  const watched = watchSeries(shard.scorer!, watch)

  /** Ticks until `untilMs`, as nothing arrived in between. */
  function advance(untilMs: number): void {
    const isHole = untilMs - heardMs > HOLE_MS
    if (tickedMs === 0) tickedMs = exposedMs = Math.floor(untilMs / TICK_MS) * TICK_MS
    while (tickedMs + TICK_MS <= untilMs) {
      tickedMs += TICK_MS
      nowMs = tickedMs
      shard.advance(tickedMs, isHole ? undefined : listeningSinceMs)
      shard.outputs().anomalies.forEach(keep)
      if (tickedMs - exposedMs >= EXPOSURE_STEP_MS) {
        exposure.add(tickedMs, tickedMs - exposedMs)
        exposedMs = tickedMs
      }
    }
  }

  let found: Anomaly[] = []
  const keep = (anomaly: Anomaly): void => void found.push(anomaly)

  return {
    take({ request, atMs, derived }) {
      advance(atMs)
      if (atMs - heardMs > HOLE_MS) listeningSinceMs = atMs
      heardMs = nowMs = Math.max(nowMs, atMs)
      const input: LogRecordInput =
        derived === undefined
          ? { key: null, value: request }
          : derivedRecord(derived.entity, derived.environment, request, SOURCE, Math.ceil((atMs + config.lateness) / 100) * 100)
      shard.take({
        topic: shard.topic,
        partition: shard.partition,
        offset: offset++,
        key: input.key,
        value: input.value,
        headers: input.headers ?? {},
        appendedAtMs: nowMs
      })
      shard.outputs().anomalies.forEach(keep)
    },
    finish(toMs) {
      if (offset > 0) advance(toMs)
    },
    anomalies() {
      const taken = found
      found = []
      return taken
    },
    watched: series => watched.get(series),
    exposure,
    get stats() {
      return { points: shard.scorer!.stats.points, scored: shard.scorer!.stats.scored, series: shard.scorer!.table.count, seriesDays: exposure.seriesDays }
    }
  }
}

/** Notes every judged value of the series that are asked for. */
function watchSeries(scorer: Scorer, ids: ReadonlySet<string>): ReadonlyMap<string, JudgedSeries> {
  const byId = new Map<string, JudgedSeries>()
  if (ids.size === 0) return byId
  const bySeries = new Map<number, JudgedValue[] | undefined>()
  const { table, entities } = scorer
  scorer.onJudged = (series, value, timeMs) => {
    if (!bySeries.has(series)) {
      const id = seriesId(entities.all[table.entityOf(series)]!, table.descriptorOf(series), table.attributesOf(series))
      const kept: JudgedValue[] | undefined = ids.has(id) ? [] : undefined
      bySeries.set(series, kept)
      const { unit, rate } = table.descriptorOf(series)
      if (kept !== undefined) byId.set(id, { unit, rate, values: kept })
    }
    bySeries.get(series)?.push({ atMs: timeMs, value })
  }
  return byId
}
