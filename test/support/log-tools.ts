// Small builders and helpers for tests of the log port.

import { setTimeout as delay } from 'node:timers/promises'
import type { Logger, LogRecord, LogRecordInput, Meter } from '../../schemas/ports.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const bytes = (text: string): Uint8Array => encoder.encode(text)
export const textOf = (record: Pick<LogRecord, 'value'>): string | null => (record.value === null ? null : decoder.decode(record.value))
export const aRecord = (text: string, more: Partial<LogRecordInput> = {}): LogRecordInput => ({ key: 'k', value: bytes(text), ...more })
/** A value that no other has, of the given size. */
export const aValue = (sizeBytes: number, fill: number): Uint8Array => new Uint8Array(sizeBytes).fill(fill & 0xff)

export const quietLogger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quietLogger }

/** A meter that remembers the sums of its counters, by name. */
export function countingMeter(): Meter & { readonly counts: Map<string, number> } {
  const counts = new Map<string, number>()
  return { counts, count: (name, value = 1) => void counts.set(name, (counts.get(name) ?? 0) + value), gauge() {} }
}

const HANG_MS = 60_000 // No promise of anything's speed: it ends a wait for what never comes.

/** Waits until `condition` holds. @throws Error that says `what` after `timeoutMs` */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = HANG_MS): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await delay(5)
  }
}

/** A promise and its resolver. */
export function gate(): { opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}
