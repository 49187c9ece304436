// Absence: an entity that used to be heard regularly and is heard no more. Its state is unknown, which is not healthy.
//
// Flow: worker's tick -> absence -> anomalies `absence`, one per entity, never one per series. Judged by the log's clock
// (when telemetry arrived), since the event time of a silent sender stands still.
// Judged only while the consumer is caught up, and only for silence after `listeningSinceMs`: neither a backlog, nor
// a restart, nor a suspended machine is a silence of others.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { anomalyId, derivedId } from '../../schemas/ids.ts'
import type { EntityState } from '../score/entities.ts'
import { formatDuration, formatTime } from '../score/format.ts'

export interface AbsenceSettings {
  absenceIntervals: number
  absenceMin: number
  /** An owner of a partition that does not live to its next checkpoint lives no longer than this after the last, ms. */
  unsavedMs: number
  /** By how much derived telemetry lags: what is heard only through it may be silent that much longer. */
  derivedLagMs: number
}

/** Hearings before an interval counts as learned. */
export const HEARINGS_MIN = 10
/** An entity that stays silent this long was taken away, not broken: the anomaly closes and it is forgotten until heard again. */
const GONE_AFTER_MS = 3_600_000
/** Usual interval = mean gap + this many mean deviations, so that irregular senders get patience. */
const DEVIATIONS = 2
/** What arrives less often than this (batch jobs) has no interval that its absence could be judged by. */
const INTERVAL_MAX_MS = 600_000

/** After our own absence senders come back when their backoff ends: Collectors wait up to 30 s between attempts. */
const RECONNECT_MS = 45_000

export const ABSENCE = 'absence'

/** How long an entity may be silent before it counts as absent, ms; Infinity while its interval is not learned. */
export function absenceLimitMs(state: EntityState, settings: AbsenceSettings): number {
  return state.hearings < HEARINGS_MIN ? Number.POSITIVE_INFINITY : patienceMs(state, settings)
}

/** The same by what is known of the interval now, ms, however little that is; Infinity for one that comes too seldom to be missed. */
export function patienceMs(state: EntityState, settings: AbsenceSettings): number {
  const usualMs = state.gapMs + DEVIATIONS * state.gapDeviationMs
  if (usualMs > INTERVAL_MAX_MS) return Number.POSITIVE_INFINITY
  return Math.max(settings.absenceMin, settings.absenceIntervals * usualMs) + (state.hasOwnMetrics ? 0 : settings.derivedLagMs)
}

/**
 * Judges one entity.
 * @param listeningSinceMs silence before this moment says nothing
 * @returns the anomaly to tell, if its absence began or ended
 */
export function judgeAbsence(state: EntityState, nowMs: number, listeningSinceMs: number, settings: AbsenceSettings): Anomaly | undefined {
  if (state.absentSinceMs !== 0) {
    const sinceMs = state.absentSinceMs
    if (state.lastSeenMs > sinceMs) {
      // Told of one that was given up too: where the way of the telemetry was broken, diagnosis waits for it.
      state.absentSinceMs = 0
      const reason = `Telemetry of ${state.entity} is back after ${formatDuration(state.lastSeenMs - sinceMs)} of silence.`
      return tell(state, 'close', sinceMs, nowMs, state.lastSeenMs, 0, 0, reason)
    }
    if (state.isGone || nowMs - sinceMs <= GONE_AFTER_MS) return undefined
    state.isGone = true
    const reason = `${state.entity} has been silent since ${formatTime(sinceMs)}; it now counts as removed.`
    return { ...tell(state, 'close', sinceMs, nowMs, nowMs, 0, 0, reason), givenUp: true }
  }
  if (state.isGone) return undefined
  const limitMs = reconnectMs(state, listeningSinceMs, absenceLimitMs(state, settings))
  const silentMs = silenceMs(state, nowMs, listeningSinceMs)
  if (silentMs < limitMs) return undefined
  state.absentSinceMs = state.lastSeenMs
  const reason =
    `No telemetry of ${state.entity} for ${formatDuration(nowMs - state.lastSeenMs)}, where it comes every ${formatDuration(state.gapMs)}; ` +
    `last heard at ${formatTime(state.lastSeenMs)}. Its state is unknown.`
  return tell(state, 'open', state.lastSeenMs, nowMs, nowMs, scoreOf(silentMs, state), scoreOf(limitMs, state), reason)
}

/** For how long the entity has been silent, of the time in which it could have been heard, ms. */
export function silenceMs(state: EntityState, nowMs: number, listeningSinceMs: number): number {
  return nowMs - Math.max(state.lastSeenMs, listeningSinceMs)
}

/** `limitMs`, and no less than what a sender needs to reconnect that was not heard since we listen. */
export function reconnectMs(state: EntityState, listeningSinceMs: number, limitMs: number): number {
  return state.lastSeenMs >= listeningSinceMs ? limitMs : Math.max(limitMs, RECONNECT_MS)
}

/**
 * The end of an absence that a former owner may have told after its last checkpoint: its successor reads that the entity is back
 * before it could find it absent itself. Nobody is disturbed by the end of an absence that nobody told.
 * @param backAtMs when it was heard again; called before that is noted
 * @param untilMs  how long the former owner may have lived
 */
export function closeUntold(state: EntityState, backAtMs: number, untilMs: number, settings: AbsenceSettings): Anomaly | undefined {
  if (state.absentSinceMs !== 0 || state.isGone) return undefined
  const toldMs = state.lastSeenMs + absenceLimitMs(state, settings)
  if (toldMs > untilMs || toldMs > backAtMs) return undefined
  const reason = `Telemetry of ${state.entity} is back after ${formatDuration(backAtMs - state.lastSeenMs)} of silence.`
  return tell(state, 'close', state.lastSeenMs, backAtMs, backAtMs, 0, 0, reason)
}

/** On the common scale: were hearings as irregular as chance (Poisson), a silence of k usual gaps had the probability e^−k. */
function scoreOf(silentMs: number, state: EntityState): number {
  return (Math.LOG10E * silentMs) / Math.max(1, state.gapMs)
}

function tell(
  state: EntityState,
  status: 'open' | 'close',
  sinceMs: number,
  detectedAtMs: number,
  observedAtMs: number,
  score: number,
  threshold: number,
  reason: string
): Anomaly {
  const series = derivedId('entity', state.environment, state.entity).slice(0, 16)
  return {
    id: anomalyId(series, ABSENCE, sinceMs),
    status,
    detector: ABSENCE,
    environment: state.environment,
    entity: state.entity,
    service: state.service,
    signal: 'metric',
    metric: 'telemetry',
    unit: '',
    attributes: {},
    series,
    // A service with telemetry of its own that falls silent is hung, dead or cut off; a bare sender may just have been moved.
    severity: state.hasOwnMetrics && state.service !== '' ? 'critical' : 'warning',
    direction: 'absent',
    observed: null,
    expected: null,
    lower: null,
    upper: null,
    score,
    threshold,
    samples: state.hearings,
    sinceMs,
    observedAtMs,
    detectedAtMs,
    shadow: false,
    reason
  }
}
