// When a silence may have begun: after the sender was last heard, and no later than it should have been heard next.
//
// Two silences began together when one moment fits both. The sender's own interval says how exact that is: its patience, after which
// its absence is told, is five intervals by default (and half a minute at least).

import type { IncidentMember } from '../../schemas/incident.ts'
import { readSignal } from './signal-kind.ts'

const PATIENCE_INTERVALS = 5
/** A fifth of the patience of the slowest sender that is missed; after an absence of our own all are told late, and that says nothing of their interval. */
const UNCERTAIN_MS_MAX = 120_000

type Silence = Pick<IncidentMember, 'sinceMs' | 'detectedAtMs'>

/** Whether an anomaly says that its entity itself is silent. */
export function isSilence(member: Pick<IncidentMember, 'metric' | 'attributes' | 'detector' | 'direction'>): boolean {
  return readSignal(member).kind === 'silent'
}

/** For how long after it was last heard the sender may still have been there, ms; 0 when the record does not say when it was missed. */
export function uncertainMs({ sinceMs, detectedAtMs = sinceMs }: Silence): number {
  return Math.min(UNCERTAIN_MS_MAX, (detectedAtMs - sinceMs) / PATIENCE_INTERVALS)
}

/** Whether a silence may have begun as late as `atMs`, and did not begin after it. */
export function mayBeginAt(silence: Silence, atMs: number): boolean {
  return silence.sinceMs <= atMs && atMs <= silence.sinceMs + uncertainMs(silence)
}

/** Whether one moment fits both. */
export function beganTogether(one: Silence, other: Silence): boolean {
  return mayBeginAt(one, other.sinceMs) || mayBeginAt(other, one.sinceMs)
}

/**
 * Until when a silence that stands alone may prove to be one of many: whoever fell silent with it has been missed by then.
 * Senders with a longer interval are missed later still; they are not waited for.
 */
export function aloneFromMs({ sinceMs, detectedAtMs = sinceMs }: Silence): number {
  return detectedAtMs + uncertainMs({ sinceMs, detectedAtMs })
}
