// Coverage: of what is watched, how much is being heard. Telemetry's own service level: what is not heard is unknown, not well.
//
// Flow: worker, once a minute -> coverage -> meter (`homeostat.detect.coverage`, `…entities_absent`). O(series): not per tick.

import type { EntityTable } from './entities.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, STATE, U32, U8, U8_STRIDE } from './record.ts'
import type { SeriesTable } from './series-table.ts'

/** A series is heard while its last value is so many of its intervals behind the newest of its entity, or this long. */
const HEARD_INTERVALS = 3
const HEARD_MS_MIN = 30_000

export interface Coverage {
  /** Series with a baseline whose entity was not removed. */
  series: number
  /** Of those, the ones that still report, of entities that are not absent. */
  heard: number
  entities: number
  entitiesAbsent: number
}

/** Adds a scorer's series and entities to `total`. */
export function addCoverage(total: Coverage, { table, entities }: { table: SeriesTable; entities: EntityTable }): void {
  for (const { isGone, absentSinceMs } of entities.all) {
    if (isGone) continue
    total.entities++
    if (absentSinceMs !== 0) total.entitiesAbsent++
  }
  for (const { u8, u32, f32, f64, used } of table.pages) {
    for (let row = 0; row < used; row++) {
      const state = u8[row * U8_STRIDE + U8.state]
      if (state !== STATE.normal && state !== STATE.open) continue
      const { isGone, absentSinceMs, maxEventMs } = entities.all[u32[row * F32_STRIDE + U32.entity]!]!
      if (isGone) continue
      total.series++
      const behindMs = maxEventMs - f64[row * F64_STRIDE + F64.lastTimeMs]!
      if (absentSinceMs === 0 && behindMs <= Math.max(HEARD_MS_MIN, HEARD_INTERVALS * f32[row * F32_STRIDE + F32.intervalMs]!)) total.heard++
    }
  }
}
