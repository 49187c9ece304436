// For how long series were judged, by metric: what the number of alarms of a replay is divided by.
//
// Flow: replay (once a step of its clock) -> exposure -> evaluate.ts, tune.ts. Warm-up and silence do not count.

import type { Config } from '../../schemas/config.ts'
import type { MetricClassName } from '../score/metric-class.ts'
import { isReady } from '../score/multivariate/update.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, FLAG, STATE, U32, U8, U8_STRIDE } from '../score/record.ts'
import type { Scorer } from '../score/scorer.ts'

/** Time is counted in steps of this. */
export const EXPOSURE_STEP_MS = 60_000
/** A series without a point for so many of its intervals is not being judged. */
const EXPOSURE_INTERVALS = 10
const DAY_MS = 86_400_000

export interface MetricExposure {
  metric: string
  class: MetricClassName
  /** It says how users fare, or is named where a decision is made. */
  isKey: boolean
  series: number
  /** Of them those that the rich tier would watch if it had memory left, at the end. */
  seriesUnwatched: number
  /** Days for which its series were judged, summed over series. */
  seriesDays: number
  /** Days for which at least one was. */
  days: number
}

export interface Exposure {
  /** Counts the step that ends at `nowMs`. O(series). */
  add(nowMs: number, stepMs: number): void
  readonly seriesDays: number
  /** Days for which models of entities judged, summed over entities. */
  readonly entityDays: number
  /** By metric, in the order of their names. */
  byMetric(): MetricExposure[]
}

/** @param fromMs steps that end before or at this are learning, and do not count */
export function openExposure({ table, tiers, entities }: Pick<Scorer, 'table' | 'tiers' | 'entities'>, fromMs = 0): Exposure {
  /** By descriptor. */
  const seriesMs: number[] = []
  const someMs: number[] = []
  const lastStep: number[] = []
  let allMs = 0
  let entityMs = 0

  function addModels(nowMs: number, stepMs: number): void {
    for (const model of tiers.models.models) {
      if (model !== undefined && isReady(model.state) && nowMs - entities.all[model.entity]!.maxEventMs < EXPOSURE_INTERVALS * EXPOSURE_STEP_MS)
        entityMs += stepMs
    }
  }

  return {
    add(nowMs, stepMs) {
      if (nowMs <= fromMs) return
      for (const { u8, u32, f32, f64, used } of table.pages) {
        for (let row = 0; row < used; row++) {
          const state = u8[row * U8_STRIDE + U8.state]
          if (state !== STATE.normal && state !== STATE.open) continue
          const patienceMs = Math.max(EXPOSURE_STEP_MS, EXPOSURE_INTERVALS * f32[row * F32_STRIDE + F32.intervalMs]!)
          if (nowMs - f64[row * F64_STRIDE + F64.lastTimeMs]! >= patienceMs) continue
          const id = u32[row * F32_STRIDE + U32.descriptor]!
          seriesMs[id] = (seriesMs[id] ?? 0) + stepMs
          allMs += stepMs
          if (lastStep[id] === nowMs) continue
          lastStep[id] = nowMs
          someMs[id] = (someMs[id] ?? 0) + stepMs
        }
      }
      addModels(nowMs, stepMs)
    },
    get seriesDays() {
      return allMs / DAY_MS
    },
    get entityDays() {
      return entityMs / DAY_MS
    },
    byMetric() {
      const found = new Map<string, MetricExposure>()
      for (let id = 0; id < table.descriptors.count; id++) {
        if (seriesMs[id] === undefined) continue
        const { name, class: kind, isKey } = table.descriptors.get(id)
        const known = found.get(name) ?? { metric: name, class: kind.name, isKey, series: 0, seriesUnwatched: 0, seriesDays: 0, days: 0 }
        // Statistics of one histogram are judged at the same time.
        found.set(name, {
          ...known,
          isKey: known.isKey || isKey,
          seriesDays: known.seriesDays + seriesMs[id]! / DAY_MS,
          days: Math.max(known.days, someMs[id]! / DAY_MS)
        })
      }
      for (const { u8, u32, used } of table.pages) {
        for (let row = 0; row < used; row++) {
          const state = u8[row * U8_STRIDE + U8.state]
          const { name, above, below } = table.descriptors.get(u32[row * F32_STRIDE + U32.descriptor]!)
          const of = found.get(name)
          if (of === undefined || (state !== STATE.normal && state !== STATE.open)) continue
          of.series++
          if ((above || below) && (u8[row * U8_STRIDE + U8.flags]! & FLAG.watched) === 0) of.seriesUnwatched++
        }
      }
      return [...found.values()].sort((a, b) => (a.metric < b.metric ? -1 : 1))
    }
  }
}

/** What a metric and detector was configured to alarm at most, a series (or entity) and day; null: no rate is configured for it. */
export function configuredRate(detector: string, detect: Pick<Config['detect'], 'falseAlarmsPerSeriesDay' | 'novelty' | 'multivariate'>): number | null {
  switch (detector) {
    case 'adaptive':
      return detect.falseAlarmsPerSeriesDay
    case 'novelty':
      return detect.novelty.falseAlarmsPerSeriesDay
    case 'multivariate':
      return detect.multivariate.falseAlarmsPerEntityDay
    default:
      return null
  }
}
