// Open anomalies whose series stopped while its entity goes on: an error ratio without requests, a metric that was removed.
//
// Flow: scorer (advance) -> lapse -> anomaly `close`. Nothing would ever close them otherwise, and an incident would stay
// open on a value that nobody measures any more. A series of a silent entity does not lapse: that is absence's business.

import type { EntityTable } from './entities.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, STATE, U8, U8_STRIDE } from './record.ts'
import type { SeriesTable } from './series-table.ts'

/** A series lapses when it lags its entity by this many of its own intervals, and by twice what absence needs at least. */
const LAPSE_INTERVALS = 10
const ABSENCES = 2

/** Series with an open anomaly, found by one pass over the table: after a restore. */
export function openSeries(table: SeriesTable): Set<number> {
  const open = new Set<number>()
  for (let series = 0; series < table.count; series++) {
    if (table.page(series).u8[table.row(series) * U8_STRIDE + U8.state] === STATE.open) open.add(series)
  }
  return open
}

/** Silence of a whole entity from which on its series are given time to come back, one export after the other. */
export const silenceMs = (absenceMinMs: number): number => ABSENCES * absenceMinMs

/**
 * Those of `open` that their entity's telemetry has left behind, by event time: a replay finds the same.
 * @param derivedLagMs by how much derived series lag behind by themselves
 */
export function lapsedSeries(open: ReadonlySet<number>, table: SeriesTable, entities: EntityTable, absenceMinMs: number, derivedLagMs: number): number[] {
  const lapsed: number[] = []
  for (const series of open) {
    const page = table.page(series)
    const row = table.row(series)
    const { maxEventMs, backMs } = entities.all[table.entityOf(series)]!
    const behindMs = maxEventMs - Math.max(page.f64[row * F64_STRIDE + F64.lastTimeMs]!, backMs)
    const lagMs = table.descriptorOf(series).derived ? behindMs - derivedLagMs : behindMs
    if (lagMs > Math.max(silenceMs(absenceMinMs), LAPSE_INTERVALS * page.f32[row * F32_STRIDE + F32.intervalMs]!)) lapsed.push(series)
  }
  return lapsed
}
