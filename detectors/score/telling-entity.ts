// The anomaly of an entity as a whole: which of its metrics do not fit the others, and what they should have been.
//
// Flow: tiers (a row of the entity alarmed or is calm again) -> telling-entity -> anomaly `multivariate`. Rare path. It speaks of the
// metric that contributed most, so that readers and diagnosis have something to look at, and names the others.

import type { Anomaly, Severity } from '../../schemas/anomaly.ts'
import { anomalyId, derivedId } from '../../schemas/ids.ts'
import { formatTime, formatValue } from './format.ts'
import { type Contribution, contributions } from './multivariate/contributions.ts'
import { SCALAR } from './multivariate/entity-state.ts'
import type { Model } from './multivariate/tier.ts'
import { identity, rarity, seriesName, type Told } from './telling.ts'

export const MULTIVARIATE = 'multivariate'

const CONTRIBUTORS_TOLD = 3
/** A contribution below this share is not worth a word beside larger ones. */
const SHARE_TOLD_MIN = 0.1
const SEVERITIES: readonly Severity[] = ['info', 'warning']

export interface EntitySettings {
  /** Of the score, by detect.multivariate.falseAlarmsPerEntityDay. */
  entityThreshold: number
  /** Of the score, by detect.falseAlarmsPerSeriesDay: from here it is worth an incident. */
  incidentThreshold: number
}

/**
 * An alarm of an entity's model that opened or goes on.
 * @returns undefined when it is no worse than what was told
 */
export function tellEntity(told: Told & { settings: EntitySettings }, model: Model, timeMs: number, detectedAtMs: number): Anomaly | undefined {
  const score = model.state.scalars[SCALAR.score]!
  const severity: Severity = score < told.settings.incidentThreshold ? 'info' : 'warning'
  const before = model.told
  if (before > SEVERITIES.indexOf(severity)) return undefined
  model.told = 1 + SEVERITIES.indexOf(severity)
  model.isRowDirty = true
  const found = contributions(model.state, CONTRIBUTORS_TOLD)
  const entity = told.entities.all[model.entity]!
  const parts = found
    .filter(({ share }, index) => index === 0 || share >= SHARE_TOLD_MIN)
    .map(one => partText(told, model, one))
    .join('; ')
  return anomaly(told, model, found[0], {
    ...{ status: before === 0 ? 'open' : 'update', severity, score, timeMs, detectedAtMs },
    reason:
      `The ${model.columns.length} metrics of ${entity.entity} together are unlike anything seen of it, since ${formatTime(model.sinceMs)}: ` +
      `${parts === '' ? 'no single metric stands out' : parts}; ${rarity(score, 'a normal entity')}.`
  })
}

/** The end of an entity's anomaly that was told. */
export function closeEntity(told: Told & { settings: EntitySettings }, model: Model, timeMs: number, detectedAtMs: number): Anomaly | undefined {
  const severity = SEVERITIES[model.told - 1]
  if (severity === undefined) return undefined
  const entity = told.entities.all[model.entity]!
  const closing = anomaly(told, model, contributions(model.state, 1)[0], {
    ...{ status: 'close', severity, score: model.state.scalars[SCALAR.score]!, timeMs, detectedAtMs },
    reason: `The ${model.columns.length} metrics of ${entity.entity} fit together again.`
  })
  model.told = 0
  model.sinceMs = 0
  model.isRowDirty = true
  return closing
}

interface Telling {
  status: Anomaly['status']
  severity: Severity
  score: number
  timeMs: number
  detectedAtMs: number
  reason: string
}

function anomaly(told: Told & { settings: EntitySettings }, model: Model, top: Contribution | undefined, telling: Telling): Anomaly {
  const entity = told.entities.all[model.entity]!
  const id = derivedId('entity', entity.environment, entity.entity).slice(0, 16)
  const of = identity(told.table, model.columns[top?.metric ?? 0]!, entity)
  return {
    id: anomalyId(id, MULTIVARIATE, model.sinceMs),
    status: telling.status,
    detector: MULTIVARIATE,
    ...of,
    series: id,
    severity: telling.severity,
    direction: (top?.residual ?? 0) < 0 ? 'below' : 'above',
    observed: top?.value ?? null,
    expected: top?.expected ?? null,
    ...{ lower: null, upper: null },
    ...{ score: telling.score, threshold: told.settings.entityThreshold, samples: model.state.scalars[SCALAR.rows]! },
    ...{ sinceMs: model.sinceMs, observedAtMs: telling.timeMs, detectedAtMs: telling.detectedAtMs, shadow: false },
    reason: telling.reason
  }
}

/** `p95 of http.server.request.duration is 1.2 s, where the others let expect 80 ms (64 % of the deviation)` */
function partText({ table }: Told, model: Model, { metric, value, expected, share }: Contribution): string {
  const series = model.columns[metric]!
  const descriptor = table.descriptorOf(series)
  const text = (number: number): string => formatValue(number, descriptor.unit, descriptor.rate)
  return `${seriesName(descriptor, table.attributesOf(series))} is ${text(value)} where the others let expect ${text(expected)} (${Math.round(share * 100)} % of the deviation)`
}
