// Storm brake: when much breaks at once the cause is likely one that no single runbook knows. Acting waits until it is over.

import { allow, type Guard, span, wait } from './guard.ts'

/** Incidents that opened in one environment within the window; a busy fleet has one or two. */
export const STORM_INCIDENTS_MAX = 10
export const STORM_WINDOW_MS = 60_000
/** How long after the last burst it stays on: remediation that starts too early meets a fleet that is still falling. */
export const STORM_EXIT_MS = 120_000

export const storm: Guard = ({ nowMs, incident, state }) => {
  const opened = Object.values(state.watches)
    .filter(watch => watch.incident.environment === incident.environment && nowMs - watch.incident.openedAtMs <= STORM_WINDOW_MS + STORM_EXIT_MS)
    .map(watch => watch.incident.openedAtMs)
    .sort((a, b) => a - b)
  // The latest moment at which more than the maximum had opened within one window.
  let burstAtMs: number | null = null
  for (let index = STORM_INCIDENTS_MAX; index < opened.length; index++) {
    if (opened[index]! - opened[index - STORM_INCIDENTS_MAX]! <= STORM_WINDOW_MS) burstAtMs = opened[index]!
  }
  const inputs = { openedLately: opened.length, max: STORM_INCIDENTS_MAX, windowMs: STORM_WINDOW_MS, burstAtMs }
  if (burstAtMs === null || nowMs >= burstAtMs + STORM_EXIT_MS) return allow('storm', inputs, `${opened.length} incidents opened lately`)
  const reason = `more than ${STORM_INCIDENTS_MAX} incidents opened within ${span(STORM_WINDOW_MS)}: one cause is likely`
  return wait('storm', inputs, reason, `${span(STORM_EXIT_MS)} without a new burst.`, burstAtMs + STORM_EXIT_MS)
}
