// Canaries played out in virtual time through the real reducer: seeded traffic in windows until there is a verdict or no more traffic.

import { type CanaryEffect, reduceCanary } from '../../detectors/canary/canary.ts'
import { type CanaryBook, emptyBook } from '../../detectors/canary/state.ts'
import { addValue, emptyExponential } from '../../detectors/score/exponential.ts'
import type { Canary } from '../../schemas/canary.ts'
import { type CanaryOrder, controlSchema } from '../../schemas/control.ts'
import type { VersionWindow } from '../../schemas/version-window.ts'
import { seededRandom } from './virtual-clock.ts'

export const T0 = Date.UTC(2026, 0, 5, 12)
export const WINDOW_MS = 1_000

/** An order as a person gives it; version 2.0.0 against 1.0.0 of shop/orders. */
export function anOrder(fields: Partial<CanaryOrder> = {}): CanaryOrder {
  const order = {
    kind: 'canary',
    id: 'c1',
    environment: 'lab',
    service: 'shop/orders',
    order: 'start',
    canary: '2.0.0',
    baseline: '1.0.0',
    atMs: T0,
    by: 'ann'
  }
  return controlSchema.parse({ ...order, ...fields }) as CanaryOrder
}

/** A window with `durations` in seconds; the first `errors` of them failed. */
export function aWindow(fields: Partial<VersionWindow> & { second: number; durations?: readonly number[] }): VersionWindow {
  const { second, durations = [], ...rest } = fields
  const histogram = emptyExponential()
  for (const duration of durations) addValue(histogram, duration)
  const { scale, offset, length, zeroCount, counts } = histogram
  return {
    environment: 'lab',
    service: 'shop/orders',
    entity: `shop/orders@${rest.version ?? '2.0.0'}`,
    version: '2.0.0',
    shard: 0,
    startMs: T0 + second * 1_000,
    windowMs: WINDOW_MS,
    requests: durations.length,
    errors: 0,
    duration: { scale, offset, zeroCount, counts: [...counts.subarray(0, length)] },
    ...rest
  }
}

export interface Traffic {
  /** Requests of each arm in a window. */
  requestsPerWindow: number
  windows: number
  errorRatio: { canary: number; baseline: number }
  /** The canary takes so many times as long. */
  slower?: number
}

const MEDIAN_S = 0.05
const SPREAD = 0.5 // Of the logarithm: a 95th percentile of 2.3 times the median.

/** Plays one canary. @returns its last record and everything that came out */
export function playCanary(seed: number, traffic: Traffic, order: Partial<CanaryOrder> = {}): { record: Canary; effects: CanaryEffect[]; book: CanaryBook } {
  const { requestsPerWindow, windows, errorRatio, slower = 1 } = traffic
  const random = seededRandom(seed)
  const book = emptyBook()
  const effects = reduceCanary(book, { kind: 'order', record: anOrder(order) }, T0)
  const entry = book.canaries.get(order.id ?? 'c1')!
  for (let second = 0; second < windows && entry.record.state === 'running'; second++) {
    for (const [version, errors, factor] of [
      ['2.0.0', errorRatio.canary, slower],
      ['1.0.0', errorRatio.baseline, 1]
    ] as const) {
      const durations = Array.from({ length: requestsPerWindow }, () => factor * MEDIAN_S * Math.exp(SPREAD * normal(random.next)))
      const failed = durations.filter(() => random.next() < errors).length
      const record = aWindow({ second, version, durations, errors: failed })
      effects.push(...reduceCanary(book, { kind: 'window', record }, T0 + (second + 2) * WINDOW_MS))
    }
  }
  return { record: entry.record, effects, book }
}

/** Source: Box and Muller, "A note on the generation of random normal deviates" (1958). */
function normal(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
}
