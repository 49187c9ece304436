// What a canary asks of people and policies, as an anomaly: to end a version that failed, or to decide where the figures cannot.
//
// Its entity is `service@version`: what a runbook acts on, and what cooldowns, budgets and freezes are kept for. The signature that
// policies match is `canary` or `canary_undecided` (diagnose/signal-kind.ts).

import type { Anomaly } from '../../schemas/anomaly.ts'
import { anomalyId, derivedId } from '../../schemas/ids.ts'
import { FALSE_VERDICT_MAX } from './looks.ts'
import type { Alarm, TrackedCanary } from './state.ts'

export const CANARY_DETECTOR = 'canary'
export const UNDECIDED_METRIC = 'homeostat.release.undecided'
const FAILED_METRIC = 'homeostat.release.error_difference'
/** Attribute of an alarm: the person who stopped the canary. Absent: its figures did. */
export const STOPPED_BY = 'stopped_by'
const SERIES_HEX_DIGITS = 16

/** The anomaly of an alarm; the same alarm has the same id, however often it is told. */
export function alarmRecord({ record, tolerance, arms }: TrackedCanary, { kind, sinceMs }: Alarm, status: 'open' | 'close', nowMs: number): Anomaly {
  const { id, environment, service, canary, baseline, errorDifference } = record
  const metric = kind === 'failed' ? FAILED_METRIC : UNDECIDED_METRIC
  const entity = `${service}@${canary.version}`
  const series = derivedId('canary', environment, id, entity, metric).slice(0, SERIES_HEX_DIGITS)
  return {
    ...{ id: anomalyId(series, CANARY_DETECTOR, sinceMs), status, detector: CANARY_DETECTOR, environment, entity },
    ...{ service: service.slice(service.indexOf('/') + 1), signal: 'span', metric, unit: '1' },
    attributes: { canary: id, version: canary.version, baseline: baseline.version, ...(record.state === 'aborted' ? { [STOPPED_BY]: record.by } : {}) },
    series,
    severity: kind === 'failed' ? 'critical' : 'warning',
    direction: 'above',
    ...{ observed: errorDifference?.estimate ?? null, expected: 0, lower: null, upper: tolerance.errorDifference },
    // By construction: what all looks together may get wrong.
    ...{ score: -Math.log10(FALSE_VERDICT_MAX), threshold: -Math.log10(FALSE_VERDICT_MAX) },
    samples: Math.min(arms.canary.requests, arms.baseline.requests),
    ...{ sinceMs, observedAtMs: nowMs, detectedAtMs: nowMs, shadow: false },
    reason: `canary ${canary.version} of ${service}: ${status === 'close' && kind === 'failed' ? 'it no longer serves' : record.reason}`
  }
}
