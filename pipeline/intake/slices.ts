// The parts of a request on their way into records: one slice a partition, kept as views of the request where possible.
//
// Shared by the two ways to cut (by resource for metrics and logs, by trace for spans).

import { type Fallback, fallbackAttribute } from './resource-identity.ts'
import { enter, lengthField, nextField, type Scan, scanOf, totalLength, writeParts } from './wire.ts'

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

export const RESOURCES = 1 // Field of the Export*ServiceRequest.
export const RESOURCE = 1 // Fields of ResourceMetrics, ResourceSpans, ResourceLogs …
export const SCOPES = 2
export const ITEMS = 2 // … and of ScopeMetrics, ScopeSpans, ScopeLogs.

/** Collects the parts of each partition; ranges that touch in the request stay one view of it. */
export class Gather {
  readonly #bytes: Uint8Array
  readonly #partitions = new Map<number, { key: string; parts: Uint8Array[]; start: number; stop: number }>()

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Adds [start, stop) of the request. */
  range(key: string, partition: number, start: number, stop: number): void {
    const entry = this.#entry(key, partition)
    if (entry.stop === start && entry.stop > entry.start) {
      entry.stop = stop
      return
    }
    this.#flush(entry)
    entry.start = start
    entry.stop = stop
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
      slices.push({ key: entry.key, partition, value: concatenate(entry.parts) })
    }
    return slices
  }

  #entry(key: string, partition: number): { key: string; parts: Uint8Array[]; start: number; stop: number } {
    let entry = this.#partitions.get(partition)
    if (entry === undefined) {
      entry = { key, parts: [], start: 0, stop: 0 }
      this.#partitions.set(partition, entry)
    }
    return entry
  }

  #flush(entry: { parts: Uint8Array[]; start: number; stop: number }): void {
    if (entry.stop > entry.start) entry.parts.push(this.#bytes.subarray(entry.start, entry.stop))
    entry.start = entry.stop = 0
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!
  const result = new Uint8Array(totalLength(parts))
  writeParts(result, 0, parts)
  return result
}

/** The payload of a resource's container with its `resource` replaced by one that names `entity`; all else as it came. */
export function nameResource(container: Scan, resource: Uint8Array, entity: string): Uint8Array {
  const parts = [lengthField(RESOURCE, fallbackAttribute(entity), resource)]
  const fields = scanOf(container.bytes)
  enter(fields, container)
  while (nextField(fields)) if (fields.field !== RESOURCE) parts.push(container.bytes.subarray(fields.tagAt, fields.stop))
  const result = new Uint8Array(totalLength(parts))
  writeParts(result, 0, parts)
  return result
}

/** Two occurrences of a message field mean their payloads end to end. */
export function mergeResources(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second
  const merged = new Uint8Array(first.length + second.length)
  writeParts(merged, 0, [first, second])
  return merged
}
