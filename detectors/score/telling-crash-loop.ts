// The anomaly of a crash loop: how often something was restarted, and since when.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { anomalyId } from '../../schemas/ids.ts'
import { isForgettable, isOver, noteReplacement, noteRestarts, type RestartState, restartState } from '../rules/crash-loop.ts'
import { formatDuration, formatTime } from './format.ts'
import { F64, F64_STRIDE } from './record.ts'
import { identity, type Told } from './telling.ts'

export const CRASH_LOOP = 'crash_loop'

/** On the common scale. Ours: what is counted needs no estimate, and it is as rare as nothing that runs well. */
const SCORE = 6
/** A count that nobody reports any more for so many times its quiet time is of something that was removed. */
const REMOVED_FACTOR = 3

/** Shows a restart count to its state. @param before the count before; a lower one now is a new beginning. @returns what to tell */
export function judgeRestarts(
  told: Told,
  states: Map<number, RestartState>,
  series: number,
  before: number,
  count: number,
  timeMs: number,
  quietMinMs: number,
  detectedAtMs: number
): Anomaly | undefined {
  let state = states.get(series)
  if (count > before) {
    state ??= restartState()
    states.set(series, state)
    if (noteRestarts(state, count - before, timeMs, quietMinMs)) return tell(told, series, state, 'open', timeMs, detectedAtMs)
  }
  if (state === undefined) return undefined
  if (count < before) noteReplacement(state, timeMs)
  if (isForgettable(state, timeMs)) states.delete(series)
  if (!isOver(state, timeMs, quietMinMs)) return undefined
  return close(told, states, series, state, timeMs, detectedAtMs)
}

/** Ends loops of what is not reported any more, though its entity goes on or the clock does. */
export function lapseRestarts(
  told: Told,
  states: Map<number, RestartState>,
  watermarkMs: (entity: number) => number,
  quietMinMs: number,
  detectedAtMs: () => number
): Anomaly[] {
  const over: Anomaly[] = []
  for (const [series, state] of states) {
    const { table, entities } = told
    const entity = table.entityOf(series)
    const lastTimeMs = table.page(series).f64[table.row(series) * F64_STRIDE + F64.lastTimeMs]!
    const atMs = watermarkMs(entity)
    if (atMs - Math.max(lastTimeMs, entities.all[entity]!.backMs) <= REMOVED_FACTOR * quietMinMs || !isOver(state, atMs, REMOVED_FACTOR * quietMinMs)) continue
    over.push(close(told, states, series, state, atMs, detectedAtMs()))
  }
  return over
}

function close(told: Told, states: Map<number, RestartState>, series: number, state: RestartState, timeMs: number, detectedAtMs: number): Anomaly {
  states.delete(series)
  return tell(told, series, state, 'close', timeMs, detectedAtMs)
}

function tell(told: Told, series: number, state: RestartState, status: 'open' | 'close', timeMs: number, detectedAtMs: number): Anomaly {
  const { table, entities } = told
  const entity = entities.all[table.entityOf(series)]!
  const of = identity(table, series, entity)
  const { sinceMs, count, times } = state
  const last = times.at(-1)!
  return {
    id: anomalyId(of.series, CRASH_LOOP, sinceMs),
    status,
    detector: CRASH_LOOP,
    ...of,
    ...{ severity: 'critical', direction: 'above', observed: count, expected: 0, lower: null, upper: null },
    ...{ score: status === 'open' ? SCORE : 0, threshold: SCORE, samples: count },
    ...{ sinceMs, observedAtMs: timeMs, detectedAtMs, shadow: false },
    reason:
      status === 'open'
        ? `${entity.entity} keeps crashing: ${count} restarts within ${formatDuration(Math.max(1_000, last - sinceMs))}, since ${formatTime(sinceMs)}.`
        : `${entity.entity} was not restarted again since ${formatTime(last)}, after ${count} restarts.`
  }
}
