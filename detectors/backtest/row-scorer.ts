// A table of values, row by row through the scorer that judges live ones: for `homeostat score`.
//
// Flow: rows of a file (time, a value a column) -> Scorer.point, each column a gauge of one entity -> score, band, anomalies. The clock
// is the rows' own; absence is not judged, since a hole in a file says nothing about its sender. Scores and bands are those
// from before the row was learned. Deterministic: the same rows give the same figures, ids and times included.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import { POINT_KIND, type PointView, type ResourceView, TEMPORALITY } from '../../schemas/otlp.ts'
import { budgetOf } from '../score/budget.ts'
import { contributions } from '../score/multivariate/contributions.ts'
import { SCALAR } from '../score/multivariate/entity-state.ts'
import { isReady } from '../score/multivariate/update.ts'
import { F64, F64_STRIDE, STATE, U8, U8_STRIDE } from '../score/record.ts'
import { lastScore } from '../score/rich/rich.ts'
import { Scorer } from '../score/scorer.ts'
import type { ScorerStats } from '../score/scorer-settings.ts'
import { judgement } from '../score/telling.ts'
import { settingsFrom } from '../settings.ts'

export interface RowScorerOptions {
  config: Config['detect']
  environment: string
  /** Who the rows are of, as anomalies name it. */
  entity: string
  /** What a column is called decides which way it hurts, its unit how much of a deviation matters (metric-class.ts). */
  columns: readonly { name: string; unit: string }[]
}

/** What is known of the row that was taken last; one object, overwritten by the next. */
export interface JudgedRow {
  /** The largest of what the detectors say: −log10 of the false alarms a day, 0 (usual, or not known yet) or more. */
  score: number
  /** The column that this is about: the farthest from what is usual of it; −1: no value of the row was judged or learned. */
  column: number
  /** Of the adaptive baseline of that column; NaN while it warms up. */
  expected: number
  lower: number
  upper: number
  /** Detectors with an open anomaly, joined by `+` in alphabetical order; '' = none. */
  detectors: string
}

export interface JudgedColumn {
  /** False: left out by detect.ignore, or refused for lack of memory. */
  isJudged: boolean
  /** The least deviation that matters, and the largest that there was: below it nothing can be an anomaly. */
  deviationMin: number
  deviationMax: number
}

export interface RowScorer {
  /**
   * Judges a row, then learns it.
   * @param values by column; NaN: none
   */
  take(timeMs: number, values: Float64Array): JudgedRow
  /** Told since the last call. */
  anomalies(): Anomaly[]
  readonly stats: Readonly<ScorerStats>
  readonly columns: readonly JudgedColumn[]
}

/** @throws AppError `config_invalid` */
export function openRowScorer({ config, environment, entity, columns }: RowScorerOptions): RowScorer {
  const settings = settingsFrom(config)
  let nowMs = 0
  const scorer = new Scorer(settings, { budget: budgetOf(config.memoryMax), nowMs: () => nowMs })
  const { table, tiers, stats } = scorer
  const resource: ResourceView = { entityIndex: 0, entity, service: '', environment, version: '', attributes: () => ({}) }
  const views = columns.map((column, index) => aGauge(resource, column, index))
  const judged: JudgedColumn[] = columns.map(() => ({ isJudged: true, deviationMin: 0, deviationMax: 0 }))
  const seriesOf = columns.map(() => -1)
  const bands = new Float64Array(columns.length * BAND)
  /** Of the column's series before the row. */
  const lastMs = new Float64Array(columns.length)
  const openIds = new Map<string, string>()
  const row: JudgedRow = { score: 0, column: -1, expected: Number.NaN, lower: Number.NaN, upper: Number.NaN, detectors: '' }
  let told: Anomaly[] = []

  /** Shows the value to the scorer, and keeps what was expected of it. */
  function show(column: number, value: number, timeMs: number): void {
    const view = views[column]!
    view.timeMs = timeMs
    view.value = value
    const series = seriesOf[column]!
    lastMs[column] = series < 0 ? Number.NEGATIVE_INFINITY : lastTimeMs(series)
    if (series >= 0 && isPastWarmup(series)) {
      const { expected, lower, upper, score } = judgement(table, series, value, settings)
      bands.set([expected, lower, upper, score], column * BAND)
    }
    scorer.point(view)
    if (series < 0) admitted(column)
  }

  /** @returns what is said of the column alone; NaN: the value was not taken (late, a duplicate, ignored) */
  function scoreColumn(column: number, value: number, timeMs: number): number {
    const series = seriesOf[column]!
    if (series < 0 || lastMs[column] === timeMs || lastTimeMs(series) !== timeMs) return Number.NaN
    const novelty = noveltyOf(series)
    const said = novelty > 0 ? novelty : UNKNOWN
    const at = column * BAND
    if (Number.isNaN(bands[at]!)) return said
    judged[column]!.deviationMax = Math.max(judged[column]!.deviationMax, Math.abs(value - bands[at]!))
    return Math.max(said, bands[at + 3]!)
  }

  function admitted(column: number): void {
    const { keyLow, keyHigh } = views[column]!
    const series = table.find(keyLow, keyHigh)
    seriesOf[column] = series
    const of = judged[column]!
    of.isJudged = series >= 0 && !table.descriptorOf(series).ignored
    if (series >= 0) of.deviationMin = table.descriptorOf(series).deviationMin
  }

  function lastTimeMs(series: number): number {
    return table.page(series).f64[table.row(series) * F64_STRIDE + F64.lastTimeMs]!
  }

  function isPastWarmup(series: number): boolean {
    const state = table.page(series).u8[table.row(series) * U8_STRIDE + U8.state]
    return state === STATE.normal || state === STATE.open
  }

  /** Score of the last complete row of a series in the rich tier; 0 without one. */
  function noveltyOf(series: number): number {
    const slot = tiers.rich.slotOf(series)
    if (slot < 0) return 0
    return lastScore(tiers.rich.page(slot), tiers.rich.row(slot))
  }

  /** The entity's model, where it says more than any column alone: about the column that contributed most. */
  function addModel(): void {
    const model = tiers.models.modelOf(0)
    if (model === undefined || !isReady(model.state)) return
    const score = model.state.scalars[SCALAR.score]!
    if (score <= 0 || score <= row.score) return
    row.score = score
    const [top] = contributions(model.state, 1)
    const column = top === undefined ? -1 : seriesOf.indexOf(model.columns[top.metric]!)
    if (column >= 0) row.column = column
  }

  function note(anomaly: Anomaly): void {
    if (anomaly.status === 'close') openIds.delete(anomaly.id)
    else openIds.set(anomaly.id, anomaly.detector)
    told.push(anomaly)
  }

  return {
    stats,
    columns: judged,
    take(timeMs, values) {
      nowMs = Math.max(nowMs, timeMs)
      scorer.begin(timeMs)
      row.score = UNKNOWN
      row.column = -1
      bands.fill(Number.NaN)
      for (let column = 0; column < views.length; column++) if (!Number.isNaN(values[column]!)) show(column, values[column]!, timeMs)
      // A later row says that none comes before it any more: what the scorer would hold back for stragglers is judged now.
      scorer.close(nowMs + settings.latenessMs)
      for (let column = 0; column < views.length; column++) {
        if (Number.isNaN(values[column]!)) continue
        const score = scoreColumn(column, values[column]!, timeMs)
        if (Number.isNaN(score) || (row.column >= 0 && score <= row.score)) continue
        row.score = score
        row.column = column
      }
      if (row.column >= 0) addModel()
      const at = Math.max(0, row.column) * BAND
      row.score = Math.max(0, row.score)
      row.expected = bands[at]!
      row.lower = bands[at + 1]!
      row.upper = bands[at + 2]!
      const found = scorer.take()
      if (found.length > 0) {
        found.forEach(note)
        row.detectors = [...new Set(openIds.values())].sort().join('+')
      }
      return row
    },
    anomalies() {
      const taken = told
      told = []
      return taken
    }
  }
}

/** Figures of a value before it is learned: expected, lower, upper, score. */
const BAND = 4
/** Of a detector that does not know. */
const UNKNOWN = Number.NEGATIVE_INFINITY
/** Spreads the numbers of columns over the table's index (2^32 over the golden ratio: Knuth, "Sorting and Searching", 6.4). */
const GOLDEN = 0x9e3779b1

function aGauge(resource: ResourceView, { name, unit }: { name: string; unit: string }, index: number): PointView {
  const none = new Float64Array(0)
  return {
    resource,
    ...{ keyLow: Math.imul(index + 1, GOLDEN), keyHigh: index + 1 },
    ...{ kind: POINT_KIND.gauge, temporality: TEMPORALITY.unspecified, monotonic: false },
    ...{ timeMs: 0, startMs: 0, value: 0, noRecordedValue: false, count: 0, sum: 0, min: Number.NaN, max: Number.NaN },
    ...{ boundCount: 0, bucketCount: 0, bounds: none, buckets: none },
    ...{ scale: 0, zeroCount: 0, positiveOffset: 0, negativeOffset: 0, negativeBucketCount: 0, negativeBuckets: none },
    ...{ quantileCount: 0, quantiles: none, quantileValues: none },
    name: () => name,
    unit: () => unit,
    description: () => '',
    attributes: () => ({})
  }
}
