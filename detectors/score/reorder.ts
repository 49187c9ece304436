// Points that came before others of their series that may still be on their way: held until those are there or too late.
//
// Flow: scorer (a point leaves a gap behind itself) -> hold -> scorer (the gap is filled, or the watermark has passed) -> judged in the
// order of event time. Retried exports overtake each other; verdicts must not depend on who won. Only series that report
// more often than the lateness can be overtaken within it, so only they are ever held, and only where a point is missing: a stream in
// order is judged at once. The first two points of a series are held too, since no interval says yet whether there is a gap.
// Windows (delta sums, histograms) and rows of models have two of their kind open instead. Part `held` of the checkpoint.

import { AppError } from '../../schemas/errors.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, type SeriesPage, U32 } from './record.ts'

/** A point this many intervals after the one before leaves a gap. */
const GAP_INTERVALS = 1.5
/** Points held per series and of all; beyond them points are judged as if nothing could come before them. */
const HELD_PER_SERIES_MAX = 64
const HELD_MAX = 10_000
const YOUNG_SAMPLES = 2

/** What judging needs of a point. */
export interface HeldPoint {
  timeMs: number
  startMs: number
  value: number
}

/** Whether points of the series may be missing before `timeMs`, and may still come. */
export function isEarly({ f64, f32, u32 }: SeriesPage, row: number, timeMs: number, maxEventMs: number, latenessMs: number): boolean {
  if (timeMs <= maxEventMs - latenessMs) return false
  const base32 = row * F32_STRIDE
  if (u32[base32 + U32.samples]! < YOUNG_SAMPLES) return timeMs > f64[row * F64_STRIDE + F64.lastTimeMs]!
  const intervalMs = f32[base32 + F32.intervalMs]!
  return intervalMs < latenessMs && timeMs - f64[row * F64_STRIDE + F64.lastTimeMs]! > GAP_INTERVALS * intervalMs
}

export class Reorder {
  readonly #held = new Map<number, HeldPoint[]>()
  #count = 0

  get count(): number {
    return this.#count
  }

  /** Series with held points. */
  get series(): IterableIterator<number> {
    return this.#held.keys()
  }

  has(series: number): boolean {
    return this.#held.has(series)
  }

  /** Holds a copy of the point, in the order of time; one of the same time is a duplicate. @returns false for a duplicate */
  hold(series: number, { timeMs, startMs, value }: HeldPoint): boolean {
    const points = this.#held.get(series) ?? []
    let at = points.length
    while (at > 0 && points[at - 1]!.timeMs > timeMs) at--
    if (points[at - 1]?.timeMs === timeMs) return false
    points.splice(at, 0, { timeMs, startMs, value })
    this.#count++
    this.#held.set(series, points)
    return true
  }

  /** Earliest held point of the series. */
  first(series: number): HeldPoint | undefined {
    return this.#held.get(series)?.[0]
  }

  hasRoom(series: number): boolean {
    return this.#count < HELD_MAX && (this.#held.get(series)?.length ?? 0) < HELD_PER_SERIES_MAX
  }

  /** Forgets the earliest point of the series. */
  shift(series: number): void {
    const points = this.#held.get(series)!
    points.shift()
    this.#count--
    if (points.length === 0) this.#held.delete(series)
  }

  toBytes(): Uint8Array {
    return new TextEncoder().encode(
      JSON.stringify([...this.#held].map(([series, points]) => [series, points.map(point => [point.timeMs, point.startMs, point.value])]))
    )
  }

  /** @throws AppError `checkpoint_invalid` */
  static restore(bytes: Uint8Array | undefined): Reorder {
    const reorder = new Reorder()
    if (bytes === undefined) return reorder
    try {
      for (const [series, points] of JSON.parse(new TextDecoder().decode(bytes)) as [number, [number, number, number][]][]) {
        for (const [timeMs, startMs, value] of points) reorder.hold(series, { timeMs, startMs, value })
      }
    } catch (cause) {
      throw new AppError('checkpoint_invalid', 'the held points of a checkpoint cannot be read', { cause })
    }
    return reorder
  }
}
