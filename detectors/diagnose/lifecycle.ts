// When an incident is over, and how: healed by a command, by itself, or given up on.
//
//   open ──decision act──► acting ──outcome healed──► open with healedAtMs ──members closed──► resolved (remediated)
//    ▲                       │                              └──a member stays beyond the grace──► open again
//    └──any other verdict────┘        open | escalated ──quiet for resolveAfter──► resolved (self_healed | escalated)
//
// Where instances are acted on side by side it is acting until the last outcome has come. Of their verdicts that of the latest attempt
// counts, in whatever order they come.
//
// Alerts decay later than the fault (seasonal bands, windows), and what was restarted is slow at first: a verdict from raw
// signals is believed for a grace. Only new trouble of the very target that lasts contradicts it sooner.

import type { Incident, IncidentMember } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import { serviceName } from './rank-causes.ts'
import { readSignal } from './signal-kind.ts'
import { type Heal, settle, type Tracked } from './state.ts'

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
  const isGivenUp = giveUpRunning(entry, nowMs)
  return moveOn(entry, nowMs, watchedMs, config) || isGivenUp
}

/** A command whose outcome did not come in time is awaited no more: decide has given it up, too. */
function giveUpRunning(entry: Tracked, nowMs: number): boolean {
  const { running } = entry
  entry.running = running.filter(({ outcomeByMs }) => outcomeByMs === null || nowMs < outcomeByMs)
  return entry.running.length < running.length && endActing(entry)
}

/** @returns true when no command runs any more, so that the incident is not acting */
function endActing({ running, incident }: Tracked): boolean {
  if (incident.status !== 'acting' || running.length > 0) return false
  incident.status = 'open'
  return true
}

function moveOn(entry: Tracked, nowMs: number, watchedMs: number, config: LifecycleConfig): boolean {
  const { incident } = entry
  const healed = healOf(entry)
  if (nowMs - incident.updatedAtMs >= EXPIRE_AFTER_MS) return resolve(incident, 'expired', incident.healedAtMs, nowMs)
  if (holdingMembers(entry).length > 0 || [...entry.omitted.values()].includes(true)) {
    entry.quietSinceMs = null
    if (healed === null) return false
    const inGrace = nowMs - healed.recordedAtMs <= config.resolveAfter * HEALED_GRACE_FACTOR
    return inGrace && !brokeAgain(entry, healed, nowMs - config.resolveAfter) ? false : reopen(entry)
  }
  entry.quietSinceMs ??= watchedMs
  // What one member's heal says does not hold for those that are still being verified: none of them may be cut off, nor its recovery left out.
  if (entry.running.length > 0) return false
  if (healed !== null) return resolve(incident, 'remediated', healed.healedAtMs, nowMs)
  if (watchedMs - entry.quietSinceMs < config.resolveAfter) return false
  const closedAtMs = Math.max(...incident.members.map(member => member.closedAtMs ?? incident.startedAtMs))
  return resolve(incident, incident.status === 'escalated' ? 'escalated' : 'self_healed', closedAtMs, nowMs)
}

/** Takes an outcome in. @returns true when the incident changed */
export function applyOutcome(entry: Tracked, outcome: Ended): boolean {
  if (entry.settledCommandIds.includes(outcome.commandId)) return false
  settle(entry, outcome.commandId)
  const { incident } = entry
  const { verdict, attempt, target, recordedAtMs } = outcome
  incident.attempts = Math.max(incident.attempts, attempt)
  endActing(entry)
  if (verdict === 'refused') return true // Nothing was done: what was healed stays so.
  if (verdict === 'healed') {
    const { healed } = entry
    entry.healed = {
      recordedAtMs: Math.max(recordedAtMs, healed?.recordedAtMs ?? 0),
      healedAtMs: Math.max(outcome.healedAtMs ?? recordedAtMs, healed?.healedAtMs ?? 0), // The last of them says when all were well.
      ...(healed !== null && healed.attempt > attempt ? { target: healed.target, attempt: healed.attempt } : { target, attempt })
    }
  } else entry.unhealedAttempt = Math.max(entry.unhealedAttempt, attempt)
  incident.healedAtMs = healOf(entry)?.healedAtMs ?? null
  return true
}

/** What was healed, as long as no later attempt failed and nothing else contradicted it. */
export function healOf({ healed, unhealedAttempt }: Pick<Tracked, 'healed' | 'unhealedAttempt'>): Heal | null {
  return healed !== null && healed.attempt > unhealedAttempt ? healed : null
}

/** Whether trouble of the target itself began after it was healed and has lasted since `beforeMs`. */
function brokeAgain(entry: Tracked, healed: Heal, beforeMs: number): boolean {
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
  return true
}

function resolve(incident: Incident, resolution: NonNullable<Incident['resolution']>, healedAtMs: number | null, nowMs: number): true {
  incident.status = 'resolved'
  incident.resolution = resolution
  incident.healedAtMs = healedAtMs
  incident.resolvedAtMs = nowMs
  return true
}
