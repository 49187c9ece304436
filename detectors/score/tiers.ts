// The tiers above the base: who is looked at more closely, by the memory that there is, and what that finds.
//
// Flow: scorer (a judged value; event time of an entity) -> tiers -> rich/tier.ts, multivariate/tier.ts -> anomalies.
//
//   every series ──base: level, tail, change, absence──────────────────────────────► anomaly `adaptive`
//   └ with a slot ──rows of a minute──► rich: records, shape, profile──────────────► anomaly `novelty`
//       └ column of an entity with a model ──row of all columns──► multivariate────► anomaly `multivariate`
//
// A series asks for a slot when it is first judged, again after every thousand points, and when it becomes anomalous. One series,
// one story: while the base tier's anomaly is open, a novelty of the same series is not told besides.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { SeriesBudget } from './budget.ts'
import type { Descriptor } from './descriptor.ts'
import type { EntityState, EntityTable } from './entities.ts'
import { lapsedSeries } from './lapse.ts'
import { VERDICT, type Verdict } from './level.ts'
import { COLUMNS_MAX, COLUMNS_MIN, EntityTier, ROW_MS, ROW_VERDICT } from './multivariate/tier.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, FLAG, type SeriesPage, STATE, U32, U8, U8_STRIDE } from './record.ts'
import { RICH_VERDICT } from './rich/alarm.ts'
import { F32_STRIDE as RICH_F32_STRIDE, U32 as RICH_U32 } from './rich/page.ts'
import { lastRow, lastScore } from './rich/rich.ts'
import { IMPORTANCE, type Importance, RichTier } from './rich/tier.ts'
import type { ScorerSettings } from './scorer-settings.ts'
import type { SeriesTable } from './series-table.ts'
import { seriesName } from './telling.ts'
import { closeEntity, tellEntity } from './telling-entity.ts'
import { closeNovelty, tellNovelty } from './telling-novelty.ts'

/** A series without a slot asks again after so many points; a power of two. */
const ASK_POINTS = 1_024
/** A series is idle, and its slot free to take, when its entity went on without it for so many of its intervals, and so long. */
const IDLE_INTERVALS = 100
const IDLE_MS_MIN = 3_600_000
/** An entity that was silent for so long may lose its model to another. */
const FORGET_MS = 86_400_000
/** A column whose series is slower than rows are keeps its last value for so many of its intervals. */
const HELD_INTERVALS = 2
/** Models looked at for one to give up when the budget is used up. */
const FORGET_STEPS = 16

export class Tiers {
  readonly rich: RichTier
  readonly models: EntityTier
  readonly table: SeriesTable
  readonly entities: EntityTable
  readonly settings: ScorerSettings
  readonly #rowDelayMs: number
  /** Series with a novelty that was told: what lapses must be closed. */
  readonly #open = new Set<number>()
  #forgetHand = 0

  constructor(of: { table: SeriesTable; entities: EntityTable; settings: ScorerSettings }, budget: SeriesBudget, parts?: ReadonlyMap<string, Uint8Array>) {
    this.table = of.table
    this.entities = of.entities
    this.settings = of.settings
    // Derived points of a row come when their windows are complete and every shard has told them.
    this.#rowDelayMs = Math.min(ROW_MS, 2 * of.settings.latenessMs + of.settings.absence.derivedLagMs)
    this.rich = parts === undefined ? new RichTier(budget) : RichTier.restore(parts, budget)
    this.models = parts === undefined ? new EntityTier(budget) : EntityTier.restore(parts, budget)
    for (const series of this.rich.series) {
      if (this.#richU32(series, RICH_U32.told) !== 0) this.#open.add(series)
    }
  }

  /**
   * Shows a value, which the base tier has just judged, to the tiers above.
   * @param verdict the base tier's
   * @returns what it told; undefined nearly always
   */
  take(
    series: number,
    page: SeriesPage,
    row: number,
    descriptor: Descriptor,
    value: number,
    timeMs: number,
    verdict: Verdict,
    nowMs: () => number
  ): Anomaly | undefined {
    const flagsAt = row * U8_STRIDE + U8.flags
    if (verdict === VERDICT.opened) this.#ask(series, page, row, IMPORTANCE.troubled)
    else if ((page.u8[flagsAt]! & FLAG.watched) === 0) {
      if (page.u32[row * F32_STRIDE + U32.samples]! % ASK_POINTS !== 1) return undefined
      this.#ask(series, page, row, this.#importanceOf(page, row, descriptor))
    }
    if ((page.u8[flagsAt]! & FLAG.watched) === 0) return undefined
    const entity = this.entities.all[page.u32[row * F32_STRIDE + U32.entity]!]!
    this.models.take(series, value, timeMs, entity.rowEndMs)
    const slot = this.rich.slotOf(series)
    const found = this.rich.take(slot, value, timeMs, this.settings.noveltyThreshold)
    if (found === RICH_VERDICT.nothing || found === RICH_VERDICT.ongoing) return undefined
    if (found === RICH_VERDICT.closed) {
      this.#open.delete(series)
      return closeNovelty(this, series, slot, nowMs(), false)
    }
    if (page.u8[row * U8_STRIDE + U8.state] === STATE.open) return undefined
    const anomaly = tellNovelty(this, series, slot, lastScore(this.rich.page(slot), this.rich.row(slot)), nowMs())
    if (anomaly !== undefined) this.#open.add(series)
    return anomaly
  }

  /** The event time of an entity went on: closes its row when it is complete, or looks for the columns of a model. */
  advance(entity: EntityState, nowMs: () => number): Anomaly | undefined {
    const timeMs = entity.rowEndMs
    const verdict = this.models.closeRow(entity, entity.maxEventMs - this.#rowDelayMs, this.settings.entityThreshold, this.#heldValue)
    if (timeMs === entity.rowEndMs) return undefined
    const model = this.models.modelOf(entity.index)
    if (model === undefined) {
      if (this.models.isDue(entity)) this.#beginModel(entity)
      return undefined
    }
    if (verdict === ROW_VERDICT.opened || verdict === ROW_VERDICT.ongoing) return tellEntity(this, model, timeMs, nowMs())
    const closed = verdict === ROW_VERDICT.closed ? closeEntity(this, model, timeMs, nowMs()) : undefined
    if (model.told === 0 && this.models.isOutlived(model)) this.models.end(entity.index)
    return closed
  }

  /** When a row of the entity can be closed next, event time. */
  dueMs(entity: EntityState): number {
    return entity.rowEndMs + this.#rowDelayMs
  }

  /** Novelties of series that their entities have left behind. */
  lapse(lagMs: number, nowMs: () => number): Anomaly[] {
    const closed: Anomaly[] = []
    for (const series of lapsedSeries(this.#open, this.table, this.entities, this.settings.absence.absenceMin, lagMs)) {
      this.#open.delete(series)
      const anomaly = closeNovelty(this, series, this.rich.slotOf(series), nowMs(), true)
      if (anomaly !== undefined) closed.push(anomaly)
    }
    return closed
  }

  takeDirty(parts: Map<string, Uint8Array>): void {
    this.rich.takeDirty(parts)
    this.models.takeDirty(parts)
  }

  #importanceOf({ u8 }: SeriesPage, row: number, { isKey, class: { above, below } }: Descriptor): Importance {
    if (isKey || (u8[row * U8_STRIDE + U8.flags]! & FLAG.rules) !== 0) return IMPORTANCE.key
    return above === null && below === null ? IMPORTANCE.none : IMPORTANCE.ordinary
  }

  #ask(series: number, page: SeriesPage, row: number, importance: Importance): void {
    if (importance === IMPORTANCE.none) return
    const evicted = this.rich.grant(series, importance, this.#isIdle)
    if (evicted >= 0) {
      const other = this.table.page(evicted)
      const at = this.table.row(evicted) * U8_STRIDE + U8.flags
      other.u8[at] = other.u8[at]! & ~FLAG.watched
      other.dirty = true
    }
    if (this.rich.slotOf(series) < 0) return
    const at = row * U8_STRIDE + U8.flags
    page.u8[at] = page.u8[at]! | FLAG.watched
    page.dirty = true
  }

  readonly #isIdle = (series: number): boolean => {
    return this.#behindMs(series) > Math.max(IDLE_MS_MIN, IDLE_INTERVALS * this.#intervalMs(series))
  }

  readonly #heldValue = (series: number): number => {
    const slot = this.rich.slotOf(series)
    const intervalMs = this.#intervalMs(series)
    if (slot < 0 || intervalMs < ROW_MS || this.#behindMs(series) > HELD_INTERVALS * intervalMs + this.#rowDelayMs) return Number.NaN
    return lastRow(this.rich.page(slot), this.rich.row(slot))
  }

  /** Those of its watched series that matter most, in the order of their names. */
  #beginModel(entity: EntityState): void {
    const candidates: { series: number; importance: Importance; name: string }[] = []
    for (let next = entity.firstSeries; next !== 0; ) {
      const series = next - 1
      const page = this.table.page(series)
      const row = this.table.row(series)
      next = page.u32[row * F32_STRIDE + U32.nextOfEntity]!
      if ((page.u8[row * U8_STRIDE + U8.flags]! & FLAG.watched) === 0 || this.#isStale(series)) continue
      const attributes = this.table.attributesOf(series)
      const name = `${seriesName(this.table.descriptorOf(series), attributes)}${JSON.stringify(Object.entries(attributes).sort())}`
      candidates.push({ series, importance: this.rich.importanceOf(this.rich.slotOf(series)), name })
    }
    if (candidates.length < COLUMNS_MIN) return
    const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
    const columns = candidates
      .sort((a, b) => b.importance - a.importance || byName(a, b))
      .slice(0, COLUMNS_MAX)
      .sort(byName)
      .map(({ series }) => series)
    if (!this.models.begin(entity.index, columns) && this.#forgetOne(entity)) this.models.begin(entity.index, columns)
  }

  #isStale(series: number): boolean {
    return this.#behindMs(series) > this.#rowDelayMs + HELD_INTERVALS * Math.max(ROW_MS, this.#intervalMs(series))
  }

  /** How far the series lags behind the newest of its entity, event time. */
  #behindMs(series: number): number {
    const lastTimeMs = this.table.page(series).f64[this.table.row(series) * F64_STRIDE + F64.lastTimeMs]!
    return this.entities.all[this.table.entityOf(series)]!.maxEventMs - lastTimeMs
  }

  #intervalMs(series: number): number {
    return this.table.page(series).f32[this.table.row(series) * F32_STRIDE + F32.intervalMs]!
  }

  /** Gives up the model of an entity that has been silent for long. @returns whether there was one near the hand */
  #forgetOne(asking: EntityState): boolean {
    const { models } = this.models
    for (let step = Math.min(FORGET_STEPS, models.length); step > 0; step--) {
      const model = models[this.#forgetHand++ % models.length]
      if (model === undefined || model.told !== 0) continue
      const { maxEventMs, index } = this.entities.all[model.entity]!
      if (asking.maxEventMs - maxEventMs <= FORGET_MS) continue
      this.models.end(index)
      return true
    }
    return false
  }

  #richU32(series: number, field: number): number {
    const slot = this.rich.slotOf(series)
    return this.rich.page(slot).u32[this.rich.row(slot) * RICH_F32_STRIDE + field]!
  }
}
