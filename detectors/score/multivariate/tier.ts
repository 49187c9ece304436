// The multivariate tier of one scorer: which entities have a model, which of their series are its columns, how rows come about.
//
// Flow: scorer (value of a column) -> take -> the row's mean; scorer (event time of the entity passes a row's end by the time that
// stragglers have) -> closeRow -> update.ts -> verdict -> scorer. A row is a minute, and its value of a metric the mean of what
// was reported in it. Two rows are open at a time, so points may be late by as much as a row is waited for, in any order.
// Of an entity those series are columns that matter most when it has been known for half an hour; what it reports later
// is not, until so few of them are left that it begins anew.
//
// Parts of the checkpoint, per model: `model-N-row` (who, columns, open rows), `model-N-state`, `model-N-moments` (95 % of the
// bytes, but changed once in 60 rows only). An empty `model-N-row` says that N has no model any more.

import { AppError } from '../../../schemas/errors.ts'
import type { SeriesBudget } from '../budget.ts'
import { entityBytes, type EntityState, entityStateFrom, momentsAt, newEntityState, SCALAR } from './entity-state.ts'
import { isReady, updateEntity } from './update.ts'

export const ROW_MS = 60_000
/** 38 columns are 0.33 MB; the state grows with the square. */
export const COLUMNS_MAX = 38
export const COLUMNS_MIN = 4
/** Rows of an entity before its columns are chosen: by then what reports every few minutes has reported. */
const CHOOSE_ROWS = 30
/** Rows in which less than half of the columns reported before the entity is begun anew: a day. */
const FORGET_ROWS = 1_440
/** The score must stay so far below the threshold (decades of rarity) for so many rows before an anomaly is over. */
const EXIT_DECADES = 0.5
const CALM_ROWS = 5

export const ROW_VERDICT = { nothing: 0, opened: 1, ongoing: 2, closed: 3 } as const
export type RowVerdict = (typeof ROW_VERDICT)[keyof typeof ROW_VERDICT]

/** An entity with a model. */
export interface Model {
  readonly index: number
  readonly entity: number
  /** Series of its columns, in the order of their names: replays number series differently. */
  readonly columns: readonly number[]
  readonly state: EntityState
  /** Sums and counts of the open row, then of the next one. */
  readonly sums: Float64Array
  readonly counts: Uint32Array
  /** Rows in which less than half of the columns reported, in a row. */
  sparseRows: number
  /** An anomaly is open since; 0: none. */
  sinceMs: number
  /** Its severity as told + 1; 0: not told. */
  told: number
  calmRows: number
  isRowDirty: boolean
  isStateDirty: boolean
  areMomentsDirty: boolean
}

/** Where an entity stands: kept with the entity, since most have no model. */
export interface RowClock {
  index: number
  maxEventMs: number
  /** End of the open row, event time; 0: none yet. */
  rowEndMs: number
  rowsSeen: number
}

export class EntityTier {
  readonly models: (Model | undefined)[] = []
  readonly #modelOf = new Map<number, Model>()
  /** By series: its model, and its column there. */
  readonly #columnOf = new Map<number, { model: Model; column: number }>()
  readonly #budget: SeriesBudget
  readonly #row = new Float64Array(COLUMNS_MAX)
  readonly #freed = new Set<number>()

  constructor(budget: SeriesBudget) {
    this.#budget = budget
  }

  get size(): number {
    return this.#modelOf.size
  }

  get bytes(): number {
    let bytes = 0
    for (const { state } of this.#modelOf.values()) bytes += state.buffer.byteLength
    return bytes
  }

  modelOf(entity: number): Model | undefined {
    return this.#modelOf.get(entity)
  }

  isColumn(series: number): boolean {
    return this.#columnOf.has(series)
  }

  /** Adds a value to the open or the next row of its entity; series that are no column are passed over. */
  take(series: number, value: number, timeMs: number, rowEndMs: number): void {
    const place = this.#columnOf.get(series)
    if (place === undefined || timeMs <= rowEndMs - ROW_MS || timeMs > rowEndMs + ROW_MS) return
    const { model, column } = place
    const at = timeMs <= rowEndMs ? column : model.columns.length + column
    model.sums[at] = model.sums[at]! + value
    model.counts[at] = model.counts[at]! + 1
    model.isRowDirty = true
  }

  /**
   * Closes the open row if no straggler can come any more, scores it, and goes on to the row of `throughMs`.
   * @param throughMs the entity's event time less the time that stragglers have
   * @param heldValue value of a column without a point in the row: NaN, or the last one of a series slower than rows are
   * @returns `nothing` when no row was closed or the entity has no model
   */
  closeRow(clock: RowClock, throughMs: number, threshold: number, heldValue: (series: number) => number): RowVerdict {
    if (clock.rowEndMs === 0) clock.rowEndMs = rowEnd(clock.maxEventMs)
    if (throughMs < clock.rowEndMs) return ROW_VERDICT.nothing
    clock.rowsSeen++
    const model = this.#modelOf.get(clock.index)
    const verdict = model === undefined ? ROW_VERDICT.nothing : this.#scoreRow(model, clock.rowEndMs, threshold, heldValue)
    // What the next row has of points is scored when its turn comes; only rows without any are passed over.
    const next = clock.rowEndMs + ROW_MS
    clock.rowEndMs = model !== undefined && shiftRow(model) ? next : Math.max(next, rowEnd(throughMs))
    return verdict
  }

  /** Whether it is time to look for columns of an entity without a model. */
  isDue(clock: RowClock): boolean {
    return clock.rowsSeen > 0 && clock.rowsSeen % CHOOSE_ROWS === 0 && !this.#modelOf.has(clock.index)
  }

  /**
   * Begins the model of an entity.
   * @param columns series, COLUMNS_MIN to COLUMNS_MAX
   * @returns false when the budget does not allow it
   */
  begin(entity: number, columns: readonly number[]): boolean {
    const bytes = entityBytes(columns.length)
    if (this.#budget.entityBytesLeft < bytes) return false
    this.#budget.entityBytesLeft -= bytes
    const free = this.models.indexOf(undefined)
    const index = free < 0 ? this.models.length : free
    this.#freed.delete(index)
    this.#enter({
      ...{ index, entity, columns, state: newEntityState(columns.length) },
      ...{ sums: new Float64Array(2 * columns.length), counts: new Uint32Array(2 * columns.length) },
      ...{ sparseRows: 0, sinceMs: 0, told: 0, calmRows: 0, isRowDirty: true, isStateDirty: true, areMomentsDirty: true }
    })
    return true
  }

  /** Gives up the model of an entity: it was silent for long, or reports other things now. */
  end(entity: number): void {
    const model = this.#modelOf.get(entity)
    if (model === undefined) return
    this.#budget.entityBytesLeft += model.state.buffer.byteLength
    this.#modelOf.delete(entity)
    for (const series of model.columns) this.#columnOf.delete(series)
    this.models[model.index] = undefined
    this.#freed.add(model.index)
  }

  /** Whether so few columns are left that the model says nothing about the entity. */
  isOutlived(model: Model): boolean {
    return model.sparseRows >= FORGET_ROWS
  }

  /** Changed parts since the last call, copied. */
  takeDirty(parts: Map<string, Uint8Array>): void {
    for (const index of this.#freed) parts.set(`model-${index}-row`, new Uint8Array(0))
    this.#freed.clear()
    for (const model of this.models) {
      if (model === undefined) continue
      const at = momentsAt(model.state.metrics)
      if (model.isRowDirty) parts.set(`model-${model.index}-row`, rowBytes(model))
      if (model.isStateDirty) parts.set(`model-${model.index}-state`, new Uint8Array(model.state.buffer.slice(0, at)))
      if (model.areMomentsDirty) parts.set(`model-${model.index}-moments`, new Uint8Array(model.state.buffer.slice(at)))
      model.isRowDirty = false
      model.isStateDirty = false
      model.areMomentsDirty = false
    }
  }

  /** @throws AppError `checkpoint_invalid` */
  static restore(parts: ReadonlyMap<string, Uint8Array>, budget: SeriesBudget): EntityTier {
    const tier = new EntityTier(budget)
    for (let index = 0; ; index++) {
      const row = parts.get(`model-${index}-row`)
      if (row === undefined) return tier
      tier.models.push(undefined)
      if (row.byteLength === 0) continue
      const [state, moments] = [parts.get(`model-${index}-state`), parts.get(`model-${index}-moments`)]
      if (state === undefined || moments === undefined) throw new AppError('checkpoint_invalid', `model ${index} of a checkpoint is not whole`)
      const bytes = new Uint8Array(state.byteLength + moments.byteLength)
      bytes.set(state)
      bytes.set(moments, state.byteLength)
      const model = modelFrom(index, row, entityStateFrom(bytes))
      budget.entityBytesLeft -= model.state.buffer.byteLength
      tier.#enter(model)
    }
  }

  #enter(model: Model): void {
    this.models[model.index] = model
    this.#modelOf.set(model.entity, model)
    for (const [column, series] of model.columns.entries()) this.#columnOf.set(series, { model, column })
  }

  #scoreRow(model: Model, timeMs: number, threshold: number, heldValue: (series: number) => number): RowVerdict {
    const { columns, sums, counts, state } = model
    let reported = 0
    for (let column = 0; column < columns.length; column++) {
      const value = counts[column]! > 0 ? sums[column]! / counts[column]! : heldValue(columns[column]!)
      this.#row[column] = value
      if (!Number.isNaN(value)) reported++
    }
    model.sparseRows = 2 * reported < columns.length ? model.sparseRows + 1 : 0
    if (reported === 0) return ROW_VERDICT.nothing // A silence is no row: the next one is told how long it was.
    const blockRows = state.scalars[SCALAR.blockRows]!
    const score = updateEntity(state, this.#row, timeMs)
    // A block that was learned (full, or ended by a silence) alone changes the moments, and the very first row.
    if (blockRows === 0 || state.scalars[SCALAR.blockRows] !== blockRows + 1) model.areMomentsDirty = true
    model.isStateDirty = true
    return isReady(state) ? judgeRow(model, score, threshold, timeMs) : ROW_VERDICT.nothing
  }
}

/** End of the row that contains `timeMs`; rows are (end − ROW_MS, end]. */
function rowEnd(timeMs: number): number {
  return Math.ceil(timeMs / ROW_MS) * ROW_MS
}

/** The next row becomes the open one. @returns whether it has points already */
function shiftRow({ sums, counts, columns }: Model): boolean {
  const { length } = columns
  sums.copyWithin(0, length)
  counts.copyWithin(0, length)
  sums.fill(0, length)
  counts.fill(0, length)
  for (let column = 0; column < length; column++) if (counts[column]! > 0) return true
  return false
}

function judgeRow(model: Model, score: number, threshold: number, timeMs: number): RowVerdict {
  model.isRowDirty = true
  if (model.sinceMs === 0) {
    if (score < threshold) return ROW_VERDICT.nothing
    model.sinceMs = timeMs - ROW_MS
    model.calmRows = 0
    return ROW_VERDICT.opened
  }
  model.calmRows = score < threshold - EXIT_DECADES ? model.calmRows + 1 : 0
  return model.calmRows >= CALM_ROWS ? ROW_VERDICT.closed : ROW_VERDICT.ongoing
}

interface RowHead {
  entity: number
  columns: readonly number[]
  sparseRows: number
  sinceMs: number
  told: number
  calmRows: number
  sums: number[]
  counts: number[]
}

function rowBytes({ entity, columns, sparseRows, sinceMs, told, calmRows, sums, counts }: Model): Uint8Array {
  const head: RowHead = { entity, columns, sparseRows, sinceMs, told, calmRows, sums: [...sums], counts: [...counts] }
  return new TextEncoder().encode(JSON.stringify(head))
}

function modelFrom(index: number, bytes: Uint8Array, state: EntityState): Model {
  let head: RowHead
  try {
    head = JSON.parse(new TextDecoder().decode(bytes)) as RowHead
  } catch (cause) {
    throw new AppError('checkpoint_invalid', `the open rows of model ${index} in a checkpoint cannot be read`, { cause })
  }
  if (head.columns.length !== state.metrics)
    throw new AppError('checkpoint_invalid', `model ${index} has ${head.columns.length} columns and a state for ${state.metrics}`)
  return {
    ...head,
    ...{ index, state, sums: Float64Array.from(head.sums), counts: Uint32Array.from(head.counts) },
    ...{ isRowDirty: false, isStateDirty: false, areMomentsDirty: false }
  }
}
