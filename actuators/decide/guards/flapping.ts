// Flapping: what breaks and recovers by itself again and again is not healed by acting at each turn.
//
// Counted on the target within a window: incidents that it caused, and how often one series of the present incident opened anew.

import type { IncidentMember } from '../../../schemas/incident.ts'
import { allow, type Guard, refuse, span } from './guard.ts'

/** More turns than this within the window is flapping: five real faults of one entity in ten minutes are a person's matter too. */
export const FLAPS_MAX = 5
export const FLAP_WINDOW_MS = 10 * 60_000

export const flapping: Guard = ({ nowMs, incident, target, targetState }) => {
  const sinceMs = nowMs - FLAP_WINDOW_MS
  const incidents = targetState.onsets.filter(onset => onset.atMs >= sinceMs).length
  const reopened = mostReopened(incident.members, target, sinceMs)
  const inputs = { incidents, reopened, max: FLAPS_MAX, windowMs: FLAP_WINDOW_MS }
  const turns = Math.max(incidents, reopened)
  if (turns <= FLAPS_MAX) return allow('flapping', inputs, `broke ${turns} times within ${span(FLAP_WINDOW_MS)}`)
  return refuse(
    'flapping',
    inputs,
    `${target} is flapping: it broke ${turns} times within ${span(FLAP_WINDOW_MS)}`,
    `At most ${FLAPS_MAX} turns within ${span(FLAP_WINDOW_MS)}.`
  )
}

function mostReopened(members: readonly IncidentMember[], target: string, sinceMs: number): number {
  const openings = new Map<string, number>()
  for (const member of members) {
    if (member.entity !== target || member.sinceMs < sinceMs) continue
    const series = `${member.metric}|${JSON.stringify(member.attributes)}|${member.detector}`
    openings.set(series, (openings.get(series) ?? 0) + 1)
  }
  return Math.max(0, ...openings.values())
}
