// Entities for the tests of the multivariate detector: rows of metrics that move together, with noise, a day's rhythm, and faults.

import { chance } from '../../builders.ts'

export const START_MS = Date.UTC(2026, 0, 1)
export const MINUTE_MS = 60_000
const DAY_ROWS = 1_440

/**
 * A service: load with a daily rhythm, cpu, latency and memory that follow it, and a metric that never changes.
 * @returns values of row k: [load, cpu, latency, memory, constant]
 */
export function aService(seed: number): (row: number) => Float64Array {
  const { gaussian } = chance(seed)
  let drift = 0
  return row => {
    drift = 0.9 * drift + 0.4 * gaussian()
    const load = 100 + 30 * Math.sin((2 * Math.PI * row) / DAY_ROWS) + 10 * drift
    return Float64Array.of(load, 0.4 * load + gaussian(), 20 + 0.1 * load + 0.5 * gaussian(), 512 + 5 * gaussian(), 3)
  }
}
