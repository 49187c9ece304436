// Which metrics made the last row unusual, and what they should have been: the reason behind a multivariate score.
//
// The residual of a metric is its deviation from what all other columns (the other metrics, the past, the time of day) let expect,
// in standard deviations of that expectation: (P y)ᵢ / √Pᵢᵢ with P the precision matrix, and z̃ᵢ = zᵢ − (P y)ᵢ / Pᵢᵢ expected
// (Lauritzen, "Graphical Models", 1996, appendix C). Called for anomalies, not per row: it allocates.

import { type EntityState, METRIC_F32, METRIC_F64 } from './entity-state.ts'

export interface Contribution {
  /** Position of the metric in the row. */
  metric: number
  /** Of the squared residuals of all metrics, 0..1. */
  share: number
  /** Standard deviations from what was expected, signed. */
  residual: number
  /** In the metric's unit; the value as far as it counted (deviations are clipped). */
  value: number
  expected: number
}

/** The metrics that contributed most to the last score, largest first; those not reported in that row are left out. */
export function contributions({ metrics, metric32, metric64 }: EntityState, countMax = 5): Contribution[] {
  const found: Contribution[] = []
  let total = 0
  for (let metric = 0; metric < metrics; metric++) {
    const value = metric64[METRIC_F64.value * metrics + metric]!
    const scale = metric32[METRIC_F32.scale * metrics + metric]!
    if (Number.isNaN(value) || scale === 0) continue
    const residual = metric32[METRIC_F32.residual * metrics + metric]!
    const z = metric32[METRIC_F32.z * metrics + metric]!
    const expectedZ = z - residual / Math.sqrt(metric32[METRIC_F32.precision * metrics + metric]!)
    total += residual * residual
    found.push({ metric, share: residual * residual, residual, value, expected: metric64[METRIC_F64.mean * metrics + metric]! + expectedZ * scale })
  }
  for (const one of found) one.share = total === 0 ? 0 : one.share / total
  return found.sort((a, b) => b.share - a.share || a.metric - b.metric).slice(0, countMax)
}
