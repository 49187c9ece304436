// What a cut request consists of: one slice a partition, kept as a view of the request where its parts touch.

import type { Fallback } from './resource-identity.ts'

export type Signal = 'metrics' | 'spans' | 'logs'

export interface SplitOptions {
  /** Identity of a resource that names neither service nor host. */
  fallback: Fallback
  partitionOf(key: string): number
}

export interface Slice {
  /** Key of the first part: an entity, or a trace id as 32 hex digits. */
  key: string
  partition: number
  value: Uint8Array
}

export interface Split {
  slices: Slice[]
  /** Data points, spans or log records in `slices`. */
  items: number
  /** Items left out, and why ('' when none): told to the sender as partial success. */
  rejected: number
  reason: string
}

interface Entry {
  key: string
  parts: Uint8Array[]
  /** Range of the request that is not a part yet, because the next one may touch it. */
  start: number
  end: number
}

/** Collects the parts of each partition. */
export class Gather {
  readonly #bytes: Uint8Array
  readonly #partitions = new Map<number, Entry>()

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Adds [start, end) of the request. */
  range(key: string, partition: number, start: number, end: number): void {
    const entry = this.#entry(key, partition)
    if (entry.end === start && entry.end > entry.start) {
      entry.end = end
      return
    }
    this.#flush(entry)
    entry.start = start
    entry.end = end
  }

  /** Adds bytes that are not part of the request. */
  part(key: string, partition: number, part: Uint8Array): void {
    const entry = this.#entry(key, partition)
    this.#flush(entry)
    entry.parts.push(part)
  }

  /** One slice a partition, parts in the order they came. */
  slices(): Slice[] {
    const slices: Slice[] = []
    for (const [partition, entry] of this.#partitions) {
      this.#flush(entry)
      slices.push({ key: entry.key, partition, value: entry.parts.length === 1 ? entry.parts[0]! : Buffer.concat(entry.parts) })
    }
    return slices
  }

  #entry(key: string, partition: number): Entry {
    let entry = this.#partitions.get(partition)
    if (entry === undefined) {
      entry = { key, parts: [], start: 0, end: 0 }
      this.#partitions.set(partition, entry)
    }
    return entry
  }

  #flush(entry: Entry): void {
    if (entry.end > entry.start) entry.parts.push(this.#bytes.subarray(entry.start, entry.end))
    entry.start = entry.end = 0
  }
}
