// What one anomalous series says: which kind of trouble, and of whom. The names come from derive's and OTel's metrics.
//
// A signal on an edge (`homeostat.edge.*`, measured by the caller) speaks of the peer. Derived series (from spans and logs)
// that stop mean that work stopped coming; only measured series that stop mean that the entity itself is silent.

import type { Cause, IncidentMember } from '../../schemas/incident.ts'
import { CANARY_DETECTOR, UNDECIDED_METRIC } from '../canary/alarm.ts'

export type SignalKind = Cause['signature']

export interface SignalReading {
  kind: SignalKind
  /** For edge signals: the peer that it speaks of. */
  peer: string | null
  /** False for a deviation that is no trouble by itself: fewer errors, a faster answer, less memory. */
  hurts: boolean
}

type Signal = Pick<IncidentMember, 'metric' | 'attributes' | 'detector' | 'direction'>

const EDGE = 'homeostat.edge.'
const SPAN = 'homeostat.span.'
const LOG = 'homeostat.log.'
const CRASH_LOOP = 'crash_loop'
const READY = /(^|[._])(ready|readiness|healthy|alive|up)$/i // 1 or 0: what is not ready fails whoever asks it.
const SCARCE = /(^|[._])(free|available|headroom|remaining)([._]|$)/i
const ERRORS = /(^|[._])(errors?|failures?|failed|exceptions?|restarts?|timeouts?|rejected|refused|dropped)([._]|$)|error_ratio/i
const LATENCY = /(duration|latency|response[._]time|wait[._]time|delay)([._]|$)/i
const SATURATION =
  /memory|heap|rss|swap|usage|utili[sz]ation|saturation|pressure|queue|backlog|lag([._]|$)|pool|connections|filesystem|disk|file_descriptor|eventloop|threads?([._]|$)|children/i
const WORK = /(^|[._])(cpu|load_average)([._]|$)/i // A busy processor is work; it is trouble only with what suffers from it.
const TRAFFIC = /requests|throughput|messages|operations|calls|(^|[._])(rate|io|bytes|packets|jobs)([._]|$)/i
const ERROR_SEVERITY = /^(error|fatal|critical|emerg|alert)/i

/** Kind, subject and harm of one series' deviation. */
export function readSignal(signal: Signal): SignalReading {
  const { metric, direction } = signal
  if (metric.startsWith(EDGE))
    return { ...derivedReading(metric.slice(EDGE.length), direction), peer: signal.attributes.peer ?? signal.attributes['peer.service'] ?? null }
  if (metric.startsWith(SPAN)) return { ...derivedReading(metric.slice(SPAN.length), direction), peer: null }
  if (metric.startsWith(LOG)) return { ...logReading(signal), peer: null }
  if (signal.detector === CANARY_DETECTOR) return { kind: metric === UNDECIDED_METRIC ? 'canary_undecided' : 'canary', peer: null, hurts: true }
  if (direction === 'absent') return { kind: 'silent', peer: null, hurts: true }
  if (signal.detector === CRASH_LOOP) return { kind: 'crash_loop', peer: null, hurts: true }
  if (signal.detector.startsWith('model:')) return { kind: 'failure_predicted', peer: null, hurts: true }
  return { ...measuredReading(metric, direction), peer: null }
}

function derivedReading(what: string, direction: Signal['direction']): Omit<SignalReading, 'peer'> {
  if (direction === 'absent' || what.startsWith('requests')) return { kind: 'traffic', hurts: false }
  if (what.startsWith('error')) return { kind: 'errors', hurts: direction === 'above' }
  if (what.startsWith('duration')) return { kind: 'latency', hurts: direction === 'above' }
  return { kind: 'other', hurts: false }
}

function logReading(signal: Signal): Omit<SignalReading, 'peer'> {
  if (signal.direction !== 'above') return { kind: 'traffic', hurts: false }
  const severity = signal.attributes.severity
  return severity === undefined || ERROR_SEVERITY.test(severity) ? { kind: 'logs', hurts: true } : { kind: 'traffic', hurts: false }
}

function measuredReading(metric: string, direction: Signal['direction']): Omit<SignalReading, 'peer'> {
  const above = direction === 'above'
  if (READY.test(metric)) return { kind: 'errors', hurts: !above }
  if (SCARCE.test(metric)) return { kind: 'saturation', hurts: !above }
  if (ERRORS.test(metric)) return { kind: 'errors', hurts: above }
  if (LATENCY.test(metric)) return { kind: 'latency', hurts: above }
  if (WORK.test(metric)) return { kind: 'other', hurts: above }
  if (SATURATION.test(metric)) return { kind: 'saturation', hurts: above }
  if (TRAFFIC.test(metric)) return { kind: 'traffic', hurts: false }
  return { kind: 'other', hurts: true }
}
