// What stands beside the series table: lists and small objects per series that only some series have.
//
// Flow: scorer -> registry when a series is new (attach) or state was restored (everything is found again from the records).
// Windowed series (closed by watermark), histograms (merged distributions), pairs of requests and errors (ratio), static
// rules, restarts. Only histograms, running rules and restarts are state of their own: parts `histogram-N`, `rules`, `restarts`.

import { AppError } from '../../schemas/errors.ts'
import type { RestartState } from '../rules/crash-loop.ts'
import { type RuleState, ruleMatches, ruleState, type StaticRule } from '../rules/static-rule.ts'
import { BASE_SERIES_BYTES } from './budget.ts'
import { type Descriptor, READING } from './descriptor.ts'
import type { EntityState, EntityTable } from './entities.ts'
import { BUCKETS_MAX } from './exponential.ts'
import { type HistogramState, newHistogram } from './histogram.ts'
import { histogramsFromBytes, histogramsToBytes } from './histogram-part.ts'
import { F32_STRIDE, F64, F64_STRIDE, FLAG, PAGE_SHIFT, STATE, U32, U8, U8_STRIDE } from './record.ts'
import type { SeriesTable } from './series-table.ts'

/** Of one partition; beyond this many histograms are refused like series. */
const HISTOGRAMS_MAX = 20_000
/** A histogram keeps two windows and its last point beside its record: 4 KB of exponential buckets; explicit ones take 1 KB with the SDKs' bounds. */
const HISTOGRAM_BYTES = 3 * (BUCKETS_MAX * 8 + 64)
const HISTOGRAM_PLACES = Math.ceil(HISTOGRAM_BYTES / BASE_SERIES_BYTES)
const HISTOGRAMS_PER_PART = 64

/** A window's requests and errors of one operation or edge; their quotient is written back as a gauge. */
export interface RatioPair {
  entity: EntityState
  metric: string
  attributes: Record<string, string>
  requests: number
  errors: number
  lastTimeMs: number
  /** Rates of windows that the other series has not closed yet, by series and time. */
  ahead: Map<string, number>
}

const RATIO_SOURCE = /^(homeostat\.(?:span|edge))\.(requests|errors)$/

export class Registry {
  readonly windowed: number[] = []
  readonly histograms: HistogramState[] = []
  /** By the series of either. */
  readonly pairOf = new Map<number, RatioPair>()
  /** Of restart counts: those that rose lately. */
  readonly restarts = new Map<number, RestartState>()
  readonly #pairByName = new Map<string, RatioPair>()
  readonly #rulesBySeries = new Map<number, RuleState[]>()
  readonly #rules: readonly StaticRule[]
  readonly #table: SeriesTable

  constructor(table: SeriesTable, rules: readonly StaticRule[]) {
    this.#table = table
    this.#rules = rules
  }

  rulesOf(series: number): readonly RuleState[] {
    return this.#rulesBySeries.get(series) ?? []
  }

  histogramOf(series: number): HistogramState | undefined {
    return this.histograms[this.#table.page(series).f64[this.#table.row(series) * F64_STRIDE + F64.raw]! - 1]
  }

  /** Enters a new series in what applies to it. */
  attach(series: number, entity: EntityState, descriptor: Descriptor, attributes: Readonly<Record<string, string>>): void {
    const page = this.#table.page(series)
    const row = this.#table.row(series)
    page.u32[row * F32_STRIDE + U32.nextOfEntity] = entity.firstSeries
    entity.firstSeries = series + 1
    this.#index(series, entity, descriptor, () => attributes)
  }

  /** Makes the state of a histogram whose statistics are the series `mean` and `p95`. False when there are too many. */
  addHistogram(series: number, mean: number, p95: number): boolean {
    if (this.histograms.length >= HISTOGRAMS_MAX || this.#table.isRefused()) return false
    this.#table.takeBeside(HISTOGRAM_PLACES)
    this.histograms.push(newHistogram(series, mean, p95))
    this.#table.page(series).f64[this.#table.row(series) * F64_STRIDE + F64.raw] = this.histograms.length
    return true
  }

  /** Finds everything again after `SeriesTable.restore`. O(series). @throws AppError `checkpoint_invalid` */
  restore(parts: ReadonlyMap<string, Uint8Array>, entities: EntityTable): void {
    for (let number = 0; ; number++) {
      const part = parts.get(`histogram-${number}`)
      if (part === undefined) break
      this.histograms.push(...histogramsFromBytes(part))
    }
    const table = this.#table
    table.takeBeside(this.histograms.length * HISTOGRAM_PLACES)
    // 1 = windowed or with a rule, 2 = ignored by the configuration as it is now.
    const marks = new Uint8Array(table.descriptors.count)
    for (let id = 0; id < marks.length; id++) {
      const descriptor = table.descriptors.get(id)
      if (descriptor.ignored) marks[id] = 2
      else if (descriptor.reading === READING.window || this.#rules.some(rule => rule.metric === descriptor.name)) marks[id] = 1
    }
    for (const [number, page] of table.pages.entries()) {
      const { u8, u32, used } = page
      for (let row = 0; row < used; row++) {
        const base8 = row * U8_STRIDE
        const mark = marks[u32[row * F32_STRIDE + U32.descriptor]!]
        u8[base8 + U8.flags] = u8[base8 + U8.flags]! & ~FLAG.rules
        if (mark === 2) u8[base8 + U8.state] = STATE.ignored
        else if (u8[base8 + U8.state] === STATE.ignored) u8[base8 + U8.state] = STATE.warmup
        if (mark === 1) this.#indexRestored((number << PAGE_SHIFT) + row, entities)
      }
    }
    this.#restoreRules(parts.get('rules'))
    this.#restoreRestarts(parts.get('restarts'))
  }

  /** Dirty parts since the last call. */
  takeDirty(parts: Map<string, Uint8Array>): void {
    for (let first = 0; first < this.histograms.length; first += HISTOGRAMS_PER_PART) {
      const chunk = this.histograms.slice(first, first + HISTOGRAMS_PER_PART)
      if (!chunk.some(state => state.dirty)) continue
      for (const state of chunk) state.dirty = false
      parts.set(`histogram-${first / HISTOGRAMS_PER_PART}`, histogramsToBytes(chunk))
    }
    const running: [number, string, number, boolean][] = []
    for (const [series, states] of this.#rulesBySeries) {
      for (const state of states) if (state.sinceMs !== 0) running.push([series, state.rule.name, state.sinceMs, state.isOpen])
    }
    parts.set('rules', new TextEncoder().encode(JSON.stringify(running)))
    parts.set('restarts', new TextEncoder().encode(JSON.stringify([...this.restarts])))
  }

  #indexRestored(series: number, entities: EntityTable): void {
    const entity = entities.all[this.#table.entityOf(series)]
    if (entity === undefined) throw new AppError('checkpoint_invalid', `series ${series} belongs to an entity that the checkpoint lacks`)
    this.#index(series, entity, this.#table.descriptorOf(series), () => this.#table.attributesOf(series))
  }

  #index(series: number, entity: EntityState, descriptor: Descriptor, attributesOf: () => Readonly<Record<string, string>>): void {
    if (descriptor.ignored) {
      this.#table.page(series).u8[this.#table.row(series) * U8_STRIDE + U8.state] = STATE.ignored
      return
    }
    if (descriptor.reading === READING.window) {
      this.windowed.push(series)
      this.#pair(series, entity, descriptor, attributesOf)
    }
    if (this.#rules.length === 0 || !this.#rules.some(rule => rule.metric === descriptor.name)) return
    const attributes = attributesOf()
    const matching = this.#rules.filter(rule => ruleMatches(rule, descriptor.name, entity, attributes))
    if (matching.length === 0) return
    this.#rulesBySeries.set(series, matching.map(ruleState))
    const page = this.#table.page(series)
    const at = this.#table.row(series) * U8_STRIDE + U8.flags
    page.u8[at] = page.u8[at]! | FLAG.rules
  }

  #pair(series: number, entity: EntityState, descriptor: Descriptor, attributesOf: () => Readonly<Record<string, string>>): void {
    const source = RATIO_SOURCE.exec(descriptor.name)
    if (source === null) return
    const attributes = { ...attributesOf() }
    const name = JSON.stringify([entity.index, source[1], Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1))])
    let pair = this.#pairByName.get(name)
    if (pair === undefined) {
      pair = { entity, metric: `${source[1]}.error_ratio`, attributes, requests: -1, errors: -1, lastTimeMs: 0, ahead: new Map() }
      this.#pairByName.set(name, pair)
    }
    pair[source[2] as 'requests' | 'errors'] = series
    this.pairOf.set(series, pair)
    // What both had closed before the checkpoint was told before it.
    const lastTimeMs = (of: number): number => (of < 0 ? 0 : this.#table.page(of).f64[this.#table.row(of) * F64_STRIDE + F64.lastTimeMs]!)
    pair.lastTimeMs = Math.min(lastTimeMs(pair.requests), lastTimeMs(pair.errors))
  }

  /** Checkpoints of earlier releases have none. */
  #restoreRestarts(part: Uint8Array | undefined): void {
    if (part === undefined) return
    for (const [series, state] of JSON.parse(new TextDecoder().decode(part)) as [number, RestartState][]) this.restarts.set(series, state)
  }

  #restoreRules(part: Uint8Array | undefined): void {
    if (part === undefined) return
    for (const [series, name, sinceMs, isOpen] of JSON.parse(new TextDecoder().decode(part)) as [number, string, number, boolean][]) {
      const state = this.#rulesBySeries.get(series)?.find(candidate => candidate.rule.name === name)
      if (state) Object.assign(state, { sinceMs, isOpen })
    }
  }
}
