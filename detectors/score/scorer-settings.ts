// What a scorer is told (made once from the configuration, settings.ts) and what it counts.

import type { AbsenceSettings } from '../rules/absence.ts'
import type { StaticRule } from '../rules/static-rule.ts'
import type { MetricRule } from './descriptor.ts'
import type { LevelSettings } from './level.ts'
import type { EntitySettings } from './telling-entity.ts'
import type { NoveltySettings } from './telling-novelty.ts'

export interface ScorerSettings extends LevelSettings, NoveltySettings, EntitySettings {
  windowMs: number
  latenessMs: number
  absence: AbsenceSettings
  ignore: readonly RegExp[]
  /** Least share of the expected value that matters, where `metrics` does not say otherwise. */
  deviationMinRelative: number
  /** What the user says of metrics; the first that matches counts. */
  metrics: readonly MetricRule[]
  /** Metrics whose series are given a slot of the rich tier before others. */
  important: readonly RegExp[]
  rules: readonly StaticRule[]
}

/** What became of points; every one is counted once, `scored` counts values (a histogram point gives none or two). */
export interface ScorerStats {
  points: number
  scored: number
  late: number
  duplicate: number
  future: number
  refused: number
  unusable: number
  anomalies: number
}
