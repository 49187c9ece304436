// Interned texts: each distinct attribute key or value once, as UTF-8 in append-only pages outside the JS heap.
//
// Flow: series-table -> string-table, only when a series is first seen (intern) and when an anomaly is told (text).
// Format of a page: entries of u16 byte length and that many bytes; an entry never spans pages. Pages are the
// checkpoint; offsets and the hash index are rebuilt from them. Ids are dense, in the order of first sight.

import { AppError } from '../../schemas/errors.ts'

const PAGE_BYTES = 65_536
/** Longer texts are cut: an attribute value of a kilobyte tells people nothing that its head does not. */
const TEXT_BYTES_MAX = 1_024
const INDEX_INITIAL = 1_024
/** Index slots per text, at least: linear probing degrades above 2/3. */
const LOAD_INVERSE = 1.5
/** Of one text beside its bytes: length, address and index slots just after either has doubled. */
const ENTRY_BYTES_MAX = 2 + 2 * 4 + 2 * LOAD_INVERSE * 4

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const scratch = new Uint8Array(TEXT_BYTES_MAX * 4)

interface TextPage {
  bytes: Uint8Array
  used: number
  dirty: boolean
}

export class StringTable {
  #pages: TextPage[] = []
  /** Address of each text: page * PAGE_BYTES + offset. Uint32: 4 GiB of text, far beyond what the budget allows. */
  #addresses = new Uint32Array(INDEX_INITIAL / 2)
  /** Open addressing: id + 1, 0 = free. */
  #index = new Uint32Array(INDEX_INITIAL)
  #count = 0
  #textBytes = 0

  /** @throws AppError `checkpoint_invalid` */
  static restore(saved: readonly Uint8Array[]): StringTable {
    const table = new StringTable()
    let count = 0
    for (const part of saved) {
      if (part.byteLength > PAGE_BYTES) throw new AppError('checkpoint_invalid', `a text page has ${part.byteLength} bytes`)
      const bytes = new Uint8Array(PAGE_BYTES)
      bytes.set(part)
      table.#pages.push({ bytes, used: part.byteLength, dirty: false })
      count += countTexts(bytes, part.byteLength)
    }
    // Sized once: growing step by step would hash every text several times (measured: half of the restore).
    table.#addresses = new Uint32Array(Math.max(INDEX_INITIAL / 2, 2 ** Math.ceil(Math.log2(count + 1))))
    table.#index = new Uint32Array(Math.max(INDEX_INITIAL, 2 ** Math.ceil(Math.log2((count + 1) * LOAD_INVERSE))))
    for (const [number, { bytes, used }] of table.#pages.entries()) {
      for (let at = 0; at < used; ) {
        const length = bytes[at]! | (bytes[at + 1]! << 8)
        table.#addresses[table.#count] = number * PAGE_BYTES + at
        place(table.#index, hashOf(bytes, at + 2, length), table.#count++)
        table.#textBytes += length
        at += 2 + length
      }
    }
    return table
  }

  get count(): number {
    return this.#count
  }

  /** Of the buffers, what the texts take: their bytes, and their places in addresses and index as these double. */
  get usedBytes(): number {
    return this.#textBytes + this.#count * ENTRY_BYTES_MAX
  }

  /** Buffers held, bytes. */
  get bytes(): number {
    return this.#pages.length * PAGE_BYTES + this.#addresses.byteLength + this.#index.byteLength
  }

  /** Id of `text`, made on first sight. O(length). */
  intern(text: string): number {
    const length = encoder.encodeInto(text.length > TEXT_BYTES_MAX ? text.slice(0, TEXT_BYTES_MAX) : text, scratch.subarray(0, TEXT_BYTES_MAX)).written
    const hash = hashOf(scratch, 0, length)
    const mask = this.#index.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#index[slot]!
      if (entry === 0) break
      if (this.#equals(entry - 1, length)) return entry - 1
    }
    let page = this.#pages.at(-1)
    if (page === undefined || page.used + 2 + length > PAGE_BYTES) {
      page = { bytes: new Uint8Array(PAGE_BYTES), used: 0, dirty: true }
      this.#pages.push(page)
    }
    page.bytes[page.used] = length & 0xff
    page.bytes[page.used + 1] = length >> 8
    page.bytes.set(scratch.subarray(0, length), page.used + 2)
    const address = (this.#pages.length - 1) * PAGE_BYTES + page.used
    page.used += 2 + length
    page.dirty = true
    this.#textBytes += length
    return this.#append(address, hash)
  }

  text(id: number): string {
    const address = this.#addresses[id]!
    const { bytes } = this.#pages[Math.floor(address / PAGE_BYTES)]!
    const at = address % PAGE_BYTES
    return decoder.decode(bytes.subarray(at + 2, at + 2 + (bytes[at]! | (bytes[at + 1]! << 8))))
  }

  /** Pages changed since the last call, by number, copied. */
  takeDirty(): [number, Uint8Array][] {
    const taken: [number, Uint8Array][] = []
    for (const [number, page] of this.#pages.entries()) {
      if (!page.dirty) continue
      page.dirty = false
      taken.push([number, page.bytes.slice(0, page.used)])
    }
    return taken
  }

  #append(address: number, hash: number): number {
    const id = this.#count++
    if (id === this.#addresses.length) {
      const grown = new Uint32Array(this.#addresses.length * 2)
      grown.set(this.#addresses)
      this.#addresses = grown
    }
    this.#addresses[id] = address
    if (this.#count * LOAD_INVERSE > this.#index.length) this.#reindex(this.#index.length * 2)
    else place(this.#index, hash, id)
    return id
  }

  #reindex(size: number): void {
    this.#index = new Uint32Array(size)
    for (let id = 0; id < this.#count; id++) {
      const address = this.#addresses[id]!
      const { bytes } = this.#pages[Math.floor(address / PAGE_BYTES)]!
      const at = address % PAGE_BYTES
      place(this.#index, hashOf(bytes, at + 2, bytes[at]! | (bytes[at + 1]! << 8)), id)
    }
  }

  /** Is text `id` what stands in `scratch`? */
  #equals(id: number, length: number): boolean {
    const address = this.#addresses[id]!
    const { bytes } = this.#pages[Math.floor(address / PAGE_BYTES)]!
    const at = address % PAGE_BYTES
    if ((bytes[at]! | (bytes[at + 1]! << 8)) !== length) return false
    for (let i = 0; i < length; i++) if (bytes[at + 2 + i] !== scratch[i]) return false
    return true
  }
}

function countTexts(bytes: Uint8Array, used: number): number {
  let count = 0
  let at = 0
  for (; at < used; count++) at += 2 + (bytes[at]! | (bytes[at + 1]! << 8))
  if (at !== used) throw new AppError('checkpoint_invalid', 'a text overruns its page')
  return count
}

function place(index: Uint32Array, hash: number, id: number): void {
  const mask = index.length - 1
  let slot = hash & mask
  while (index[slot] !== 0) slot = (slot + 1) & mask
  index[slot] = id + 1
}

/** FNV-1a, 32 bits, finished so that the low bits are usable. Texts are few and bounded, so an unkeyed hash costs at most time. */
function hashOf(bytes: Uint8Array, start: number, length: number): number {
  let hash = 0x811c9dc5
  for (let at = start; at < start + length; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}
