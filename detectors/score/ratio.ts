// Error ratio of a window: errors divided by requests once both windows are closed, written back as a gauge.
//
// Flow: scorer (windows closed) -> ratio -> worker -> metrics topic -> an ordinary series, scored and stored like any other.
// It is made here because only here are the counts of all shards together.

import type { DerivedPoint } from '../../schemas/otlp.ts'
import { entityParts } from '../derive/entity-parts.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE } from './record.ts'
import type { RatioPair } from './registry.ts'
import type { SeriesTable } from './series-table.ts'

/** Below this many requests in a window a ratio jumps between 0 and 100 % by chance. */
const REQUESTS_MIN = 5

/** Appends one gauge point per pair whose last closed window is newer than the last told one. */
export function tellRatios(pairs: readonly RatioPair[], table: SeriesTable, windowMs: number, into: DerivedPoint[]): void {
  for (const pair of pairs) {
    if (pair.requests < 0 || pair.errors < 0) continue
    const timeMs = lastTimeMs(table, pair.requests)
    if (timeMs <= pair.lastTimeMs || timeMs !== lastTimeMs(table, pair.errors)) continue
    pair.lastTimeMs = timeMs
    const requestRate = lastValue(table, pair.requests)
    if ((requestRate * windowMs) / 1_000 < REQUESTS_MIN) continue
    into.push({
      entity: entityParts(pair.entity.entity, pair.entity.environment),
      name: pair.metric,
      unit: '1',
      timeMs,
      startMs: timeMs - windowMs,
      attributes: pair.attributes,
      data: { kind: 'gauge', value: Math.min(1, lastValue(table, pair.errors) / requestRate) }
    })
  }
}

function lastTimeMs(table: SeriesTable, series: number): number {
  return table.page(series).f64[table.row(series) * F64_STRIDE + F64.lastTimeMs]!
}

function lastValue(table: SeriesTable, series: number): number {
  return table.page(series).f32[table.row(series) * F32_STRIDE + F32.lastValue]!
}
