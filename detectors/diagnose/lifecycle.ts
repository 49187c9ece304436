// When an incident is over, and how: healed by a command, by itself, or given up on.
//
//   open ──decision act──► acting ──outcome healed──► open with healedAtMs ──members closed──► resolved (remediated)
//    ▲                       │                              └──a member stays beyond the grace──► open again
//    └──any other verdict────┘        open | escalated ──quiet for resolveAfter──► resolved (self_healed | escalated)
//
// Alerts decay later than the fault (seasonal bands, windows), and what was restarted is slow at first: a verdict from raw
// signals is believed for a grace. Only new trouble of the very target that lasts contradicts it sooner.

import type { Incident, IncidentMember } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import { serviceName } from './rank-causes.ts'
import { readSignal } from './signal-kind.ts'
import { settle, type Tracked } from './state.ts'

/** A healed incident waits this many `resolveAfter` for its members to close before it counts as open again. */
export const HEALED_GRACE_FACTOR = 3
/** A quiet of `resolveAfter` is looked at so many times at least: no step of the clock makes one by itself. */
export const QUIET_LOOKS_MIN = 3
/** An incident that nothing changed for this long: its closing record was lost or its entity is gone for good. */
export const EXPIRE_AFTER_MS = 24 * 3_600_000

/** What of an outcome is asked here. */
export type Ended = Pick<Outcome, 'incidentId' | 'commandId' | 'attempt' | 'target' | 'verdict' | 'healedAtMs' | 'recordedAtMs'>

export interface LifecycleConfig {
  /** ms without an open member before an incident closes by itself. */
  resolveAfter: number
}

/** Members that keep the incident open. What an action itself causes (less traffic, less memory) does not. */
export function holdingMembers(entry: Tracked): IncidentMember[] {
  const { actedAtMs } = entry
  return entry.incident.members.filter(
    member => member.closedAtMs === null && !(actedAtMs !== null && member.sinceMs >= actedAtMs && !readSignal(member).hurts)
  )
}

/**
 * Moves the incident on by time and by what its members show. Changes `entry.incident` but not its version.
 * @param watchedMs by the state's watch, which steps of the clock do not move
 * @returns true when the incident changed
 */
export function advance(entry: Tracked, nowMs: number, watchedMs: number, config: LifecycleConfig): boolean {
  const { incident } = entry
  if (nowMs - incident.updatedAtMs >= EXPIRE_AFTER_MS) return resolve(incident, 'expired', incident.healedAtMs, nowMs)
  if (holdingMembers(entry).length > 0 || [...entry.omitted.values()].includes(true)) {
    entry.quietSinceMs = null
    if (entry.healed === null) return false
    const inGrace = nowMs - entry.healed.recordedAtMs <= config.resolveAfter * HEALED_GRACE_FACTOR
    return inGrace && !brokeAgain(entry, entry.healed, nowMs - config.resolveAfter) ? false : reopen(entry)
  }
  entry.quietSinceMs ??= watchedMs
  // What one member's heal says does not hold for those that are still being verified: none of them may be cut off, nor its recovery left out.
  if (entry.runningCommandIds.length > 0) return false
  if (entry.healed !== null) return resolve(incident, 'remediated', entry.healed.healedAtMs, nowMs)
  if (watchedMs - entry.quietSinceMs < config.resolveAfter) return false
  const closedAtMs = Math.max(...incident.members.map(member => member.closedAtMs ?? incident.startedAtMs))
  return resolve(incident, incident.status === 'escalated' ? 'escalated' : 'self_healed', closedAtMs, nowMs)
}

/** Takes an outcome in. @returns true when the incident changed */
export function applyOutcome(entry: Tracked, outcome: Ended): boolean {
  if (entry.settledCommandIds.includes(outcome.commandId)) return false
  settle(entry, outcome.commandId)
  const { incident } = entry
  incident.attempts = Math.max(incident.attempts, outcome.attempt)
  if (incident.status === 'acting') incident.status = 'open'
  if (outcome.verdict !== 'healed') {
    // Of several members one was healed, and a later one was not: the incident goes on.
    const isLater = entry.healed !== null && outcome.attempt > (entry.healed.attempt ?? Number.POSITIVE_INFINITY)
    return isLater && outcome.verdict !== 'refused' ? reopen(entry) : true
  }
  // Of several members that are healed side by side the last one says when all were well; their outcomes come in any order.
  const healedAtMs = Math.max(outcome.healedAtMs ?? outcome.recordedAtMs, entry.healed?.healedAtMs ?? 0)
  entry.healed = { recordedAtMs: outcome.recordedAtMs, healedAtMs, target: outcome.target, attempt: outcome.attempt }
  incident.healedAtMs = healedAtMs
  return true
}

/** Whether trouble of the target itself began after it was healed and has lasted since `beforeMs`. */
function brokeAgain(entry: Tracked, healed: NonNullable<Tracked['healed']>, beforeMs: number): boolean {
  const service = serviceName(healed.target)
  return holdingMembers(entry).some(member => {
    const { kind, peer, hurts } = readSignal(member)
    const about = serviceName(peer ?? member.entity)
    return hurts && kind !== 'other' && about === service && member.sinceMs > healed.healedAtMs && member.sinceMs <= beforeMs
  })
}

/** The verdict no longer holds: undecided again. */
function reopen(entry: Tracked): true {
  entry.healed = null
  entry.incident.healedAtMs = null
  if (entry.incident.status === 'acting' && entry.runningCommandIds.length === 0) entry.incident.status = 'open'
  return true
}

function resolve(incident: Incident, resolution: NonNullable<Incident['resolution']>, healedAtMs: number | null, nowMs: number): true {
  incident.status = 'resolved'
  incident.resolution = resolution
  incident.healedAtMs = healedAtMs
  incident.resolvedAtMs = nowMs
  return true
}
