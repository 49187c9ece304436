// Windows of derived counts: what spans and logs of one entity add up to per window, until the window is complete.
//
// Flow: spans.ts / logs.ts (count) -> window (per entity, per label, few open windows in a ring) -> derived points -> worker.
// One shard = one partition of the spans or logs topic. A window is told once by each shard, when the entity's event time
// has passed its end by the lateness, or when the log's clock has moved on by as much (a silent entity). The shard's number
// goes into the microseconds of the point's start: shards' points of one series and time are added up by the scorer,
// while a point told again after a crash has the same number and is dropped (score/windows.ts).

import type { DerivedPoint } from '../../schemas/otlp.ts'
import { clearExponential, emptyExponential, type Exponential } from '../score/exponential.ts'
import { exponentialOf, exponentialRow } from '../score/histogram-part.ts'

export interface WindowSettings {
  windowMs: number
  latenessMs: number
  /** Number of the partition that this shard reads. */
  shard: number
}

/** Counts of one label in one window. */
export interface Slot {
  /** Epoch ms; NaN = unused. */
  startMs: number
  count: number
  errors: number
  sum: number
  min: number
  max: number
  duration: Exponential | null
}

export interface Counter {
  attributes: Readonly<Record<string, string>>
  slots: Slot[]
}

/** One entity's part of a shard. */
export interface Source {
  entity: string
  service: string
  environment: string
  /** Newest event time, capped by the log's clock: one wrong clock must not close everybody's windows. */
  maxEventMs: number
  /** Log's clock when it was last heard. */
  lastHeardMs: number
  /** Windows that end at or before this were told; what comes later for them is late. */
  closedThroughMs: number
}

/**
 * Windows close at these steps of the log's clock, always between two records: then a replay closes them between the same
 * two, however many ticks of the wall clock came in between the first time.
 */
export const CLOCK_STEP_MS = 100

/** The step that `nowMs` is in. */
export const clockStep = (nowMs: number): number => Math.floor(nowMs / CLOCK_STEP_MS) * CLOCK_STEP_MS

/** A sender's clock may be this far ahead of the log's. */
const AHEAD_MAX_MS = 60_000

export function newSource(entity: string, service: string, environment: string): Source {
  return { entity, service, environment, maxEventMs: 0, lastHeardMs: 0, closedThroughMs: 0 }
}

/** Notes that a span or log with event time `timeMs` was taken by the log at `arrivalMs`. */
export function heard(source: Source, timeMs: number, arrivalMs: number): void {
  if (timeMs > source.maxEventMs) source.maxEventMs = Math.min(timeMs, arrivalMs + AHEAD_MAX_MS)
  source.lastHeardMs = Math.max(source.lastHeardMs, arrivalMs)
}

/** Slots a counter needs: open windows at any moment, and one for senders that are ahead. */
export function slotsNeeded({ windowMs, latenessMs }: WindowSettings): number {
  return Math.ceil(latenessMs / windowMs) + 2
}

export function newCounter(attributes: Readonly<Record<string, string>>, slots: number, withDuration: boolean): Counter {
  return { attributes, slots: Array.from({ length: slots }, () => newSlot(withDuration)) }
}

function newSlot(withDuration: boolean): Slot {
  return { startMs: Number.NaN, count: 0, errors: 0, sum: 0, min: Number.POSITIVE_INFINITY, max: 0, duration: withDuration ? emptyExponential() : null }
}

/**
 * The slot that counts `timeMs`, or undefined when its window was told already or lies too far ahead.
 * Windows are [start, start + windowMs); a time on the boundary begins the later one.
 */
export function slotAt(counter: Counter, source: Source, timeMs: number, settings: WindowSettings): Slot | undefined {
  const startMs = Math.floor(timeMs / settings.windowMs) * settings.windowMs
  if (startMs + settings.windowMs <= source.closedThroughMs) return undefined
  const slot = counter.slots[(startMs / settings.windowMs) % counter.slots.length]!
  if (slot.startMs === startMs) return slot
  if (!Number.isNaN(slot.startMs)) return undefined
  slot.startMs = startMs
  return slot
}

/** Up to which end windows of the source are complete at `nowMs` of the log's clock. */
export function completeThroughMs(source: Source, nowMs: number, { windowMs, latenessMs }: WindowSettings): number {
  const watermarkMs = source.maxEventMs + Math.max(0, nowMs - source.lastHeardMs) - latenessMs
  return Math.floor(watermarkMs / windowMs) * windowMs
}

/** Hands every slot that ends at or before `throughMs` to `tell`, oldest first, and clears it. */
export function closeSlots(counter: Counter, throughMs: number, windowMs: number, tell: (slot: Slot) => void): void {
  for (;;) {
    let oldest: Slot | undefined
    for (const slot of counter.slots) {
      if (slot.startMs + windowMs <= throughMs && (oldest === undefined || slot.startMs < oldest.startMs)) oldest = slot
    }
    if (oldest === undefined) return
    if (oldest.count > 0) tell(oldest)
    clearSlot(oldest)
  }
}

function clearSlot(slot: Slot): void {
  slot.startMs = Number.NaN
  slot.count = 0
  slot.errors = 0
  slot.sum = 0
  slot.min = Number.POSITIVE_INFINITY
  slot.max = 0
  if (slot.duration) clearExponential(slot.duration)
}

/** The common fields of a derived point of a slot. */
export function pointBase(
  entity: DerivedPoint['entity'],
  source: Source,
  slot: Slot,
  settings: WindowSettings
): Pick<DerivedPoint, 'entity' | 'timeMs' | 'startMs' | 'dueMs'> {
  const timeMs = slot.startMs + settings.windowMs
  return { entity, timeMs, startMs: slot.startMs + settings.shard / 1_000, dueMs: dueMs(source, timeMs, settings) }
}

/** At which step of the log's clock a window that ends at `endMs` is complete; the same however late it is told. */
function dueMs(source: Source, endMs: number, { latenessMs }: WindowSettings): number {
  const completeMs = source.lastHeardMs + endMs + latenessMs - source.maxEventMs
  // What the last record itself completed is told at the next step after it.
  return Math.max(clockStep(source.lastHeardMs) + CLOCK_STEP_MS, Math.ceil(completeMs / CLOCK_STEP_MS) * CLOCK_STEP_MS)
}

/** A counter as JSON for the checkpoint: only slots with data. */
export function counterRow(counter: Counter): unknown {
  const slots = counter.slots.filter(slot => slot.count > 0).map(slot => ({ ...slot, duration: slot.duration && exponentialRow(slot.duration) }))
  return { attributes: counter.attributes, slots }
}

export function counterOf(row: unknown, slots: number, withDuration: boolean, windowMs: number): Counter {
  const saved = row as { attributes: Record<string, string>; slots: (Omit<Slot, 'duration'> & { duration: ReturnType<typeof exponentialRow> | null })[] }
  const counter = newCounter(saved.attributes, slots, withDuration)
  for (const slot of saved.slots) {
    counter.slots[(slot.startMs / windowMs) % slots] = { ...slot, duration: slot.duration && exponentialOf(slot.duration) }
  }
  return counter
}
