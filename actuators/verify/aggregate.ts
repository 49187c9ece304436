// Aggregates of a check's samples.

import type { Check } from '../../schemas/runbook.ts'

export type Aggregate = Extract<Check, { type: 'metric' }>['aggregate']

/**
 * The aggregate of `values` in time order; `undefined` for an empty list, except `count`, which is then 0.
 * p95: nearest-rank (the smallest value that at least 95 % of the samples do not exceed), exact on small samples.
 */
export function aggregate(kind: Aggregate, values: readonly number[]): number | undefined {
  if (kind === 'count') return values.length
  if (values.length === 0) return undefined
  switch (kind) {
    case 'last':
      return values.at(-1)
    case 'mean':
      return total(values) / values.length
    case 'sum':
      return total(values)
    case 'max':
      return values.reduce((a, b) => Math.max(a, b))
    case 'min':
      return values.reduce((a, b) => Math.min(a, b))
    case 'p95':
      return values.toSorted((a, b) => a - b)[Math.ceil(0.95 * values.length) - 1]
  }
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)
