// The anomaly of a static rule: the operator's threshold as band, the adaptive baseline as context.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { anomalyId } from '../../schemas/ids.ts'
import { judgeRule, type RuleState, type StaticRule } from '../rules/static-rule.ts'
import type { EntityState } from './entities.ts'
import { formatDuration, formatTime, formatValue } from './format.ts'
import type { SeriesTable } from './series-table.ts'
import { identity, judgement, seriesName, type Telling, type Told } from './telling.ts'

/** Shows a value to the rules of its series. @returns anomalies to tell */
export function judgeRules(told: Told, states: readonly RuleState[], series: number, value: number, timeMs: number, detectedAtMs: number): Anomaly[] {
  const anomalies: Anomaly[] = []
  for (const state of states) {
    const wasSinceMs = state.sinceMs
    const change = judgeRule(state, value, timeMs)
    if (change === 'nothing') continue
    const isOpening = change === 'opened'
    if (!isOpening) state.sinceMs = 0
    const { table, settings } = told
    anomalies.push(
      tellRule(table, series, told.entities.all[table.entityOf(series)]!, state.rule, {
        status: isOpening ? 'open' : 'close',
        value,
        sinceMs: isOpening ? state.sinceMs : wasSinceMs,
        observedAtMs: timeMs,
        detectedAtMs,
        judgement: judgement(table, series, value, settings)
      })
    )
  }
  return anomalies
}

/** @param telling the rule's own since, the value, and the judgement of the series' baseline */
function tellRule(table: SeriesTable, series: number, entity: EntityState, rule: StaticRule, telling: Telling): Anomaly {
  const descriptor = table.descriptorOf(series)
  const of = identity(table, series, entity)
  const detector = `rule:${rule.name}`
  const direction = rule.above !== undefined && telling.value > rule.above ? 'above' : rule.below !== undefined ? 'below' : 'above'
  const text = (value: number): string => formatValue(value, descriptor.unit, descriptor.rate)
  const limit = direction === 'above' ? rule.above! : rule.below!
  const subject = `${seriesName(descriptor, of.attributes)} of ${entity.entity}`
  const held = rule.for > 0 ? ` for ${formatDuration(telling.observedAtMs - telling.sinceMs)}` : ''
  return {
    id: anomalyId(of.series, detector, telling.sinceMs),
    status: telling.status,
    detector,
    ...of,
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
