// Names, sizes and stages of the case: what its processes, its rules and its judge agree upon.

import { NAMESPACE } from '../../layout.ts'

export const SERVICE = 'sessions'
export const GROUP = `${NAMESPACE}/${SERVICE}`
export const CUSTOMERS = 'customers'
/** Limits of a start that forgets old sessions, by the name that the process driver is given. */
export const BOUNDED = 'bounded'
/** Variable of these limits: sessions that are kept at most. Absent: all. */
export const SESSIONS_MAX = 'SESSIONS_MAX'
export const SESSIONS_BOUND = 16

export const SESSION_BYTES = 64 * 1024
/** Beyond it the operator's rule alarms, and the instance is unwell. */
export const HELD_BYTES_MAX = 64 * SESSION_BYTES

/** Of the runbook: what has been acted on at the end of each stage. */
export const STAGES = ['1', '50%', '100%'] as const
/** Of the policy: in flight or unverified at the same time. */
export const CONCURRENT_MAX = 2

/** `sessions-1` … */
export const memberNames = (count: number): string[] => Array.from({ length: count }, (_, index) => `${SERVICE}-${index + 1}`)
export const entityOf = (member: string): string => `${GROUP}@${member}`
/** `lab/sessions@sessions-1` → `sessions-1`. */
export const memberOf = (entity: string): string => entity.slice(entity.indexOf('@') + 1)

/** What customers do to all instances, and to some. */
export interface Demand {
  /** They leave without a word, so that nobody closes their sessions: the fault. */
  leaves: boolean
  /** Instances whose customers come back to old sessions: one that forgets them fails. */
  returns: readonly string[]
}
export const CALM: Demand = { leaves: false, returns: [] }

/** Of an instance, lately, in its customers' own count. */
export interface Served {
  requests: number
  failed: number
}
