// The members of an incident: bounded, the telling ones kept, the others counted.
//
// A storm breaks hundreds of series by one cause. What ranking needs is one member of each (entity, kind, peer); when the
// list is full, the weakest of those that say what another says already makes room, whatever the order of arrival.

import type { Severity } from '../../schemas/anomaly.ts'
import type { IncidentMember } from '../../schemas/incident.ts'
import { readSignal } from './signal-kind.ts'

/** Members listed in a record: 100 of about 500 bytes keep it far below the log's record limit, and nobody reads more. */
export const MEMBERS_MAX = 100
/** Ids remembered of members that are not listed, an incident; beyond it they are counted only. */
export const OMITTED_IDS_MAX = 5_000

const SEVERITY_RANK: Readonly<Record<Severity, number>> = { info: 0, warning: 1, critical: 2 }

/** Adds `member`; when the list is full, returns the one that had to go (perhaps `member` itself). Changes `members`. */
export function admitMember(members: IncidentMember[], member: IncidentMember): IncidentMember | undefined {
  members.push(member)
  if (members.length <= MEMBERS_MAX) return undefined
  const groups = new Map<string, number>()
  for (const item of members) groups.set(saying(item), (groups.get(saying(item)) ?? 0) + 1)
  const repeated = members.filter(item => groups.get(saying(item))! > 1)
  const weakest = (repeated.length > 0 ? repeated : members).reduce((worst, item) => (weight(item) < weight(worst) ? item : worst))
  members.splice(members.indexOf(weakest), 1)
  return weakest
}

/** The highest severity among members; `info` for none. */
export function worstSeverity(members: readonly IncidentMember[]): Severity {
  return members.reduce<Severity>((worst, item) => (SEVERITY_RANK[item.severity] > SEVERITY_RANK[worst] ? item.severity : worst), 'info')
}

/**
 * Members as they stand: what a process complained of while it kept crashing is not over because it is not there to complain.
 * Such a one counts as open for as long as its crash loop is.
 */
export function standingMembers(members: readonly IncidentMember[]): IncidentMember[] {
  const loops = new Map<string, number>()
  for (const { entity, sinceMs, closedAtMs, ...signal } of members) {
    if (closedAtMs === null && readSignal(signal).kind === 'crash_loop') loops.set(entity, Math.min(sinceMs, loops.get(entity) ?? sinceMs))
  }
  return members.map(member => {
    const stands = member.closedAtMs !== null && member.closedAtMs >= (loops.get(member.entity) ?? Number.POSITIVE_INFINITY)
    return stands && readSignal(member).peer !== null ? { ...member, closedAtMs: null } : member
  })
}

/** Entities whose own telemetry stopped and has not come back: unknown, neither well nor ill. */
export function unknownEntities(members: readonly IncidentMember[]): string[] {
  const silent = members.filter(member => member.closedAtMs === null && readSignal(member).kind === 'silent')
  return [...new Set(silent.map(member => member.entity))].sort()
}

function saying(member: IncidentMember): string {
  const { kind, peer } = readSignal(member)
  return `${member.entity}|${kind}|${peer ?? ''}`
}

/** Open before closed, then severity, then score. */
function weight(member: IncidentMember): number {
  return (member.closedAtMs === null ? 1_000 : 0) + SEVERITY_RANK[member.severity] * 100 + Math.min(99, member.score)
}
