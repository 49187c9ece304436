// Error ratio of a window: errors divided by requests once both windows are closed, written back as a gauge.
//
// Flow: scorer (window closed) -> ratio -> shard, which scores it at once as an ordinary series -> metrics topic, for the store.
// It is made here because only here are the counts of all shards together.

import type { DerivedPoint } from '../../schemas/otlp.ts'
import { entityParts } from '../derive/entity-parts.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE } from './record.ts'
import type { RatioPair } from './registry.ts'
import type { SeriesTable } from './series-table.ts'

/** Below this many requests in a window a ratio jumps between 0 and 100 % by chance. */
const REQUESTS_MIN = 5
/** A single error says nothing about a ratio while it alone makes more than what matters of one (metric-class.ts): 1 in 20. */
const REQUESTS_PER_LONE_ERROR = 20

/** Windows of one series that may be closed before those of the other are: a backlog closes several at once. */
const AHEAD_MAX = 64

/**
 * Takes note of a closed window of either series, and appends a gauge point when the other's is closed as well.
 * @param rate of the window that ends at `timeMs`
 */
export function tellRatio(pair: RatioPair, series: number, timeMs: number, rate: number, table: SeriesTable, windowMs: number, into: DerivedPoint[]): void {
  if (pair.requests < 0 || pair.errors < 0 || timeMs <= pair.lastTimeMs) return
  const other = series === pair.requests ? pair.errors : pair.requests
  const otherRate = lastTimeMs(table, other) === timeMs ? lastValue(table, other) : pair.ahead.get(aheadKey(other, timeMs))
  if (otherRate === undefined) {
    pair.ahead.set(aheadKey(series, timeMs), rate)
    if (pair.ahead.size > AHEAD_MAX) pair.ahead.delete(pair.ahead.keys().next().value!)
    return
  }
  pair.ahead.delete(aheadKey(other, timeMs))
  pair.lastTimeMs = timeMs
  const [requestRate, errorRate] = series === pair.requests ? [rate, otherRate] : [otherRate, rate]
  const requests = Math.round((requestRate * windowMs) / 1_000)
  const isLoneError = Math.round((errorRate * windowMs) / 1_000) === 1 && requests < REQUESTS_PER_LONE_ERROR
  if (requests < REQUESTS_MIN || isLoneError) return
  into.push({
    entity: entityParts(pair.entity.entity, pair.entity.environment),
    name: pair.metric,
    unit: '1',
    timeMs,
    startMs: timeMs - windowMs,
    attributes: pair.attributes,
    data: { kind: 'gauge', value: Math.min(1, errorRate / requestRate) }
  })
}

const aheadKey = (series: number, timeMs: number): string => `${series}/${timeMs}`

function lastTimeMs(table: SeriesTable, series: number): number {
  return table.page(series).f64[table.row(series) * F64_STRIDE + F64.lastTimeMs]!
}

function lastValue(table: SeriesTable, series: number): number {
  return table.page(series).f32[table.row(series) * F32_STRIDE + F32.lastValue]!
}
