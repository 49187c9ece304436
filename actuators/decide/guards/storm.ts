// Storm brake: when much breaks at once the cause is likely one that no single runbook knows. Acting waits until it is over,
// and a while longer: what comes back all at once is still falling.
//
// Counted are incidents of the environment, also those that are over again, and series that broke, for one incident may hold them all.

import { allow, type Guard, span, wait } from './guard.ts'

/** Incidents that opened in one environment within the window; a busy fleet has one or two. */
export const STORM_INCIDENTS_MAX = 10
/** Series that broke within the window. A dead service and its callers break some tens; beyond this a rack or a network did. */
export const STORM_SERIES_MAX = 150
export const STORM_WINDOW_MS = 60_000
/** How long after the last burst it stays on: remediation that starts too early meets a fleet that is still falling. */
export const STORM_EXIT_MS = 120_000

export const storm: Guard = ({ nowMs, incident, state }) => {
  const sinceMs = nowMs - STORM_WINDOW_MS - STORM_EXIT_MS
  const openings = new Map((state.openings[incident.environment] ?? []).map(opening => [opening.incidentId, opening.atMs]))
  const series: number[] = []
  for (const { incident: other } of Object.values(state.watches)) {
    if (other.environment !== incident.environment) continue
    openings.set(other.id, other.openedAtMs)
    for (const { sinceMs: brokeAtMs } of other.members) if (brokeAtMs >= sinceMs) series.push(brokeAtMs)
    // What is not listed broke at the onset, as far as anybody knows.
    if (other.startedAtMs >= sinceMs) series.push(...new Array<number>(Math.min(other.membersOmitted, STORM_SERIES_MAX + 1)).fill(other.startedAtMs))
  }
  const opened = [...openings.values()].filter(atMs => atMs >= sinceMs)
  const burstOfIncidents = lastBurst(opened, STORM_INCIDENTS_MAX)
  const burstOfSeries = lastBurst(series, STORM_SERIES_MAX)
  const burstAtMs = Math.max(burstOfIncidents ?? 0, burstOfSeries ?? 0) || null
  const inputs = {
    openedLately: opened.length,
    max: STORM_INCIDENTS_MAX,
    seriesLately: series.length,
    seriesMax: STORM_SERIES_MAX,
    windowMs: STORM_WINDOW_MS,
    burstAtMs
  }
  if (burstAtMs === null || nowMs >= burstAtMs + STORM_EXIT_MS) return allow('storm', inputs, `${opened.length} incidents opened lately`)
  const what = burstOfIncidents === null ? `${STORM_SERIES_MAX} series broke` : `${STORM_INCIDENTS_MAX} incidents opened`
  const reason = `more than ${what} within ${span(STORM_WINDOW_MS)}: one cause is likely`
  return wait('storm', inputs, reason, `${span(STORM_EXIT_MS)} without a new burst.`, burstAtMs + STORM_EXIT_MS)
}

/** The latest moment at which more than `max` had come within one window. */
function lastBurst(timesMs: number[], max: number): number | null {
  if (timesMs.length <= max) return null
  timesMs.sort((a, b) => a - b)
  for (let index = timesMs.length - 1; index >= max; index--) {
    if (timesMs[index]! - timesMs[index - max]! <= STORM_WINDOW_MS) return timesMs[index]!
  }
  return null
}
