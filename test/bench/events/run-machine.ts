// One machine of a data set through the detectors: scores of its test rows, and what else the benchmark needs.

import { type Contribution, contributions } from '../../../detectors/score/multivariate/contributions.ts'
import { newEntityState, SCALAR } from '../../../detectors/score/multivariate/entity-state.ts'
import type { MultivariateSettings } from '../../../detectors/score/multivariate/settings.ts'
import { updateEntity } from '../../../detectors/score/multivariate/update.ts'
import type { Machine } from './server-metrics.ts'

/** A midnight (UTC), so that a row's time of day is that of the data set's first. */
export const START_MS = Date.UTC(2026, 0, 1)
const CONTRIBUTIONS = 3

export interface MachineRun {
  /** One per test row. */
  scores: Float64Array
  /** Levels of all rows, before calibration. */
  levels: Float64Array
  cpuMs: number
  bytes: number
  /** The largest contributions at the highest score within each labelled event, by the event's first row. */
  reasons: ReadonlyMap<number, Contribution[]>
}

/** Runs the detector over the warm-up and the test rows, in one pass. */
export function runMachine(machine: Machine, intervalMs: number, settings: MultivariateSettings, events: readonly [number, number][] = []): MachineRun {
  const state = newEntityState(machine.metrics)
  const scores = new Float64Array(machine.test.length)
  const levels = new Float64Array(machine.train.length + machine.test.length)
  const reasons = new Map<number, Contribution[]>()
  const cpu = process.cpuUsage()
  let timeMs = START_MS
  let row = 0
  for (const values of machine.train) {
    updateEntity(state, values, timeMs, settings)
    levels[row++] = state.scalars[SCALAR.level]!
    timeMs += intervalMs
  }
  let event = 0
  let highest = Number.NEGATIVE_INFINITY
  for (let at = 0; at < scores.length; at++) {
    scores[at] = updateEntity(state, machine.test[at]!, timeMs, settings)
    levels[row++] = state.scalars[SCALAR.level]!
    timeMs += intervalMs
    // For the report alone: which metrics are named while an event lasts.
    if (event < events.length && at > events[event]![1]) {
      event++
      highest = Number.NEGATIVE_INFINITY
    }
    const [start] = events[event] ?? [Number.POSITIVE_INFINITY]
    if (at < start || state.scalars[SCALAR.level]! <= highest) continue
    highest = state.scalars[SCALAR.level]!
    reasons.set(start, contributions(state, CONTRIBUTIONS))
  }
  const { user, system } = process.cpuUsage(cpu)
  return { scores, levels, cpuMs: (user + system) / 1000, bytes: state.buffer.byteLength, reasons }
}
