// From the level of a row to expected false alarms a day: the one scale on which a threshold means the same for every entity.
//
// Flow: update -> calibration. The level of quiet rows is taken to have an exponential tail; where it starts is half the
// entity's own doing (its running median), half common to all, because an own tail fitted to some days of one entity made
// alarms worse, not better (measured: ablation in the benchmark's notes), and a common one alone knows nothing of noisy
// entities. The rate follows from the probability and from how many rows a day the entity sends.

import { type EntityState, SCALAR } from './entity-state.ts'
import type { Calibration } from './settings.ts'

/** What calibration reads and writes of an entity. */
export type Calibrated = Pick<EntityState, 'scalars'>

/** Steps of the median: early ones as 1/n, then small enough that weeks count. */
const MEDIAN_ROWS_FIRST = 50
const MEDIAN_ROWS_MAX = 20_000
/** Levels this far above the median hardly move it: hours of an incident are not the usual state. */
const MEDIAN_REACH = 1.5
const MEDIAN_WEIGHT_HIGH = 0.1
const DAY_MS = 86_400_000
/** Half of the rows lie above the median. */
const MEDIAN_SHARE = 0.5

/** Alarms that are expected to be false, per entity and day, at the default threshold. */
export const FALSE_ALARMS_PER_DAY = 1

/** The score from which a row alarms, so that `perDay` false alarms an entity and day are expected. */
export function alarmThreshold(perDay: number = FALSE_ALARMS_PER_DAY): number {
  return 0 - Math.log10(perDay)
}

/** A new entity is an average one. */
export function beginCalibration({ scalars }: Calibrated, { median }: Calibration): void {
  scalars[SCALAR.median] = median
  scalars[SCALAR.held] = 0
}

/** The score of an entity that cannot be judged yet: every row is as usual as any. */
export function unknownScore({ scalars }: Calibrated): number {
  return -Math.log10(rowsPerDay(scalars))
}

/**
 * Folds the level of a row into the entity's calibration.
 * Source of the median: Robbins & Monro, "A stochastic approximation method" (1951), as for quantiles.
 * @param level >= 0
 * @param rows  rows calibrated before this one
 * @returns −log10 of the rows a day that would lie at least this high if nothing were wrong: 0 = once a day, 1 = every ten days
 */
export function calibrate({ scalars }: Calibrated, level: number, rows: number, { median: usual, scale, ownShare, hold }: Calibration): number {
  const held = Math.max(level, hold * scalars[SCALAR.held]!)
  const median = scalars[SCALAR.median]!
  scalars[SCALAR.held] = held
  const step = 1 / Math.min(rows + MEDIAN_ROWS_FIRST, MEDIAN_ROWS_MAX)
  scalars[SCALAR.median] = median + (held <= median ? -step : held > median + MEDIAN_REACH ? MEDIAN_WEIGHT_HIGH * step : step)
  const start = usual + ownShare * (median - usual)
  const probability = Math.min(1, MEDIAN_SHARE * Math.exp((start - held) / scale))
  return -Math.log10(probability * rowsPerDay(scalars))
}

function rowsPerDay(scalars: Float64Array): number {
  return DAY_MS / Math.max(1, scalars[SCALAR.intervalMs]!)
}
