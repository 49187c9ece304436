// The base tier on the same rows: every metric through the level detector of single series, and the largest score of each row.

import { scaleOf, updateLevel } from '../../../detectors/score/level.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, newPage } from '../../../detectors/score/record.ts'
import { tailScore, tailTable } from '../../../detectors/score/tail.ts'
import { START_MS } from './run-machine.ts'
import type { Machine } from './server-metrics.ts'

const WARMUP_POINTS = 60
const ENTER_POINTS = 1
const DAY_MS = 86_400_000
/** Metrics are scaled to 0..1; a hundredth is what a gauge of percent has as its floor. */
const LIMITS = { above: true, below: true, deviationMin: 0, deviationMinRelative: 0, scaleFloor: 0.01 }

/** −log10 of the false alarms an entity and day expected at each test row's largest score, all its metrics taken together. */
export function baseTierScores(machine: Machine, intervalMs: number): Float64Array {
  const page = newPage()
  const settings = {
    warmupPoints: WARMUP_POINTS,
    enterPoints: ENTER_POINTS,
    exitPoints: 1,
    tail: tailTable(1 / machine.metrics, ENTER_POINTS)
  }
  for (let metric = 0; metric < machine.metrics; metric++) page.f64[metric * F64_STRIDE + F64.lastTimeMs] = Number.NEGATIVE_INFINITY
  const perDay = Math.log10((machine.metrics * DAY_MS) / intervalMs)
  const scores = new Float64Array(machine.test.length)
  let timeMs = START_MS
  const update = (values: Float64Array): number => {
    let largest = 0
    for (let metric = 0; metric < machine.metrics; metric++) {
      const base = metric * F32_STRIDE
      const level = page.f64[metric * F64_STRIDE + F64.level]!
      const residual = values[metric]! - level
      const side = base + (residual < 0 ? F32.lower : F32.upper)
      const distance = Math.abs(residual) / scaleOf(page.f32[base + F32.spread]!, level, LIMITS)
      if (page.f32[side]! > 0) largest = Math.max(largest, tailScore(distance, page.f32[side]!, page.f32[side + 1]!))
      updateLevel(page, metric, values[metric]!, timeMs, timeMs, settings, LIMITS)
    }
    timeMs += intervalMs
    return largest
  }
  for (const values of machine.train) update(values)
  for (let row = 0; row < scores.length; row++) scores[row] = update(machine.test[row]!) - perDay
  return scores
}
