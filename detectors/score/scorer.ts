// The scorer of one metrics partition: every point finds its series, becomes a value, is judged; anomalies are told.
//
// Flow: worker (reads OTLP bytes of homeostat.metrics.v1) -> scorer.point() -> level / rules / learned detectors -> worker
// (publishes). Single-threaded, no allocation per point. All of its state is in `parts()`; a scorer restored from them gives
// the same verdicts on the same records. Time is the log's clock (`begin`) and event time; the wall clock only comes in
// through `close` when the consumer is caught up, to close windows that no further point would close.
// Longer than 300 lines because the path of a point through one class is what the engine can optimise and a reader follow.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { type DerivedPoint, POINT_KIND, type PointSink, type PointView } from '../../schemas/otlp.ts'
import type { Instance } from '../../schemas/topology.ts'
import { closeUntold, judgeAbsence } from '../rules/absence.ts'
import { judgeNew, noteHearing } from '../rules/birth.ts'
import { type Admission, admit, admitQuantile } from './admission.ts'
import type { SeriesBudget } from './budget.ts'
import { counterRate } from './counter.ts'
import { type Descriptor, DescriptorTable, READING } from './descriptor.ts'
import { EntityTable, type EntityState, hear } from './entities.ts'
import { type HistogramState, nextWindow, takeDistribution, windowMean, windowP95 } from './histogram.ts'
import { judgeWithModels } from './learned.ts'
import { lapsedSeries, openSeries, silenceMs } from './lapse.ts'
import { endRun, updateLevel, VERDICT, type Verdict } from './level.ts'
import type { LearnedDetector } from './model-hook.ts'
import { tellRatio } from './ratio.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, FLAG, type SeriesPage, STATE, U32, U8, U8_STRIDE } from './record.ts'
import { Registry } from './registry.ts'
import { type HeldPoint, isEarly, Reorder } from './reorder.ts'
import type { ScorerSettings, ScorerStats } from './scorer-settings.ts'
import { SeriesTable } from './series-table.ts'
import { tellVerdict } from './telling.ts'
import { judgeRestarts, lapseRestarts } from './telling-crash-loop.ts'
import { judgeRules } from './telling-rule.ts'
import { Tiers } from './tiers.ts'
import { type CloseSum, closeDueSums, TAKEN, type Taken, takeSum } from './windows.ts'

/** A point further ahead of the log's clock than this has a wrong clock; taking it would make every right one late. */
const FUTURE_MAX_MS = 300_000
/** Senders whose canaries are told apart: Homeostat's own processes. */
const CANARIES_MAX = 100
/** Shards and ticks are this far apart at most: derived windows stay open for so much longer than raw ones. */
const SHARD_SLACK_MAX_MS = 2_000
/** A delta point over more than this many windows is a rate of its own, not a part of one window. */
const LONG_DELTA_WINDOWS = 1.5

export class Scorer implements PointSink {
  readonly table: SeriesTable
  readonly entities: EntityTable
  readonly registry: Registry
  readonly tiers: Tiers
  readonly stats: ScorerStats = { points: 0, scored: 0, late: 0, duplicate: 0, future: 0, refused: 0, unusable: 0, anomalies: 0 }
  readonly settings: ScorerSettings
  /** By sender: how long its last canary was on its way to here, ms, by its clock and ours. */
  readonly canaries = new Map<string, number>()
  /** Is shown every value that is judged; for tools that draw or compare. */
  onJudged: ((series: number, value: number, timeMs: number) => void) | undefined
  readonly #models: () => readonly LearnedDetector[]
  readonly #detectedAtMs: () => number
  readonly #admission: Admission
  readonly #open: Set<number>
  readonly #reorder: Reorder
  /** Until when a former owner may have told absences that our state does not know. */
  #untoldUntilMs = 0
  #arrivalMs = 0
  /** When what is being read now arrived: derived points when they were due, however long they waited for others. */
  #readMs = 0
  /** By how much derived points lag behind the log's clock while windows are closed. */
  #lagMs = 0
  #anomalies: Anomaly[] = []
  #derived: DerivedPoint[] = []
  #instances: Instance[] = []

  constructor(
    settings: ScorerSettings,
    options: { budget: SeriesBudget; nowMs: () => number; models?: () => readonly LearnedDetector[]; parts?: ReadonlyMap<string, Uint8Array> }
  ) {
    this.settings = settings
    this.#detectedAtMs = options.nowMs
    this.#models = options.models ?? (() => [])
    const descriptors = new DescriptorTable(settings)
    this.entities = EntityTable.restore(options.parts?.get('entities'))
    this.table = options.parts ? SeriesTable.restore(options.parts, options.budget, descriptors) : new SeriesTable(options.budget, descriptors)
    this.registry = new Registry(this.table, settings.rules)
    if (options.parts) this.registry.restore(options.parts, this.entities)
    this.tiers = new Tiers(this, options.budget, options.parts)
    this.#open = openSeries(this.table)
    this.#reorder = Reorder.restore(options.parts?.get('held'))
    this.#admission = { table: this.table, registry: this.registry, settings }
  }

  /** Buffers of all tiers. */
  get bytes(): number {
    return this.table.bytes + this.tiers.rich.bytes + this.tiers.models.bytes
  }

  /** A former owner ended without a word after its checkpoint of `savedMs`. */
  succeed(savedMs: number): void {
    this.#untoldUntilMs = savedMs + this.settings.absence.unsavedMs
  }

  /** The log took the following points at `arrivalMs`. */
  begin(arrivalMs: number): void {
    this.#arrivalMs = Math.max(this.#arrivalMs, arrivalMs)
    this.#readMs = this.#arrivalMs
  }

  /** The following points were derived, and complete at `dueMs` of the log's clock. */
  beginDerived(dueMs: number): void {
    this.#arrivalMs = Math.max(this.#arrivalMs, dueMs)
    this.#readMs = dueMs
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
    entity.lastArrivalMs = Math.max(entity.lastArrivalMs, this.#readMs)
    if (descriptor.derived) {
      if (!entity.hasOwnMetrics) this.#hear(entity, Math.min(this.#arrivalMs, view.startMs > 0 ? view.startMs : view.timeMs))
    } else {
      entity.hasOwnMetrics = true
      this.#hear(entity, this.#arrivalMs)
    }
    if (view.timeMs > entity.maxEventMs) {
      if (entity.maxEventMs > 0 && view.timeMs - entity.maxEventMs > silenceMs(this.settings.absence.absenceMin)) entity.backMs = view.timeMs
      entity.maxEventMs = view.timeMs
      if (view.timeMs >= entity.modelWindowEndMs) this.#askModels(entity)
      if (view.timeMs >= this.tiers.dueMs(entity)) this.#tellMaybe(this.tiers.advance(entity, this.#detectedAtMs))
    }
    if (page.u8[row * U8_STRIDE + U8.state] === STATE.ignored) {
      if (descriptor.isCanary && (this.canaries.size < CANARIES_MAX || this.canaries.has(entity.entity)))
        this.canaries.set(entity.entity, this.#detectedAtMs() - view.value * 1_000)
      return
    }
    if (view.noRecordedValue) {
      this.stats.unusable++
      return
    }
    this.#take(view, series, page, row, descriptor, entity)
  }

  /**
   * Closes windows that are complete at `nowMs` of the log's clock, judges points that waited for earlier ones, and closes what lapsed.
   * O(series with windows).
   * @param lagMs by how much derived points are behind it: their windows wait as long
   */
  close(nowMs: number, lagMs = 0): void {
    this.#lagMs = lagMs
    for (const series of this.registry.windowed) this.#closeDueSums(series, nowMs)
    for (const state of this.registry.histograms) this.#closeDueDistributions(state, nowMs)
    for (const series of this.#reorder.series) this.#takeReady(series, this.#watermark(this.entities.all[this.table.entityOf(series)]!, nowMs))
    for (const series of lapsedSeries(this.#open, this.table, this.entities, this.settings.absence.absenceMin, lagMs)) this.#lapse(series)
    for (const anomaly of this.tiers.lapse(lagMs, this.#detectedAtMs)) this.#tell(anomaly)
    const watermarkMs = (entity: number): number => this.#watermark(this.entities.all[entity]!, nowMs)
    for (const anomaly of lapseRestarts(this, this.registry.restarts, watermarkMs, this.#quietMinMs, this.#detectedAtMs)) this.#tell(anomaly)
  }

  /**
   * Judges the silence of entities, those that are new included.
   * @param nowMs            the log's clock, or the wall clock when caught up
   * @param listeningSinceMs silence before this says nothing
   * @param lagMs            by how much derived points are behind: who is heard through them alone is judged as of then
   */
  judgeAbsence(nowMs: number, listeningSinceMs: number, lagMs = 0): void {
    for (const entity of this.entities.all) {
      const asOfMs = entity.hasOwnMetrics ? nowMs : nowMs - lagMs
      const anomaly = judgeAbsence(entity, asOfMs, listeningSinceMs, this.settings.absence)
      if (anomaly) this.#tell(anomaly)
      this.#note(judgeNew(entity, asOfMs, listeningSinceMs, this.settings.absence))
    }
  }

  /** Anomalies found since the last call. */
  take(): Anomaly[] {
    const taken = this.#anomalies
    this.#anomalies = []
    return taken
  }

  /** Points made of closed windows since the last call. */
  takeDerived(): DerivedPoint[] {
    const taken = this.#derived
    this.#derived = []
    return taken
  }

  /** What became of instances that are new to this scorer, since the last call. */
  takeInstances(): Instance[] {
    const taken = this.#instances
    this.#instances = []
    return taken
  }

  /** Changed parts since the last call, copied: the whole state of the scorer together with those before. */
  takeDirty(): Map<string, Uint8Array> {
    const parts = new Map<string, Uint8Array>()
    this.table.takeDirty(parts)
    this.registry.takeDirty(parts)
    this.tiers.takeDirty(parts)
    parts.set('entities', this.entities.toBytes())
    parts.set('held', this.#reorder.toBytes())
    return parts
  }

  #hear(entity: EntityState, atMs: number): void {
    if (entity.lastSeenMs < this.#untoldUntilMs && atMs > entity.lastSeenMs) {
      const anomaly = closeUntold(entity, atMs, this.#untoldUntilMs, this.settings.absence)
      if (anomaly) this.#tell({ ...anomaly, detectedAtMs: this.#detectedAtMs() })
    }
    hear(entity, atMs)
    if (entity.birth !== 'settled') this.#note(noteHearing(entity, this.settings.absence))
  }

  #note(instance: Instance | undefined): void {
    if (instance) this.#instances.push(instance)
  }

  #take(view: PointView, series: number, page: SeriesPage, row: number, descriptor: Descriptor, entity: EntityState): void {
    switch (descriptor.reading) {
      case READING.value:
        if (view.kind === POINT_KIND.summary) this.#takeSummary(view, series, entity)
        else if (!Number.isFinite(view.value)) this.stats.unusable++
        else this.#takeInOrder(view, series, page, row, descriptor, entity)
        return
      case READING.counter:
        if (!Number.isFinite(view.value)) this.stats.unusable++
        else this.#takeInOrder(view, series, page, row, descriptor, entity)
        return
      case READING.window:
        if (!Number.isFinite(view.value)) this.stats.unusable++
        else this.#takeSum(view, series, page, row, descriptor)
        return
      default:
        this.#takeHistogram(view, series, descriptor)
    }
  }

  /** A point of a gauge or a counter, when none can come before it any more. */
  #takeInOrder(point: HeldPoint, series: number, page: SeriesPage, row: number, descriptor: Descriptor, entity: EntityState): void {
    const reorder = this.#reorder
    if (isEarly(page, row, point.timeMs, entity.maxEventMs, this.settings.latenessMs) && reorder.hasRoom(series)) {
      if (!reorder.hold(series, point)) this.stats.duplicate++
      return
    }
    if (reorder.count === 0 || !reorder.has(series)) {
      this.#takePoint(point, series, page, row, descriptor)
      return
    }
    // What was held and lies before the point had its time, too.
    for (let held = reorder.first(series); held !== undefined && held.timeMs < point.timeMs; held = reorder.first(series)) {
      this.#takeHeld(series, page, row, descriptor)
    }
    this.#takePoint(point, series, page, row, descriptor)
    this.#takeReady(series, entity.maxEventMs)
  }

  /** Takes held points of the series that no other can come before. @param maxEventMs the watermark, before stragglers have their time */
  #takeReady(series: number, maxEventMs: number): void {
    const page = this.table.page(series)
    const row = this.table.row(series)
    const descriptor = this.table.descriptorOf(series)
    for (let point = this.#reorder.first(series); point !== undefined; point = this.#reorder.first(series)) {
      if (isEarly(page, row, point.timeMs, maxEventMs, this.settings.latenessMs)) return
      this.#takeHeld(series, page, row, descriptor)
    }
  }

  #takeHeld(series: number, page: SeriesPage, row: number, descriptor: Descriptor): void {
    const point = this.#reorder.first(series)!
    this.#reorder.shift(series)
    this.#takePoint(point, series, page, row, descriptor)
  }

  #takePoint(point: HeldPoint, series: number, page: SeriesPage, row: number, descriptor: Descriptor): void {
    if (descriptor.reading === READING.counter) this.#takeCounter(point, series, page, row)
    else this.#takeValue(series, page, row, point.value, point.timeMs, point.timeMs)
  }

  /** A value that is judged at once. */
  #takeValue(series: number, page: SeriesPage, row: number, value: number, timeMs: number, onsetMs: number): void {
    const lastTimeMs = page.f64[row * F64_STRIDE + F64.lastTimeMs]!
    if (timeMs <= lastTimeMs) this.#countLate(timeMs, lastTimeMs)
    else if (Number.isFinite(value)) this.#judge(series, page, row, value, timeMs, onsetMs)
    else this.stats.unusable++
  }

  #takeCounter(point: HeldPoint, series: number, page: SeriesPage, row: number): void {
    const lastAt = row * F64_STRIDE + F64.lastTimeMs
    const lastTimeMs = page.f64[lastAt]!
    if (point.timeMs <= lastTimeMs) {
      this.#countLate(point.timeMs, lastTimeMs)
      return
    }
    const rate = counterRate(page, row, point)
    if (Number.isNaN(rate)) {
      page.f64[lastAt] = point.timeMs
      page.dirty = true
    } else this.#judge(series, page, row, rate, point.timeMs, (point.timeMs + lastTimeMs) / 2)
  }

  #takeSum(view: PointView, series: number, page: SeriesPage, row: number, descriptor: Descriptor): void {
    const { windowMs } = this.settings
    const spanMs = view.timeMs - view.startMs
    if (view.startMs > 0 && spanMs >= LONG_DELTA_WINDOWS * windowMs) {
      this.#takeValue(series, page, row, (view.value * 1_000) / spanMs, view.timeMs, view.timeMs - spanMs / 2)
      return
    }
    this.#countTaken(takeSum(page, row, series, view, descriptor.derived, windowMs, this.#closeSum))
  }

  #takeHistogram(view: PointView, series: number, descriptor: Descriptor): void {
    const state = this.registry.histogramOf(series)
    if (state === undefined) {
      this.stats.refused++
      return
    }
    const closedMs = this.table.page(state.mean).f64[this.table.row(state.mean) * F64_STRIDE + F64.lastTimeMs]!
    this.#countTaken(takeDistribution(state, view, descriptor.derived, this.settings.windowMs, closedMs, this.#closeDistribution))
  }

  #countLate(timeMs: number, lastTimeMs: number): void {
    if (timeMs === lastTimeMs) this.stats.duplicate++
    else this.stats.late++
  }

  #countTaken(taken: Taken): void {
    if (taken === TAKEN.late) this.stats.late++
    else if (taken === TAKEN.duplicate) this.stats.duplicate++
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
    return entity.maxEventMs + Math.max(0, nowMs - entity.lastArrivalMs)
  }

  #delayMs(descriptor: Descriptor): number {
    return this.settings.latenessMs + (descriptor.derived ? Math.min(this.settings.latenessMs, SHARD_SLACK_MAX_MS) + this.#lagMs : 0)
  }

  #closeDueSums(series: number, nowMs: number): void {
    const page = this.table.page(series)
    const row = this.table.row(series)
    if ((page.u8[row * U8_STRIDE + U8.flags]! & FLAG.window) === 0) return
    const entity = this.entities.all[page.u32[row * F32_STRIDE + U32.entity]!]!
    const delayMs = this.#delayMs(this.table.descriptorOf(series))
    closeDueSums(page, row, series, this.settings.windowMs, this.#watermark(entity, nowMs) - delayMs, entity.maxEventMs - delayMs, this.#closeSum)
  }

  #closeDueDistributions(state: HistogramState, nowMs: number): void {
    if (Number.isNaN(state.open.startMs)) return
    const entity = this.entities.all[this.table.entityOf(state.series)]!
    const throughMs = this.#watermark(entity, nowMs) - this.#delayMs(this.table.descriptorOf(state.series))
    while (state.open.startMs + this.settings.windowMs <= throughMs) this.#closeDistribution(state)
  }

  /** A window's sum, per second. */
  readonly #closeSum: CloseSum = (series, page, row, startMs, sum) => {
    const { windowMs } = this.settings
    const rate = (sum * 1_000) / windowMs
    this.#judge(series, page, row, rate, startMs + windowMs, startMs + windowMs / 2)
    const pair = this.registry.pairOf.get(series)
    if (pair) tellRatio(pair, series, startMs + windowMs, rate, this.table, windowMs, this.#derived)
  }

  /** A window's distribution: its mean and, for durations, its p95. */
  readonly #closeDistribution = (state: HistogramState): void => {
    const { open, mean, p95 } = state
    const timeMs = open.startMs + this.settings.windowMs
    const onsetMs = open.startMs + this.settings.windowMs / 2
    const meanValue = windowMean(open)
    const p95Value = windowP95(open)
    nextWindow(state)
    if (!Number.isNaN(meanValue)) this.#judge(mean, this.table.page(mean), this.table.row(mean), meanValue, timeMs, onsetMs)
    if (p95 >= 0 && !Number.isNaN(p95Value)) this.#judge(p95, this.table.page(p95), this.table.row(p95), p95Value, timeMs, onsetMs)
  }

  #judge(series: number, page: SeriesPage, row: number, value: number, timeMs: number, onsetMs: number): void {
    this.stats.scored++
    const descriptor = this.table.descriptors.get(page.u32[row * F32_STRIDE + U32.descriptor]!)
    const sinceMs = page.f64[row * F64_STRIDE + F64.onsetMs]!
    if (descriptor.isRestartCount) this.#judgeRestarts(series, page, row, value, timeMs)
    const verdict = updateLevel(page, row, value, timeMs, onsetMs, this.settings, descriptor)
    if (verdict !== VERDICT.nothing) this.#tellVerdict(series, verdict, value, timeMs, sinceMs)
    if ((page.u8[row * U8_STRIDE + U8.flags]! & FLAG.rules) !== 0) {
      for (const anomaly of judgeRules(this, this.registry.rulesOf(series), series, value, timeMs, this.#detectedAtMs())) this.#tell(anomaly)
    }
    this.#tellMaybe(this.tiers.take(series, page, row, descriptor, value, timeMs, verdict, this.#detectedAtMs))
    this.onJudged?.(series, value, timeMs)
  }

  #judgeRestarts(series: number, page: SeriesPage, row: number, count: number, timeMs: number): void {
    // What was counted before it was first seen is not of now.
    if (page.u32[row * F32_STRIDE + U32.samples] === 0) return
    const before = page.f32[row * F32_STRIDE + F32.lastValue]!
    this.#tellMaybe(judgeRestarts(this, this.registry.restarts, series, before, count, timeMs, this.#quietMinMs, this.#detectedAtMs()))
  }

  /** A loop is not over while a single report is late. */
  get #quietMinMs(): number {
    return silenceMs(this.settings.absence.absenceMin)
  }

  #lapse(series: number): void {
    const page = this.table.page(series)
    const row = this.table.row(series)
    const { [row * F64_STRIDE + F64.onsetMs]: sinceMs, [row * F64_STRIDE + F64.lastTimeMs]: lastTimeMs } = page.f64
    endRun(page, row)
    page.dirty = true
    this.#tellVerdict(series, VERDICT.lapsed, page.f32[row * F32_STRIDE + F32.lastValue]!, lastTimeMs!, sinceMs!)
  }

  #tellVerdict(series: number, verdict: Verdict, value: number, timeMs: number, sinceMs: number): void {
    if (verdict === VERDICT.opened) this.#open.add(series)
    else if (verdict !== VERDICT.ongoing) this.#open.delete(series)
    const anomaly = tellVerdict(this, series, verdict, value, timeMs, sinceMs, this.#detectedAtMs())
    this.#tellMaybe(anomaly)
  }

  #askModels(entity: EntityState): void {
    const models = this.#models()
    if (models.length === 0) return
    for (const anomaly of judgeWithModels(models, entity, this.table, this.settings, this.#detectedAtMs())) this.#tell(anomaly)
  }

  #tellMaybe(anomaly: Anomaly | undefined): void {
    if (anomaly !== undefined) this.#tell(anomaly)
  }

  #tell(anomaly: Anomaly): void {
    this.stats.anomalies++
    this.#anomalies.push(anomaly)
  }
}
