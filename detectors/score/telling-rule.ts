// The anomaly of a static rule: the operator's threshold as band, the adaptive baseline as context.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { anomalyId } from '../../schemas/ids.ts'
import type { StaticRule } from '../rules/static-rule.ts'
import type { EntityState } from './entities.ts'
import { formatDuration, formatTime, formatValue } from './format.ts'
import type { SeriesTable } from './series-table.ts'
import { seriesId, seriesName, type Telling } from './telling.ts'

/** @param telling the rule's own since, the value, and the judgement of the series' baseline */
export function tellRule(table: SeriesTable, series: number, entity: EntityState, rule: StaticRule, telling: Telling): Anomaly {
  const descriptor = table.descriptorOf(series)
  const attributes = table.attributesOf(series)
  const id = seriesId(entity, descriptor, attributes)
  const detector = `rule:${rule.name}`
  const direction = rule.above !== undefined && telling.value > rule.above ? 'above' : rule.below !== undefined ? 'below' : 'above'
  const text = (value: number): string => formatValue(value, descriptor.unit, descriptor.rate)
  const limit = direction === 'above' ? rule.above! : rule.below!
  const subject = `${seriesName(descriptor, attributes)} of ${entity.entity}`
  const held = rule.for > 0 ? ` for ${formatDuration(telling.observedAtMs - telling.sinceMs)}` : ''
  return {
    id: anomalyId(id, detector, telling.sinceMs),
    status: telling.status,
    detector,
    environment: entity.environment,
    entity: entity.entity,
    service: entity.service,
    signal: descriptor.signal,
    metric: descriptor.name,
    unit: descriptor.unit,
    attributes,
    series: id,
    severity: rule.severity,
    direction,
    observed: telling.value,
    expected: telling.judgement.expected,
    lower: rule.below ?? null,
    upper: rule.above ?? null,
    score: telling.judgement.score,
    threshold: telling.judgement.threshold,
    samples: telling.judgement.samples,
    sinceMs: telling.sinceMs,
    observedAtMs: telling.observedAtMs,
    detectedAtMs: telling.detectedAtMs,
    shadow: false,
    reason:
      telling.status === 'close'
        ? `${subject} is ${text(telling.value)} again, so rule ${rule.name} is satisfied.`
        : `${subject} is ${text(telling.value)}, ${direction} the ${text(limit)} of rule ${rule.name}${held}, since ${formatTime(telling.sinceMs)}.`
  }
}
