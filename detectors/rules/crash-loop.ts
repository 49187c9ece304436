// Crash loop: what starts, dies and is started again. Seen from the count of restarts that its supervisor reports.
//
// Flow: scorer (each value of a restart count) -> crash-loop -> scorer (tells the anomaly `crash_loop`).
//
//   calm --RESTARTS_MIN restarts within WITHIN_MS--> open --no restart for twice the longest of the last gaps--> calm
//
// Supervisors wait longer before each restart, at most twice as long as before (kubelet: 10 s, 20 s … 5 min): a silence of more
// than two gaps is no back-off any more, neither after a restart nor before it: what ran well until then was no part of the loop.
// One restart, or one of each instance as a release does it, is none.

/** One may be chance, two a release and its correction. */
export const RESTARTS_MIN = 3
/** Restarts further apart are faults of their own. Two waits of kubelet's longest back-off. */
const WITHIN_MS = 600_000
/** Gaps of restarts grow by this at most. */
const GAP_FACTOR = 2

export interface RestartState {
  /** Event times of the last restarts, at most RESTARTS_MIN, oldest first. */
  times: number[]
  /** Restarts since it is open. */
  count: number
  /** Event time of the first restart of the loop; 0 = calm. */
  sinceMs: number
}

export function restartState(): RestartState {
  return { times: [], count: 0, sinceMs: 0 }
}

/**
 * Notes restarts that were counted up to `timeMs`.
 * @param quietMinMs least time without a restart that means anything, for counts that are reported seldom
 * @returns whether a loop opened
 */
export function noteRestarts(state: RestartState, restarts: number, timeMs: number, quietMinMs: number): boolean {
  for (let index = 0; index < Math.min(restarts, RESTARTS_MIN); index++) state.times.push(timeMs)
  state.times = state.times.slice(-RESTARTS_MIN)
  if (state.sinceMs !== 0) {
    state.count += restarts
    return false
  }
  const [first, ...rest] = gapsOf(state.times)
  // Whether a gap was long is told by the one after it.
  if (first !== undefined && rest.length > 0 && first > quietMs(rest, quietMinMs)) state.times.shift()
  if (state.times.length < RESTARTS_MIN || timeMs - state.times[0]! > WITHIN_MS) return false
  state.sinceMs = state.times[0]!
  state.count = Math.max(RESTARTS_MIN, restarts)
  return true
}

/** Notes that the count began anew: what was replaced waits no back-off, and the new one has its time to prove itself. */
export function noteReplacement(state: RestartState, timeMs: number): void {
  if (state.sinceMs !== 0) state.times = [...state.times, timeMs].slice(-RESTARTS_MIN)
}

/** Whether an open loop is over at `timeMs`: it has not restarted for longer than a back-off can last. */
export function isOver({ times, sinceMs }: RestartState, timeMs: number, quietMinMs: number): boolean {
  if (sinceMs === 0) return false
  return timeMs - times.at(-1)! > quietMs(gapsOf(times), quietMinMs)
}

const gapsOf = (times: readonly number[]): number[] => times.slice(1).map((time, index) => time - times[index]!)
const quietMs = (gaps: readonly number[], quietMinMs: number): number => Math.max(quietMinMs, GAP_FACTOR * Math.max(0, ...gaps))

/** Whether nothing needs to be remembered any more. */
export function isForgettable({ times, sinceMs }: RestartState, timeMs: number): boolean {
  return sinceMs === 0 && timeMs - (times.at(-1) ?? 0) > WITHIN_MS
}
