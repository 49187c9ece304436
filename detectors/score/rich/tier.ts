// The rich tier of one scorer: which series have a slot, and how their values become the rows that a slot learns.
//
// Flow: scorer (value of a series) -> take -> row complete -> rich.ts, alarm.ts -> verdict -> scorer. A row is at least about a
// minute: a series that reports every few seconds gives the mean of a minute, a slower one each of its values as it is. The
// tier's memory counts in rows (the last 64, a day's profile, 512 of the whole past), and with rows of seconds it would
// forget this morning.
// Who gets a slot: everybody while there are some; then those that matter more, from those that matter less or fell silent.
// Part `rich-N` of the checkpoint are the pages as they are, `rich-rows` the rows that are still open.

import { AppError } from '../../../schemas/errors.ts'
import type { SeriesBudget } from '../budget.ts'
import { judgeRich, RICH_VERDICT, type RichVerdict } from './alarm.ts'
import { clearSlot, F64, F64_STRIDE, F32_STRIDE, newRichPage, PAGE_SHIFT, PAGE_SLOTS, type RichPage, richPageBytes, richPageFrom, U32 } from './page.ts'
import { updateRich } from './rich.ts'

/** Nine tenths of a minute: a sender that reports every minute is early now and then. */
const ROW_MS_MIN = 54_000
/** What an unfinished row holds is dropped when the next value is so much later: it is of another time. */
const ROW_AGE_MS_MAX = 2 * ROW_MS_MIN
/** Slots that one request for a slot looks at when all are taken: bounded work, and the next request looks at the next ones. */
const STEAL_STEPS = 256
const SLOT_MASK = PAGE_SLOTS - 1
const ROWS_PART = 'rich-rows'
/** Of that part: f64 sums of all slots, u32 counts of all, then the u32 hand. */
const OPEN_ROW_BYTES = 12
const HAND_BYTES = 4

/** Why a series has its slot: the higher one may take it from the lower. */
export const IMPORTANCE = { none: 0, ordinary: 1, troubled: 2, key: 3 } as const
export type Importance = (typeof IMPORTANCE)[keyof typeof IMPORTANCE]

export class RichTier {
  readonly pages: RichPage[] = []
  readonly #slotOf = new Map<number, number>()
  readonly #budget: SeriesBudget
  #rowSums = new Float64Array(PAGE_SLOTS)
  #rowCounts = new Uint32Array(PAGE_SLOTS)
  #areRowsDirty = false
  /** Slots that were ever used; #hand goes round them. */
  #used = 0
  #hand = 0

  constructor(budget: SeriesBudget) {
    this.#budget = budget
  }

  /** Series with a slot. */
  get size(): number {
    return this.#slotOf.size
  }

  get series(): IterableIterator<number> {
    return this.#slotOf.keys()
  }

  get bytes(): number {
    return this.pages.reduce((sum, page) => sum + page.buffer.byteLength, this.#rowSums.byteLength + this.#rowCounts.byteLength)
  }

  /** Slot of a series, or −1. */
  slotOf(series: number): number {
    return this.#slotOf.get(series) ?? -1
  }

  page(slot: number): RichPage {
    return this.pages[slot >>> PAGE_SHIFT]!
  }

  row(slot: number): number {
    return slot & SLOT_MASK
  }

  importanceOf(slot: number): Importance {
    return this.#u32(slot, U32.importance) as Importance
  }

  /**
   * Gives a series a slot, or its slot more importance.
   * @param isIdle whether another series has stopped: its slot is free to take
   * @returns the series that lost its slot for it, −1 when none did; `slotOf` tells whether there is one now
   */
  grant(series: number, importance: Importance, isIdle: (series: number) => boolean): number {
    const known = this.slotOf(series)
    if (known >= 0) {
      if (importance > this.importanceOf(known)) this.#setU32(known, U32.importance, importance)
      return -1
    }
    let slot: number
    let evicted = -1
    if (this.#budget.slotsLeft > 0) {
      this.#budget.slotsLeft--
      slot = this.#newSlot()
    } else {
      slot = this.#findWeaker(importance, isIdle)
      if (slot < 0) return -1
      evicted = this.#u32(slot, U32.series) - 1
      this.#slotOf.delete(evicted)
      this.#rowSums[slot] = 0
      this.#rowCounts[slot] = 0
      this.#areRowsDirty = true
    }
    clearSlot(this.page(slot), this.row(slot))
    this.#setU32(slot, U32.series, series + 1)
    this.#setU32(slot, U32.importance, importance)
    this.#slotOf.set(series, slot)
    return evicted
  }

  /**
   * Takes a value; scores and learns the row that it completes.
   * @param timeMs    event time, later than the series' last
   * @param threshold by `richThreshold`
   * @returns `nothing` also while the row is open
   */
  take(slot: number, value: number, timeMs: number, threshold: number): RichVerdict {
    const page = this.page(slot)
    const row = slot & SLOT_MASK
    const elapsedMs = timeMs - page.f64[row * F64_STRIDE + F64.lastTimeMs]!
    const count = this.#rowCounts[slot]!
    if (elapsedMs < ROW_MS_MIN) {
      this.#rowSums[slot] = this.#rowSums[slot]! + value
      this.#rowCounts[slot] = count + 1
      this.#areRowsDirty = true
      return RICH_VERDICT.nothing
    }
    let mean = value
    if (count > 0) {
      if (elapsedMs < ROW_AGE_MS_MAX) mean = (this.#rowSums[slot]! + value) / (count + 1)
      this.#rowSums[slot] = 0
      this.#rowCounts[slot] = 0
      this.#areRowsDirty = true
    }
    updateRich(page, row, mean, timeMs)
    return judgeRich(page, row, threshold)
  }

  /** Changed parts since the last call, copied. */
  takeDirty(parts: Map<string, Uint8Array>): void {
    for (const [number, page] of this.pages.entries()) {
      if (!page.dirty) continue
      page.dirty = false
      parts.set(`rich-${number}`, richPageBytes(page))
    }
    if (!this.#areRowsDirty) return
    this.#areRowsDirty = false
    const bytes = new Uint8Array(this.#used * OPEN_ROW_BYTES + HAND_BYTES)
    bytes.set(new Uint8Array(this.#rowSums.buffer, 0, this.#used * 8))
    bytes.set(new Uint8Array(this.#rowCounts.buffer, 0, this.#used * 4), this.#used * 8)
    new DataView(bytes.buffer).setUint32(this.#used * OPEN_ROW_BYTES, this.#hand, true)
    parts.set(ROWS_PART, bytes)
  }

  /** @throws AppError `checkpoint_invalid` */
  static restore(parts: ReadonlyMap<string, Uint8Array>, budget: SeriesBudget): RichTier {
    const tier = new RichTier(budget)
    for (let number = 0; ; number++) {
      const part = parts.get(`rich-${number}`)
      if (part === undefined) break
      const page = richPageFrom(part)
      page.dirty = false
      tier.pages.push(page)
      for (let row = 0; row < page.used; row++) tier.#slotOf.set(page.u32[row * F32_STRIDE + U32.series]! - 1, number * PAGE_SLOTS + row)
      tier.#used += page.used
    }
    if (tier.#slotOf.size !== tier.#used) throw new AppError('checkpoint_invalid', 'two slots of the rich tier belong to one series')
    // Restored slots count against the budget even where it became smaller: what is known stays known.
    budget.slotsLeft -= tier.#used
    tier.#growRows()
    const rows = parts.get(ROWS_PART)
    if (rows !== undefined) {
      const count = (rows.byteLength - HAND_BYTES) / OPEN_ROW_BYTES
      if (count !== tier.#used) throw new AppError('checkpoint_invalid', `open rows of ${count} slots, of which there are ${tier.#used}`)
      new Uint8Array(tier.#rowSums.buffer).set(rows.subarray(0, count * 8))
      new Uint8Array(tier.#rowCounts.buffer).set(rows.subarray(count * 8, count * OPEN_ROW_BYTES))
      tier.#hand = new DataView(rows.buffer, rows.byteOffset).getUint32(count * OPEN_ROW_BYTES, true)
    }
    return tier
  }

  #newSlot(): number {
    const slot = this.#used++
    if ((slot & SLOT_MASK) === 0) this.pages.push(newRichPage())
    this.#growRows()
    this.#areRowsDirty = true
    return slot
  }

  #growRows(): void {
    if (this.#used <= this.#rowSums.length) return
    const size = Math.max(this.#used, 2 * this.#rowSums.length)
    const sums = new Float64Array(size)
    const counts = new Uint32Array(size)
    sums.set(this.#rowSums)
    counts.set(this.#rowCounts)
    this.#rowSums = sums
    this.#rowCounts = counts
  }

  /** Of the next slots without an open anomaly one whose series has stopped, else the youngest that matters less; −1: none. (Clock, as in paging.) */
  #findWeaker(importance: Importance, isIdle: (series: number) => boolean): number {
    let weakest = -1
    for (let step = Math.min(STEAL_STEPS, this.#used); step > 0; step--) {
      const slot = this.#hand
      this.#hand = (this.#hand + 1) % this.#used
      this.#areRowsDirty = true
      if (this.#u32(slot, U32.told) !== 0) continue
      if (isIdle(this.#u32(slot, U32.series) - 1)) return slot
      if (this.importanceOf(slot) >= importance) continue
      // Of those that matter less the one that has learned least: a flood of new series does not cost the old ones what they know.
      if (weakest < 0 || this.#u32(slot, U32.points) < this.#u32(weakest, U32.points)) weakest = slot
    }
    return weakest
  }

  #u32(slot: number, field: number): number {
    return this.page(slot).u32[this.row(slot) * F32_STRIDE + field]!
  }

  #setU32(slot: number, field: number, value: number): void {
    const page = this.page(slot)
    page.u32[this.row(slot) * F32_STRIDE + field] = value
    page.dirty = true
  }
}
