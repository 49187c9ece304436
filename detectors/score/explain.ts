// What the detectors know about the series of an entity, and of all: for `homeostat detectors explain` and for tests.
//
// Read-only and rare: objects and strings are fine here. O(series of the entity), the overview O(series).

import { absenceLimitMs } from '../rules/absence.ts'
import { entityService } from '../../schemas/entity.ts'
import type { EntityState } from './entities.ts'
import type { HistogramState } from './histogram.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, RECORD_BYTES, STATE, U32, U8, U8_STRIDE } from './record.ts'
import type { Scorer } from './scorer.ts'
import { sharesOf } from './budget.ts'
import { explainModel, explainRich, type ModelExplanation, type RichExplanation } from './explain-tiers.ts'
import { SLOT_BYTES } from './rich/page.ts'
import { ADAPTIVE, judgement } from './telling.ts'
import { MULTIVARIATE } from './telling-entity.ts'
import { NOVELTY } from './telling-novelty.ts'

export interface SeriesExplanation {
  entity: string
  environment: string
  metric: string
  unit: string
  attributes: Record<string, string>
  class: string
  /** Values are the unit per second. */
  rate: boolean
  state: SeriesState
  /** What judges it. */
  detectors: string[]
  samples: number
  /** Until it is judged; 0: ready. */
  samplesMissing: number
  /** Usual distance of its points; 0 before the second. */
  intervalMs: number
  /** How far its last value lies behind the newest of its entity: longer than its interval is a gap. */
  behindMs: number
  lastTimeMs: number
  lastValue: number
  expected: number
  lower: number
  upper: number
  score: number
  threshold: number
  /** Its record, its part of a histogram's buckets, its slot of the rich tier. Index and texts are shared by all (overview). */
  bytes: number
  /** The rich tier on it; null: it has no slot. */
  rich: RichExplanation | null
}

export type SeriesState = 'warmup' | 'normal' | 'open' | 'ignored'

/** How an entity is listened to. */
export interface EntityExplanation {
  entity: string
  environment: string
  series: number
  lastSeenMs: number
  /** Usual time between two hearings, ms. */
  usualGapMs: number
  /** Silence from which it counts as absent; null: its interval is not learned. */
  absentAfterMs: number | null
  /** null: present. */
  absentSinceMs: number | null
  /** null: too few metrics, known for too short, or no memory left. */
  model: ModelExplanation | null
}

export interface TierOverview {
  tier: 'base' | 'rich' | 'multivariate'
  /** What it counts. */
  of: 'series' | 'entities'
  count: number
  bytes: number
  bytesEach: number
  /** Its share of detect.memoryMax. */
  bytesMax: number
}

export interface DetectorsOverview {
  series: number
  /** detect.memoryMax. */
  memoryMax: number
  seriesRefused: number
  entities: number
  byState: Record<SeriesState, number>
  tiers: TierOverview[]
  /** Those with the most series, at most ENTITIES_TOLD_MAX. */
  largest: EntityExplanation[]
}

export const ENTITIES_TOLD_MAX = 20
const TIER_NAMES = ['base', 'rich', 'multivariate'] as const
const STATE_NAMES: Readonly<Record<number, SeriesState>> = {
  [STATE.warmup]: 'warmup',
  [STATE.normal]: 'normal',
  [STATE.open]: 'open',
  [STATE.ignored]: 'ignored'
}

type Explained = Pick<Scorer, 'table' | 'entities' | 'settings' | 'registry' | 'tiers'>

/**
 * One row per series that was judged at least once or is ignored, in the order of first sight.
 * @param entity one without an instance (`shop/orders`) means all of its instances
 */
export function explainSeries(scorer: Explained, entity: string): SeriesExplanation[] {
  const histograms = histogramBytes(scorer)
  return scorer.entities.all
    .filter(state => isOf(state, entity))
    .flatMap(state => {
      const rows: SeriesExplanation[] = []
      for (const series of seriesOf(scorer, state)) {
        const row = explainOne(scorer, state, series, histograms.get(series) ?? 0)
        if (row.samples > 0 || row.state === 'ignored') rows.push(row)
      }
      return rows.reverse()
    })
}

/** How the entities of that name are listened to. */
export function explainEntities(scorer: Explained, entity: string): EntityExplanation[] {
  return scorer.entities.all.filter(state => isOf(state, entity)).map(state => explainEntity(scorer, state))
}

/** Totals over the scorers of a process. */
export function overviewOf(scorers: readonly Explained[], limits: { memoryMax: number; seriesRefused: number }): DetectorsOverview {
  const byState: Record<SeriesState, number> = { warmup: 0, normal: 0, open: 0, ignored: 0 }
  let series = 0
  const used = { base: { count: 0, bytes: 0 }, rich: { count: 0, bytes: 0 }, multivariate: { count: 0, bytes: 0 } }
  for (const scorer of scorers) {
    series += scorer.table.count
    used.base.bytes += scorer.table.bytes
    used.rich.count += scorer.tiers.rich.size
    used.rich.bytes += scorer.tiers.rich.bytes
    used.multivariate.count += scorer.tiers.models.size
    used.multivariate.bytes += scorer.tiers.models.bytes
    for (const { u8, used } of scorer.table.pages) for (let row = 0; row < used; row++) byState[STATE_NAMES[u8[row * U8_STRIDE + U8.state]!]!]++
    for (const more of histogramBytes(scorer).values()) used.base.bytes += more
  }
  used.base.count = series
  const shares = sharesOf(limits.memoryMax)
  const entities = scorers.flatMap(scorer => scorer.entities.all.map(state => explainEntity(scorer, state)))
  return {
    series,
    ...limits,
    entities: entities.length,
    byState,
    tiers: TIER_NAMES.map(tier => ({
      ...{ tier, of: tier === 'multivariate' ? 'entities' : 'series', ...used[tier] },
      ...{ bytesEach: used[tier].count === 0 ? 0 : Math.round(used[tier].bytes / used[tier].count), bytesMax: shares[tier] }
    })),
    largest: entities.sort((a, b) => b.series - a.series || (a.entity < b.entity ? -1 : 1)).slice(0, ENTITIES_TOLD_MAX)
  }
}

function explainOne(scorer: Explained, state: EntityState, series: number, moreBytes: number): SeriesExplanation {
  const { table, settings, registry } = scorer
  const page = table.page(series)
  const row = table.row(series)
  const base = row * F32_STRIDE
  const descriptor = table.descriptorOf(series)
  const lastTimeMs = page.f64[row * F64_STRIDE + F64.lastTimeMs]!
  const lastValue = page.f32[base + F32.lastValue]!
  const judged = judgement(table, series, lastValue, settings)
  const name = STATE_NAMES[page.u8[row * U8_STRIDE + U8.state]!]!
  const rich = explainRich(scorer, series)
  return {
    entity: state.entity,
    environment: state.environment,
    metric: descriptor.name,
    unit: descriptor.unit,
    attributes: table.attributesOf(series),
    class: descriptor.class.name,
    rate: descriptor.rate,
    state: name,
    detectors:
      name === 'ignored'
        ? []
        : [
            ADAPTIVE,
            ...(rich === null ? [] : [NOVELTY]),
            ...(rich?.isColumn ? [MULTIVARIATE] : []),
            ...registry.rulesOf(series).map(({ rule }) => `rule:${rule.name}`)
          ],
    samples: judged.samples,
    samplesMissing: name === 'warmup' ? Math.max(0, settings.warmupPoints - judged.samples) : 0,
    intervalMs: judged.intervalMs,
    behindMs: Math.max(0, state.maxEventMs - lastTimeMs),
    lastTimeMs,
    lastValue,
    expected: judged.expected,
    lower: judged.lower,
    upper: judged.upper,
    score: judged.score,
    threshold: judged.threshold,
    bytes: RECORD_BYTES + moreBytes + (rich === null ? 0 : SLOT_BYTES),
    rich
  }
}

function explainEntity(scorer: Explained, state: EntityState): EntityExplanation {
  const limitMs = absenceLimitMs(state, scorer.settings.absence)
  let series = 0
  for (const _ of seriesOf(scorer, state)) series++
  return {
    entity: state.entity,
    environment: state.environment,
    series,
    lastSeenMs: state.lastSeenMs,
    usualGapMs: state.gapMs,
    absentAfterMs: Number.isFinite(limitMs) ? limitMs : null,
    absentSinceMs: state.absentSinceMs === 0 || state.isGone ? null : state.absentSinceMs,
    model: explainModel(scorer, state)
  }
}

/** Newest first: they are chained that way. */
function* seriesOf({ table }: Explained, state: EntityState): Generator<number> {
  for (let next = state.firstSeries; next !== 0; ) {
    const series = next - 1
    yield series
    next = table.page(series).u32[table.row(series) * F32_STRIDE + U32.nextOfEntity]!
  }
}

const isOf = (state: EntityState, entity: string): boolean => state.entity === entity || (!entity.includes('@') && entityService(state.entity) === entity)

/** Buckets of histograms, on the account of their mean, which every histogram has. */
function histogramBytes({ registry }: Explained): Map<number, number> {
  return new Map(registry.histograms.map(state => [state.mean, bytesOf(state)]))
}

function bytesOf({ open, next, previous }: HistogramState): number {
  let bytes = 0
  for (const distribution of [open, next, previous])
    bytes += distribution === null ? 0 : distribution.bounds.byteLength + distribution.buckets.byteLength + (distribution.exponential?.counts.byteLength ?? 0)
  return bytes
}
