// What the canary analysis remembers: each canary with its counts, what of it was seen, and the alarm that it raised.
//
// Owned by one reducer, which changes it in place; saved whole with its input positions (JSON of `snapshot`).

import type { Canary } from '../../schemas/canary.ts'
import type { CanaryOrder } from '../../schemas/control.ts'
import type { VersionWindow } from '../../schemas/version-window.ts'
import { addBuckets, emptyExponential } from '../score/exponential.ts'
import { exponentialOf, exponentialRow } from '../score/histogram-part.ts'
import type { Arm, Tolerance } from './analysis.ts'

export type ArmName = 'canary' | 'baseline'
export type Arms = Record<ArmName, Arm>

/** What a canary makes diagnosis know of. */
export interface Alarm {
  kind: 'failed' | 'undecided'
  sinceMs: number
  isOpen: boolean
}

export interface TrackedCanary {
  record: Canary
  tolerance: Tolerance
  decideWithinMs: number
  /** By then it is decided, or people are asked. */
  deadlineMs: number
  /** Counts that looks see. */
  arms: Arms
  /** Counts of windows that another arm or partition may still tell of, by start. */
  open: Map<number, Arms>
  /** Newest end of a window of each arm. */
  newestMs: Record<ArmName, number>
  /** Length of the windows; 0 while none was seen. */
  windowMs: number
  /** `shard|entity|version` → start of its last window: what comes again is known. */
  seen: Map<string, number>
  /** The last look, −1 before the first. */
  look: number
  alarm: Alarm | null
  /** When the version of a canary that is over was last seen to serve, by our clock. */
  servedAtMs: number
}

export interface CanaryBook {
  /** By id, in the order of their start. */
  canaries: Map<string, TrackedCanary>
}

/** Canaries remembered. The oldest that is over and not quarantined makes room; when there is none, no more begin. */
export const CANARIES_MAX = 200
/** Instances of both arms times partitions; windows of further ones are not counted. */
export const SOURCES_MAX = 5_000

export function emptyBook(): CanaryBook {
  return { canaries: new Map() }
}

export function emptyArms(): Arms {
  const arm = (): Arm => ({ requests: 0, errors: 0, duration: emptyExponential() })
  return { canary: arm(), baseline: arm() }
}

/** A canary at its beginning. */
export function tracked(record: Canary, order: CanaryOrder): TrackedCanary {
  const { errorDifference, latencyRatio, baselineErrorRatio, decideWithinMs } = order
  return {
    record,
    tolerance: { errorDifference, latencyRatio, baselineErrorRatio },
    decideWithinMs,
    deadlineMs: record.startedAtMs + decideWithinMs,
    arms: emptyArms(),
    open: new Map(),
    newestMs: { canary: 0, baseline: 0 },
    windowMs: 0,
    seen: new Map(),
    look: -1,
    alarm: null,
    servedAtMs: record.startedAtMs
  }
}

/** Adds a window's counts to an arm. */
export function addWindow(arm: Arm, { requests, errors, duration }: Pick<VersionWindow, 'requests' | 'errors' | 'duration'>): void {
  const { scale, offset, zeroCount, counts } = duration
  arm.requests += requests
  arm.errors += errors
  arm.duration.zeroCount += zeroCount
  addBuckets(arm.duration, scale, offset, Float64Array.from(counts), counts.length, 1)
}

/** Adds the counts of `from` to `to`. */
export function addArm(to: Arm, from: Arm): void {
  to.requests += from.requests
  to.errors += from.errors
  to.duration.zeroCount += from.duration.zeroCount
  addBuckets(to.duration, from.duration.scale, from.duration.offset, from.duration.counts, from.duration.length, 1)
}

/** Whether a canary still decides something. */
export function isLive({ record }: TrackedCanary): boolean {
  return ['running', 'paused', 'inconclusive', 'no_data'].includes(record.state)
}

/** Makes room for one more. @returns false when every canary is live or quarantined */
export function makeRoom({ canaries }: CanaryBook): boolean {
  if (canaries.size < CANARIES_MAX) return true
  for (const [id, entry] of canaries) {
    if (isLive(entry) || entry.record.quarantined || entry.alarm?.isOpen) continue
    canaries.delete(id)
    return true
  }
  return false
}

type ArmRow = Omit<Arm, 'duration'> & { duration: ReturnType<typeof exponentialRow> }
type ArmRows = Record<ArmName, ArmRow>
type Row = Omit<TrackedCanary, 'arms' | 'open' | 'seen'> & { arms: ArmRows; open: [number, ArmRows][]; seen: [string, number][] }

/** The book as JSON values. */
export function snapshot({ canaries }: CanaryBook): Row[] {
  return [...canaries.values()].map(entry => ({
    ...entry,
    arms: armRows(entry.arms),
    open: [...entry.open].map(([startMs, arms]) => [startMs, armRows(arms)]),
    seen: [...entry.seen]
  }))
}

/** The book that `snapshot` described. */
export function restore(saved: unknown): CanaryBook {
  const entries = (saved as Row[]).map(row => ({
    ...row,
    arms: armsOf(row.arms),
    open: new Map(row.open.map(([startMs, rows]) => [startMs, armsOf(rows)])),
    seen: new Map(row.seen)
  }))
  return { canaries: new Map(entries.map(entry => [entry.record.id, entry])) }
}

function armRows({ canary, baseline }: Arms): ArmRows {
  const row = (arm: Arm): ArmRow => ({ ...arm, duration: exponentialRow(arm.duration) })
  return { canary: row(canary), baseline: row(baseline) }
}

function armsOf({ canary, baseline }: ArmRows): Arms {
  const arm = (row: ArmRow): Arm => ({ ...row, duration: exponentialOf(row.duration) })
  return { canary: arm(canary), baseline: arm(baseline) }
}
