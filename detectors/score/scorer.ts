// The scorer of one metrics partition: every point finds its series, becomes a value, is judged; anomalies are told.
//
// Flow: worker (reads OTLP bytes of homeostat.metrics.v1) -> scorer.point() -> level / rules / learned detectors -> worker
// (publishes). Single-threaded, no allocation per point. All of its state is in `parts()`; a scorer restored from them gives
// the same verdicts on the same records. Time is the log's clock (`begin`) and event time; the wall clock only comes in
// through `advance` when the consumer is caught up, to close windows that no further point would close.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { DerivedPoint, PointSink, PointView } from '../../schemas/otlp.ts'
import { type AbsenceSettings, judgeAbsence } from '../rules/absence.ts'
import { judgeRule } from '../rules/static-rule.ts'
import { type Admission, admit, admitQuantile } from './admission.ts'
import { type Descriptor, DescriptorTable, READING } from './descriptor.ts'
import { EntityTable, type EntityState, hear } from './entities.ts'
import { clearWindow, type HistogramState, mergePoint, windowMean, windowP95 } from './histogram.ts'
import { judgeWithModels } from './learned.ts'
import { type LevelSettings, updateLevel, VERDICT } from './level.ts'
import type { LearnedDetector } from './model-hook.ts'
import { tellRatios } from './ratio.ts'
import { F32_STRIDE, F64, F64_STRIDE, FLAG, type SeriesPage, STATE, U32, U8, U8_STRIDE } from './record.ts'
import { Registry } from './registry.ts'
import { type SeriesBudget, SeriesTable } from './series-table.ts'
import { isWorse, judgement, openSeverity, setOpenSeverity, tellAnomaly } from './telling.ts'
import { tellRule } from './telling-rule.ts'
import { dropWindows, hasData, remember, shiftWindow, TAKEN, takeDelta, windowStart } from './windows.ts'
import type { StaticRule } from '../rules/static-rule.ts'

export interface ScorerSettings extends LevelSettings {
  windowMs: number
  latenessMs: number
  absence: AbsenceSettings
  ignore: readonly RegExp[]
  rules: readonly StaticRule[]
}

/** What became of points; every one is counted once, `scored` counts values (a histogram point gives none or two). */
export interface ScorerStats {
  points: number
  scored: number
  late: number
  duplicate: number
  future: number
  refused: number
  unusable: number
  anomalies: number
}

/** A point further ahead of the log's clock than this has a wrong clock; taking it would make every right one late. */
const FUTURE_MAX_MS = 300_000
/** Shards and ticks are this far apart at most: derived windows stay open for so much longer than raw ones. */
const SHARD_SLACK_MAX_MS = 2_000
/** Windows are looked at for closing at most this often, by the log's clock. */
const CLOSE_EVERY_MS = 100
/** After a longer silence empty windows are unknown, not zero. */
const ZERO_WINDOWS_MAX = 6
/** A delta point over more than this many windows is a rate of its own, not a part of one window. */
const LONG_DELTA_WINDOWS = 1.5
/** Differences over less than this are noise of the sender's timer. */
const COUNTER_INTERVAL_MIN_MS = 10

export class Scorer implements PointSink {
  readonly table: SeriesTable
  readonly entities: EntityTable
  readonly registry: Registry
  readonly stats: ScorerStats = { points: 0, scored: 0, late: 0, duplicate: 0, future: 0, refused: 0, unusable: 0, anomalies: 0 }
  readonly #settings: ScorerSettings
  readonly #models: () => readonly LearnedDetector[]
  readonly #detectedAtMs: () => number
  readonly #admission: Admission
  #arrivalMs = 0
  #closedAtMs = 0
  #anomalies: Anomaly[] = []
  #derived: DerivedPoint[] = []

  constructor(
    settings: ScorerSettings,
    options: { budget: SeriesBudget; nowMs: () => number; models?: () => readonly LearnedDetector[]; parts?: ReadonlyMap<string, Uint8Array> }
  ) {
    this.#settings = settings
    this.#detectedAtMs = options.nowMs
    this.#models = options.models ?? (() => [])
    const descriptors = new DescriptorTable(settings.ignore)
    this.entities = EntityTable.restore(options.parts?.get('entities'))
    this.table = options.parts ? SeriesTable.restore(options.parts, options.budget, descriptors) : new SeriesTable(options.budget, descriptors)
    this.registry = new Registry(this.table, settings.rules)
    if (options.parts) this.registry.restore(options.parts, this.entities)
    this.#admission = { table: this.table, registry: this.registry, settings }
  }

  /** The log took the following points at `arrivalMs`. */
  begin(arrivalMs: number): void {
    this.#arrivalMs = Math.max(this.#arrivalMs, arrivalMs)
  }

  /** One data point. */
  point(view: PointView): void {
    this.stats.points++
    const { table } = this
    const entity = this.entities.of(view.resource)
    if (entity === undefined) {
      this.stats.refused++
      return
    }
    if (view.timeMs > this.#arrivalMs + FUTURE_MAX_MS || !(view.timeMs > 0)) {
      this.stats.future++
      return
    }
    let series = table.find(view.keyLow, view.keyHigh)
    if (series < 0) {
      series = admit(this.#admission, view, entity)
      if (series < 0) {
        this.stats.refused++
        return
      }
    }
    const page = table.page(series)
    const row = table.row(series)
    const descriptor = table.descriptors.get(page.u32[row * F32_STRIDE + U32.descriptor]!)
    if (descriptor.derived) {
      if (!entity.hasOwnMetrics) hear(entity, Math.min(this.#arrivalMs, view.startMs > 0 ? view.startMs : view.timeMs))
    } else {
      entity.hasOwnMetrics = true
      hear(entity, this.#arrivalMs)
    }
    if (view.timeMs > entity.maxEventMs) {
      entity.maxEventMs = view.timeMs
      if (view.timeMs >= entity.modelWindowEndMs) this.#askModels(entity)
    }
    if (page.u8[row * U8_STRIDE + U8.state] === STATE.ignored) return
    if (view.noRecordedValue) {
      this.stats.unusable++
      return
    }
    this.#take(view, series, page, row, descriptor, entity)
  }

  /**
   * Closes windows that are complete and judges absence.
   * @param nowMs            the log's clock, or the wall clock when caught up
   * @param listeningSinceMs judge absence from then on; undefined: not now (a backlog is being read)
   */
  advance(nowMs: number, listeningSinceMs: number | undefined): void {
    if (nowMs - this.#closedAtMs >= CLOSE_EVERY_MS) {
      this.#closedAtMs = nowMs
      for (const series of this.registry.windowed) this.#closeSums(series, nowMs)
      for (const state of this.registry.histograms) this.#closeDistributions(state, nowMs)
      tellRatios(this.registry.pairs, this.table, this.#settings.windowMs, this.#derived)
    }
    if (listeningSinceMs === undefined) return
    for (const entity of this.entities.all) {
      const anomaly = judgeAbsence(entity, nowMs, listeningSinceMs, this.#settings.absence)
      if (anomaly) this.#tell(anomaly)
    }
  }

  /** What was found since the last call. */
  take(): { anomalies: Anomaly[]; derived: DerivedPoint[] } {
    const taken = { anomalies: this.#anomalies, derived: this.#derived }
    this.#anomalies = []
    this.#derived = []
    return taken
  }

  /** Changed parts since the last call, copied: the whole state of the scorer together with those before. */
  takeDirty(): Map<string, Uint8Array> {
    const parts = new Map<string, Uint8Array>()
    this.table.takeDirty(parts)
    this.registry.takeDirty(parts)
    parts.set('entities', this.entities.toBytes())
    return parts
  }

  #take(view: PointView, series: number, page: SeriesPage, row: number, descriptor: Descriptor, entity: EntityState): void {
    switch (descriptor.reading) {
      case READING.value:
        if (view.quantileCount > 0 && Number.isNaN(view.value)) this.#takeSummary(view, series, entity)
        else this.#takeValue(series, page, row, view.value, view.timeMs, view.timeMs)
        return
      case READING.counter:
        this.#takeCounter(view, series, page, row)
        return
      case READING.window:
        this.#takeSum(view, series, page, row, descriptor)
        return
      default:
        this.#takeHistogram(view, series, descriptor)
    }
  }

  /** A value that is judged at once. */
  #takeValue(series: number, page: SeriesPage, row: number, value: number, timeMs: number, onsetMs: number): void {
    const lastTimeMs = page.f64[row * F64_STRIDE + F64.lastTimeMs]!
    if (timeMs <= lastTimeMs) {
      if (timeMs === lastTimeMs) this.stats.duplicate++
      else this.stats.late++
    } else if (Number.isFinite(value)) this.#judge(series, page, row, value, timeMs, onsetMs)
    else this.stats.unusable++
  }

  #takeCounter(view: PointView, series: number, page: SeriesPage, row: number): void {
    const { f64, u8 } = page
    const base = row * F64_STRIDE
    const flagsAt = row * U8_STRIDE + U8.flags
    const { timeMs, startMs, value } = view
    if (!Number.isFinite(value)) {
      this.stats.unusable++
      return
    }
    const lastTimeMs = f64[base + F64.lastTimeMs]!
    if (timeMs <= lastTimeMs) {
      if (timeMs === lastTimeMs) this.stats.duplicate++
      else this.stats.late++
      return
    }
    const isKnown = (u8[flagsAt]! & FLAG.hasRaw) !== 0
    const isReset = isKnown && (value < f64[base + F64.raw]! || startMs > f64[base + F64.startMs]!)
    const elapsedMs = timeMs - lastTimeMs
    const difference = value - f64[base + F64.raw]!
    f64[base + F64.raw] = value
    f64[base + F64.startMs] = startMs
    u8[flagsAt] = u8[flagsAt]! | FLAG.hasRaw
    page.dirty = true
    if (isKnown && !isReset && elapsedMs >= COUNTER_INTERVAL_MIN_MS) {
      this.#judge(series, page, row, (difference * 1_000) / elapsedMs, timeMs, timeMs - elapsedMs / 2)
    } else {
      // The first point and the first after a reset give no rate: nobody knows over which time they counted.
      f64[base + F64.lastTimeMs] = timeMs
    }
  }

  #takeSum(view: PointView, series: number, page: SeriesPage, row: number, descriptor: Descriptor): void {
    const { windowMs } = this.#settings
    const { timeMs, startMs, value } = view
    if (!Number.isFinite(value)) {
      this.stats.unusable++
      return
    }
    const spanMs = timeMs - startMs
    if (startMs > 0 && spanMs >= LONG_DELTA_WINDOWS * windowMs) {
      this.#takeValue(series, page, row, (value * 1_000) / spanMs, timeMs, timeMs - spanMs / 2)
      return
    }
    let taken = takeDelta(page, row, value, timeMs, startMs, descriptor.derived, windowMs)
    // At most the open and the next window have data; what lies between them and the point was silence.
    for (let windows = 0; taken === TAKEN.beyond && windows < 2; windows++) {
      if (hasData(page, row)) this.#closeSum(series, page, row)
      else shiftWindow(page, row, windowMs)
      taken = takeDelta(page, row, value, timeMs, startMs, descriptor.derived, windowMs)
    }
    if (taken === TAKEN.beyond) {
      dropWindows(page, row)
      taken = takeDelta(page, row, value, timeMs, startMs, descriptor.derived, windowMs)
    }
    if (taken === TAKEN.late) this.stats.late++
    else if (taken === TAKEN.duplicate) this.stats.duplicate++
  }

  #takeHistogram(view: PointView, series: number, descriptor: Descriptor): void {
    const state = this.registry.histogramOf(series)
    if (state === undefined) {
      this.stats.refused++
      return
    }
    const { windowMs } = this.#settings
    const start = windowStart(view.timeMs, windowMs)
    if (!descriptor.derived && view.timeMs <= state.lastTimeMs) {
      this.stats.duplicate++
      return
    }
    if (Number.isNaN(state.open.startMs)) {
      const closedMs = this.table.page(state.mean).f64[this.table.row(state.mean) * F64_STRIDE + F64.lastTimeMs]!
      if (start + windowMs <= closedMs) {
        this.stats.late++
        return
      }
      state.open.startMs = start
    }
    while (start > state.open.startMs + windowMs) {
      this.#closeDistribution(state)
      if (Number.isNaN(state.open.startMs)) state.open.startMs = start
    }
    const window = start === state.open.startMs ? state.open : start > state.open.startMs ? state.next : undefined
    if (window === undefined) {
      this.stats.late++
      return
    }
    const seen = remember(window.seen, descriptor.derived, view.timeMs, view.startMs, start)
    if (seen < 0) {
      this.stats.duplicate++
      return
    }
    if (view.timeMs > state.lastTimeMs) state.lastTimeMs = view.timeMs
    if (mergePoint(state, window, view)) window.seen = seen
    window.startMs = start
  }

  /** Each quantile of a summary is a series of its own. */
  #takeSummary(view: PointView, series: number, entity: EntityState): void {
    for (let i = 0; i < view.quantileCount; i++) {
      const quantile = admitQuantile(this.#admission, view, series, entity, view.quantiles[i]!)
      if (quantile < 0) this.stats.refused++
      else this.#takeValue(quantile, this.table.page(quantile), this.table.row(quantile), view.quantileValues[i]!, view.timeMs, view.timeMs)
    }
  }

  /** How far the event time of an entity has come. Silence moves it on with the clock, but only to close what has data. */
  #watermark(entity: EntityState, nowMs: number): number {
    return entity.maxEventMs + Math.max(0, nowMs - entity.lastSeenMs)
  }

  #delayMs(descriptor: Descriptor): number {
    return this.#settings.latenessMs + (descriptor.derived ? Math.min(this.#settings.latenessMs, SHARD_SLACK_MAX_MS) : 0)
  }

  #closeSums(series: number, nowMs: number): void {
    const page = this.table.page(series)
    const row = this.table.row(series)
    if ((page.u8[row * U8_STRIDE + U8.flags]! & FLAG.window) === 0) return
    const { windowMs } = this.#settings
    const entity = this.entities.all[page.u32[row * F32_STRIDE + U32.entity]!]!
    const delayMs = this.#delayMs(this.table.descriptorOf(series))
    const at = row * F64_STRIDE + F64.startMs
    for (let windows = 0; ; windows++) {
      const dueMs = page.f64[at]! + windowMs + delayMs
      if (dueMs > (hasData(page, row) ? this.#watermark(entity, nowMs) : entity.maxEventMs)) return
      if (windows === ZERO_WINDOWS_MAX && !hasData(page, row)) {
        dropWindows(page, row)
        return
      }
      this.#closeSum(series, page, row)
    }
  }

  #closeSum(series: number, page: SeriesPage, row: number): void {
    const { windowMs } = this.#settings
    const start = page.f64[row * F64_STRIDE + F64.startMs]!
    const rate = (page.f64[row * F64_STRIDE + F64.raw]! * 1_000) / windowMs
    shiftWindow(page, row, windowMs)
    this.#judge(series, page, row, rate, start + windowMs, start + windowMs / 2)
  }

  #closeDistributions(state: HistogramState, nowMs: number): void {
    if (Number.isNaN(state.open.startMs)) return
    const entity = this.entities.all[this.table.entityOf(state.series)]!
    const delayMs = this.#delayMs(this.table.descriptorOf(state.series))
    while (!Number.isNaN(state.open.startMs) && state.open.startMs + this.#settings.windowMs + delayMs <= this.#watermark(entity, nowMs)) {
      this.#closeDistribution(state)
    }
  }

  #closeDistribution(state: HistogramState): void {
    const { open } = state
    const timeMs = open.startMs + this.#settings.windowMs
    const onsetMs = open.startMs + this.#settings.windowMs / 2
    const mean = windowMean(open)
    const p95 = windowP95(open)
    clearWindow(open)
    state.open = state.next
    state.next = open
    state.dirty = true
    if (!Number.isNaN(mean)) this.#judge(state.mean, this.table.page(state.mean), this.table.row(state.mean), mean, timeMs, onsetMs)
    if (state.p95 >= 0 && !Number.isNaN(p95)) this.#judge(state.p95, this.table.page(state.p95), this.table.row(state.p95), p95, timeMs, onsetMs)
  }

  #judge(series: number, page: SeriesPage, row: number, value: number, timeMs: number, onsetMs: number): void {
    this.stats.scored++
    const descriptor = this.table.descriptors.get(page.u32[row * F32_STRIDE + U32.descriptor]!)
    const sinceMs = page.f64[row * F64_STRIDE + F64.onsetMs]!
    const verdict = updateLevel(page, row, value, timeMs, onsetMs, this.#settings, descriptor)
    if (verdict !== VERDICT.nothing) this.#tellVerdict(verdict, series, page, row, value, timeMs, sinceMs)
    if ((page.u8[row * U8_STRIDE + U8.flags]! & FLAG.rules) !== 0) this.#judgeRules(series, value, timeMs)
  }

  #tellVerdict(verdict: number, series: number, page: SeriesPage, row: number, value: number, timeMs: number, wasSinceMs: number): void {
    const judged = judgement(this.table, series, value, this.#settings.tail, this.#settings.deviationMinRelative)
    const known = openSeverity(this.table, series)
    if (verdict === VERDICT.ongoing && !isWorse(judged.severity, known)) return
    const isClosing = verdict === VERDICT.closed || verdict === VERDICT.learned
    const isOpening = verdict === VERDICT.opened
    if (!isClosing) setOpenSeverity(this.table, series, judged.severity)
    this.#tell(
      tellAnomaly(this.table, series, this.entities.all[page.u32[row * F32_STRIDE + U32.entity]!]!, {
        status: isOpening ? 'open' : isClosing ? 'close' : 'update',
        value,
        sinceMs: isOpening ? page.f64[row * F64_STRIDE + F64.onsetMs]! : wasSinceMs,
        observedAtMs: timeMs,
        detectedAtMs: this.#detectedAtMs(),
        judgement: judged,
        ...(isClosing ? { severity: known, learned: verdict === VERDICT.learned } : {})
      })
    )
  }

  #judgeRules(series: number, value: number, timeMs: number): void {
    for (const state of this.registry.rulesOf(series)) {
      const { sinceMs } = state
      const change = judgeRule(state, value, timeMs)
      if (change === 'nothing') continue
      const status = change === 'opened' ? 'open' : 'close'
      const since = change === 'opened' ? state.sinceMs : sinceMs
      if (change === 'closed') state.sinceMs = 0
      const entity = this.entities.all[this.table.entityOf(series)]!
      const judged = judgement(this.table, series, value, this.#settings.tail, this.#settings.deviationMinRelative)
      this.#tell(
        tellRule(this.table, series, entity, state.rule, {
          status,
          value,
          sinceMs: since,
          observedAtMs: timeMs,
          detectedAtMs: this.#detectedAtMs(),
          judgement: judged
        })
      )
    }
  }

  #askModels(entity: EntityState): void {
    const models = this.#models()
    if (models.length === 0) return
    for (const anomaly of judgeWithModels(models, entity, this.table, this.#settings, this.#detectedAtMs())) this.#tell(anomaly)
  }

  #tell(anomaly: Anomaly): void {
    this.stats.anomalies++
    this.#anomalies.push(anomaly)
  }
}
