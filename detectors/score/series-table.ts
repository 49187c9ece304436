// The series table: 64-bit key -> series number in first-seen order, one 128-byte record a series, and who the series is.
//
// Flow: reader -> scorer -> series-table, one look-up per data point, nothing allocated unless the series is new.
// Records lie in pages (record.ts), which are their own checkpoint; the index is rebuilt from the keys in the records.
// Identity texts live in buffers too (string-table.ts, attribute lists below), so a million series do not load the JS heap.
// Index: one slot of two u32 (series + 1, high lane); the low lane is checked in the record, whose cache line the detector
// needs anyway. First-seen numbering lets a repeating sender walk the pages in order (measured 4-5x faster than shuffled).
// Bounded by `SeriesBudget`, which all tables of a process share: a series beyond it is refused and counted, never evicted. A table
// takes a place of the budget per series, or as many as its bytes are worth where texts are so long and so many that this is more.

import { AppError } from '../../schemas/errors.ts'
import { BASE_SERIES_BYTES, type SeriesBudget } from './budget.ts'
import type { Descriptor, DescriptorTable } from './descriptor.ts'
import { F64, F64_STRIDE, F32_STRIDE, newPage, PAGE_RECORDS, PAGE_SHIFT, pageBytes, pageFrom, RECORD_BYTES, type SeriesPage, U32 } from './record.ts'
import { StringTable } from './string-table.ts'

const ROW_MASK = PAGE_RECORDS - 1
const INDEX_INITIAL = 4_096
/** Beyond this load linear probing gets long: the index doubles. */
const INDEX_LOAD_MAX = 0.7
/** Of one series in the index, just after it has doubled. */
const INDEX_BYTES_MAX = (2 * 8) / INDEX_LOAD_MAX
const LIST_PAGE_ENTRIES = 65_536
/** Attributes kept per series for people to read; the key covers all of them. 128 is the SDKs' own limit for spans, metrics carry few. */
const ATTRIBUTES_MAX = 32

interface ListPage {
  entries: Uint32Array
  used: number
  dirty: boolean
}

export class SeriesTable {
  readonly pages: SeriesPage[] = []
  readonly descriptors: DescriptorTable
  readonly #budget: SeriesBudget
  #strings: StringTable
  #lists: ListPage[] = []
  #index = new Uint32Array(INDEX_INITIAL * 2)
  #mask = INDEX_INITIAL - 1
  #count = 0
  /** Places of the budget that were taken: for this table, and of them for what stands beside it. */
  #places = 0
  #placesBeside = 0

  constructor(budget: SeriesBudget, descriptors: DescriptorTable) {
    this.#budget = budget
    this.descriptors = descriptors
    this.#strings = new StringTable()
  }

  get count(): number {
    return this.#count
  }

  /** Places of the budget that were taken, to be given back when the table is let go. */
  get places(): number {
    return this.#places
  }

  /** Buffers held outside the JS heap, bytes. */
  get bytes(): number {
    const pages = this.pages.reduce((sum, page) => sum + page.buffer.byteLength, 0)
    return pages + this.#lists.length * LIST_PAGE_ENTRIES * 4 + this.#index.byteLength + this.#strings.bytes
  }

  /** Series number of the key, or -1. Keys are keyed hashes already, so the low lane serves as the hash. */
  find(keyLow: number, keyHigh: number): number {
    const index = this.#index
    const mask = this.#mask
    const low = keyLow >>> 0
    const high = keyHigh >>> 0
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const entry = index[slot * 2]!
      if (entry === 0) return -1
      if (index[slot * 2 + 1] !== high) continue
      const series = entry - 1
      if (this.pages[series >>> PAGE_SHIFT]!.u32[(series & ROW_MASK) * F32_STRIDE + U32.keyLow] === low) return series
    }
  }

  /**
   * Admits a series that `find` did not know. The record is zero but for key and identity.
   * @param attributes as text; at most ATTRIBUTES_MAX are kept for people
   * @returns its number, or -1 when the budget is used up (counted in `budget.refused`)
   */
  add(keyLow: number, keyHigh: number, entity: number, descriptor: number, attributes: Readonly<Record<string, string>>): number {
    if (this.isRefused()) return -1
    const series = this.#count++
    const row = series & ROW_MASK
    if (row === 0) this.pages.push(newPage())
    const page = this.pages[series >>> PAGE_SHIFT]!
    page.used = row + 1
    page.dirty = true
    const base = row * F32_STRIDE
    page.u32[base + U32.keyLow] = keyLow
    page.u32[base + U32.keyHigh] = keyHigh
    page.u32[base + U32.entity] = entity
    page.u32[base + U32.descriptor] = descriptor
    page.u32[base + U32.attributes] = this.#addList(attributes)
    page.f64[row * F64_STRIDE + F64.lastTimeMs] = Number.NEGATIVE_INFINITY
    if (this.#count > (this.#mask + 1) * INDEX_LOAD_MAX) this.#reindex((this.#mask + 1) * 2)
    else this.#place(keyLow >>> 0, keyHigh >>> 0, series)
    this.#takePlaces()
    return series
  }

  /** Takes places of the budget for something that stands beside a record, even where none are left: see `isRefused`. */
  takeBeside(places: number): void {
    this.#placesBeside += places
    this.#takePlaces()
  }

  /** Whether the budget is used up: then one more series is counted as refused. */
  isRefused(): boolean {
    if (this.#budget.left > 0) return false
    this.#budget.refused++
    return true
  }

  page(series: number): SeriesPage {
    return this.pages[series >>> PAGE_SHIFT]!
  }

  row(series: number): number {
    return series & ROW_MASK
  }

  entityOf(series: number): number {
    return this.page(series).u32[(series & ROW_MASK) * F32_STRIDE + U32.entity]!
  }

  descriptorOf(series: number): Descriptor {
    return this.descriptors.get(this.page(series).u32[(series & ROW_MASK) * F32_STRIDE + U32.descriptor]!)
  }

  /** Attributes of a series, rebuilt as text. */
  attributesOf(series: number): Record<string, string> {
    const address = this.page(series).u32[(series & ROW_MASK) * F32_STRIDE + U32.attributes]!
    const { entries } = this.#lists[Math.floor(address / LIST_PAGE_ENTRIES)]!
    const at = address % LIST_PAGE_ENTRIES
    // fromEntries makes own properties of any name: an attribute may be called __proto__.
    const pair = (_: unknown, i: number): [string, string] => [this.#strings.text(entries[at + 1 + 2 * i]!), this.#strings.text(entries[at + 2 + 2 * i]!)]
    return Object.fromEntries(Array.from({ length: entries[at]! }, pair))
  }

  /** Parts changed since the last call: `page-N` records, `list-N` attribute lists, `text-N` strings, `descriptors`. */
  takeDirty(parts: Map<string, Uint8Array>): void {
    for (const [number, page] of this.pages.entries()) {
      if (!page.dirty) continue
      page.dirty = false
      parts.set(`page-${number}`, pageBytes(page))
    }
    for (const [number, list] of this.#lists.entries()) {
      if (!list.dirty) continue
      list.dirty = false
      parts.set(`list-${number}`, new Uint8Array(list.entries.buffer.slice(0, list.used * 4)))
    }
    for (const [number, bytes] of this.#strings.takeDirty()) parts.set(`text-${number}`, bytes)
    const descriptors = this.descriptors.takeDirty()
    if (descriptors) parts.set('descriptors', descriptors)
  }

  /**
   * The table from its parts, index rebuilt.
   * @throws AppError `checkpoint_invalid`
   */
  static restore(parts: ReadonlyMap<string, Uint8Array>, budget: SeriesBudget, descriptors: DescriptorTable): SeriesTable {
    const table = new SeriesTable(budget, descriptors)
    const descriptorBytes = parts.get('descriptors')
    if (descriptorBytes) descriptors.restore(descriptorBytes)
    table.#strings = StringTable.restore(numbered(parts, 'text-'))
    for (const bytes of numbered(parts, 'list-')) {
      const entries = new Uint32Array(LIST_PAGE_ENTRIES)
      new Uint8Array(entries.buffer).set(bytes)
      table.#lists.push({ entries, used: bytes.byteLength / 4, dirty: false })
    }
    for (const bytes of numbered(parts, 'page-')) {
      const page = pageFrom(bytes)
      page.dirty = false
      table.pages.push(page)
      table.#count += page.used
    }
    if (table.pages.slice(0, -1).some(page => page.used < PAGE_RECORDS)) throw new AppError('checkpoint_invalid', 'a series page before the last is not full')
    // Restored series count against the budget even where it became smaller: what is known stays known.
    table.#takePlaces()
    let size = INDEX_INITIAL
    while (table.#count > size * INDEX_LOAD_MAX) size *= 2
    table.#reindex(size)
    return table
  }

  #takePlaces(): void {
    const lists = Math.max(0, this.#lists.length - 1) * LIST_PAGE_ENTRIES + (this.#lists.at(-1)?.used ?? 0)
    const bytes = this.#count * (RECORD_BYTES + INDEX_BYTES_MAX) + lists * 4 + this.#strings.usedBytes
    const places = this.#placesBeside + Math.max(this.#count, Math.ceil(bytes / BASE_SERIES_BYTES))
    this.#budget.left -= places - this.#places
    this.#places = places
  }

  #addList(attributes: Readonly<Record<string, string>>): number {
    const keys = Object.keys(attributes).sort()
    if (keys.length > ATTRIBUTES_MAX) keys.length = ATTRIBUTES_MAX
    const needed = 1 + 2 * keys.length
    let list = this.#lists.at(-1)
    if (list === undefined || list.used + needed > LIST_PAGE_ENTRIES) {
      list = { entries: new Uint32Array(LIST_PAGE_ENTRIES), used: 0, dirty: true }
      this.#lists.push(list)
    }
    const address = (this.#lists.length - 1) * LIST_PAGE_ENTRIES + list.used
    list.dirty = true
    list.entries[list.used++] = keys.length
    for (const key of keys) {
      list.entries[list.used++] = this.#strings.intern(key)
      list.entries[list.used++] = this.#strings.intern(attributes[key]!)
    }
    return address
  }

  #place(low: number, high: number, series: number): void {
    const index = this.#index
    const mask = this.#mask
    let slot = low & mask
    while (index[slot * 2] !== 0) slot = (slot + 1) & mask
    index[slot * 2] = series + 1
    index[slot * 2 + 1] = high
  }

  #reindex(size: number): void {
    const index = new Uint32Array(size * 2)
    const mask = size - 1
    let series = 0
    for (const { u32, used } of this.pages) {
      for (let base = 0; base < used * F32_STRIDE; base += F32_STRIDE) {
        let slot = u32[base + U32.keyLow]! & mask
        while (index[slot * 2] !== 0) slot = (slot + 1) & mask
        index[slot * 2] = ++series
        index[slot * 2 + 1] = u32[base + U32.keyHigh]!
      }
    }
    this.#index = index
    this.#mask = mask
  }
}

/** Parts `<prefix>0`, `<prefix>1`, … in order. */
function numbered(parts: ReadonlyMap<string, Uint8Array>, prefix: string): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let number = 0; ; number++) {
    const part = parts.get(prefix + number)
    if (part === undefined) return found
    found.push(part)
  }
}
