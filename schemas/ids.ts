// Ids that a replay repeats: derived by hash from what they name, never drawn by chance.

import { hash } from 'node:crypto'

/** First 128 bits of SHA-256 over length-prefixed parts, as hex. Length prefixes keep ('ab','c') and ('a','bc') apart. */
export function derivedId(...parts: readonly (string | number)[]): string {
  const text = parts.map(part => `${Buffer.byteLength(String(part))}:${part}`).join('')
  return hash('sha256', text).slice(0, 32)
}

/** Anomaly: the same (series, detector, onset) is the same anomaly however often it is computed. */
export const anomalyId = (seriesKey: string, detector: string, sinceMs: number): string => derivedId('anomaly', seriesKey, detector, sinceMs)
/** Incident: named by the anomaly that opened it; its 32 hex digits are the trace id of everything that follows. */
export const incidentId = (environment: string, firstAnomalyId: string): string => derivedId('incident', environment, firstAnomalyId)
/** One try of one runbook step for an incident: a re-planned decision of the same incident gets the same key. */
export const idempotencyKey = (incident: string, policyVersion: string, runbook: string, target: string, step: string, attempt: number): string =>
  derivedId('step', incident, policyVersion, runbook, target, step, attempt)

/** W3C traceparent that joins every record of an incident into one trace. */
export const incidentTraceparent = (incident: string): string => `00-${incident}-${derivedId('span', incident).slice(0, 16)}-01`
