// What the tiers above the base know of a series and of an entity: for `homeostat detectors explain`.

import type { EntityState } from './entities.ts'
import { SCALAR } from './multivariate/entity-state.ts'
import { isReady } from './multivariate/update.ts'
import { F32_STRIDE, U32 } from './rich/page.ts'
import { lastScore, RICH_READY_POINTS } from './rich/rich.ts'
import { IMPORTANCE } from './rich/tier.ts'
import type { Scorer } from './scorer.ts'

export interface RichExplanation {
  /** Why it has a slot: `key` (requests, errors, durations, named in rules), `troubled` (was anomalous), `ordinary` (there was room). */
  importance: 'ordinary' | 'troubled' | 'key'
  /** Rows of a minute or more that it learned, and that it lacks until every part judges. */
  rows: number
  rowsMissing: number
  /** Of the last row. */
  score: number
  threshold: number
  /** It is a column of its entity's model. */
  isColumn: boolean
}

/** The model of an entity: its metrics together. */
export interface ModelExplanation {
  columns: number
  rows: number
  ready: boolean
  score: number
  threshold: number
  bytes: number
}

const IMPORTANCE_NAMES: Readonly<Record<number, RichExplanation['importance']>> = {
  [IMPORTANCE.ordinary]: 'ordinary',
  [IMPORTANCE.troubled]: 'troubled',
  [IMPORTANCE.key]: 'key'
}

/** @returns null when the series has no slot of the rich tier */
export function explainRich({ tiers, settings }: Pick<Scorer, 'tiers' | 'settings'>, series: number): RichExplanation | null {
  const { rich, models } = tiers
  const slot = rich.slotOf(series)
  if (slot < 0) return null
  const rows = rich.page(slot).u32[rich.row(slot) * F32_STRIDE + U32.points]!
  return {
    importance: IMPORTANCE_NAMES[rich.importanceOf(slot)]!,
    rows,
    rowsMissing: Math.max(0, RICH_READY_POINTS - rows),
    score: lastScore(rich.page(slot), rich.row(slot)),
    threshold: settings.noveltyThreshold,
    isColumn: models.isColumn(series)
  }
}

/** @returns null when the entity has no model */
export function explainModel({ tiers, settings }: Pick<Scorer, 'tiers' | 'settings'>, state: EntityState): ModelExplanation | null {
  const model = tiers.models.modelOf(state.index)
  if (model === undefined) return null
  return {
    columns: model.columns.length,
    rows: model.state.scalars[SCALAR.rows]!,
    ready: isReady(model.state),
    score: model.state.scalars[SCALAR.score]!,
    threshold: settings.entityThreshold,
    bytes: model.state.buffer.byteLength
  }
}
