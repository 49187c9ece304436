// What the detectors know about the series of an entity, for `homeostat explain` and for tests.

import type { EntityTable } from './entities.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, STATE, U32, U8, U8_STRIDE } from './record.ts'
import type { SeriesTable } from './series-table.ts'
import type { TailTable } from './tail.ts'
import { judgement } from './telling.ts'

export interface SeriesExplanation {
  metric: string
  unit: string
  attributes: Record<string, string>
  class: string
  state: 'warmup' | 'normal' | 'open' | 'ignored'
  samples: number
  intervalMs: number
  lastTimeMs: number
  lastValue: number
  expected: number
  lower: number
  upper: number
  score: number
  threshold: number
}

const STATE_NAMES: Readonly<Record<number, SeriesExplanation['state']>> = {
  [STATE.warmup]: 'warmup',
  [STATE.normal]: 'normal',
  [STATE.open]: 'open',
  [STATE.ignored]: 'ignored'
}

/** One row per series of `entity` that was judged at least once, in the order of first sight. */
export function explainSeries(
  table: SeriesTable,
  entities: EntityTable,
  entity: string,
  settings: { tail: TailTable; deviationMinRelative: number }
): SeriesExplanation[] {
  const rows: SeriesExplanation[] = []
  for (const state of entities.all) {
    if (state.entity !== entity) continue
    for (let next = state.firstSeries; next !== 0; ) {
      const series = next - 1
      const page = table.page(series)
      const row = table.row(series)
      const base = row * F32_STRIDE
      next = page.u32[base + U32.nextOfEntity]!
      if (page.u32[base + U32.samples] === 0) continue
      const descriptor = table.descriptorOf(series)
      const lastValue = page.f32[base + F32.lastValue]!
      const judged = judgement(table, series, lastValue, settings.tail, settings.deviationMinRelative)
      rows.push({
        metric: descriptor.name,
        unit: descriptor.unit,
        attributes: table.attributesOf(series),
        class: descriptor.class.name,
        state: STATE_NAMES[page.u8[row * U8_STRIDE + U8.state]!]!,
        samples: judged.samples,
        intervalMs: page.f32[base + F32.intervalMs]!,
        lastTimeMs: page.f64[row * F64_STRIDE + F64.lastTimeMs]!,
        lastValue,
        expected: judged.expected,
        lower: judged.lower,
        upper: judged.upper,
        score: judged.score,
        threshold: judged.threshold
      })
    }
  }
  return rows.reverse()
}
