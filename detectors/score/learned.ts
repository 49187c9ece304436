// Learned detectors on live series: one window per entity, the same windows in a replay, anomalies `model:<name>`.
//
// Flow: scorer (event time of an entity passes a window's end) -> learned -> LearnedDetector (models/) -> anomalies.

import type { Anomaly } from '../../schemas/anomaly.ts'
import { anomalyId, derivedId } from '../../schemas/ids.ts'
import type { Descriptor } from './descriptor.ts'
import type { EntityState } from './entities.ts'
import { formatTime, formatValue } from './format.ts'
import { scaleOf } from './level.ts'
import type { EntityWindow, LearnedDetector, SeriesReading } from './model-hook.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, STATE, U32, U8, U8_STRIDE } from './record.ts'
import type { SeriesTable } from './series-table.ts'

/** Series of one entity that a model sees; an entity with more is not what models are trained on. */
const SERIES_MAX = 2_000
/** A reading older than this many windows is no longer the present. */
const STALE_WINDOWS = 6
/** The probability must fall to this share of the threshold before the anomaly closes. */
const EXIT_SHARE = 0.8
const CONTRIBUTORS_TOLD = 3
const PROBABILITY_REST_MIN = 1e-12

/** Shows the ended window to each model. @returns anomalies to tell; empty on the first call, which only sets the clock */
export function judgeWithModels(
  models: readonly LearnedDetector[],
  entity: EntityState,
  table: SeriesTable,
  settings: { windowMs: number },
  detectedAtMs: number
): Anomaly[] {
  const { windowMs } = settings
  const toMs = Math.floor(entity.maxEventMs / windowMs) * windowMs
  const isFirst = entity.modelWindowEndMs === 0
  entity.modelWindowEndMs = toMs + windowMs
  if (isFirst) return []
  const window: EntityWindow = {
    environment: entity.environment,
    entity: entity.entity,
    service: entity.service,
    fromMs: toMs - windowMs,
    toMs,
    values: readings(entity, table, toMs - STALE_WINDOWS * windowMs)
  }
  const anomalies: Anomaly[] = []
  for (const model of models) {
    const probability = model.onEntityWindow(window)
    if (probability === undefined) continue
    const sinceMs = entity.openModels[model.name]
    if (sinceMs === undefined && probability >= model.threshold) {
      entity.openModels[model.name] = toMs
      anomalies.push(tell(model, entity, window, probability, 'open', toMs, detectedAtMs))
    } else if (sinceMs !== undefined && probability < EXIT_SHARE * model.threshold) {
      delete entity.openModels[model.name]
      anomalies.push(tell(model, entity, window, probability, 'close', sinceMs, detectedAtMs))
    }
  }
  return anomalies
}

/** Latest readings of the entity's series by `metric|statistic`, those that differ only in attributes put together. */
function readings(entity: EntityState, table: SeriesTable, notBeforeMs: number): Map<string, SeriesReading> {
  const values = new Map<string, SeriesReading>()
  let next = entity.firstSeries
  for (let count = 0; next !== 0 && count < SERIES_MAX; count++) {
    const series = next - 1
    const page = table.page(series)
    const row = table.row(series)
    const base = row * F32_STRIDE
    next = page.u32[base + U32.nextOfEntity]!
    const state = page.u8[row * U8_STRIDE + U8.state]!
    if (state === STATE.ignored || page.u32[base + U32.samples] === 0 || page.f64[row * F64_STRIDE + F64.lastTimeMs]! < notBeforeMs) continue
    const descriptor = table.descriptorOf(series)
    const name = `${descriptor.name}|${statisticOf(descriptor)}`
    const level = page.f64[row * F64_STRIDE + F64.level]!
    const value = page.f32[base + F32.lastValue]!
    const zscore = state === STATE.warmup ? 0 : (value - level) / scaleOf(page.f32[base + F32.spread]!, level, descriptor)
    const known = values.get(name)
    if (known === undefined) values.set(name, { value, zscore, seriesCount: 1 })
    else {
      known.seriesCount++
      known.value = descriptor.rate ? known.value + value : known.value + (value - known.value) / known.seriesCount
      if (Math.abs(zscore) > Math.abs(known.zscore)) known.zscore = zscore
    }
  }
  return values
}

function statisticOf(descriptor: Descriptor): string {
  if (descriptor.stat !== '') return descriptor.stat
  return descriptor.rate ? 'rate' : 'value'
}

function tell(
  model: LearnedDetector,
  entity: EntityState,
  window: EntityWindow,
  probability: number,
  status: 'open' | 'close',
  sinceMs: number,
  detectedAtMs: number
): Anomaly {
  const series = derivedId('entity', entity.environment, entity.entity).slice(0, 16)
  const detector = `model:${model.name}`
  const share = (value: number): string => formatValue(value, '1', false)
  return {
    id: anomalyId(series, detector, sinceMs),
    status,
    detector,
    environment: entity.environment,
    entity: entity.entity,
    service: entity.service,
    signal: 'metric',
    metric: 'failure_probability',
    unit: '1',
    attributes: { model: model.name, version: model.version },
    series,
    severity: 'warning',
    direction: 'above',
    observed: probability,
    expected: null,
    lower: null,
    upper: model.threshold,
    score: -Math.log10(Math.max(PROBABILITY_REST_MIN, 1 - probability)),
    threshold: -Math.log10(Math.max(PROBABILITY_REST_MIN, 1 - model.threshold)),
    samples: window.values.size,
    sinceMs,
    observedAtMs: window.toMs,
    detectedAtMs,
    shadow: model.shadow,
    reason:
      status === 'close'
        ? `Model ${model.name} no longer expects that ${entity.entity} ${model.claim} (probability ${share(probability)}).`
        : `Model ${model.name} gives a probability of ${share(probability)} that ${entity.entity} ${model.claim} (it speaks up from ${share(model.threshold)}), ` +
          `as of ${formatTime(window.toMs)}${contributors(window)}.`
  }
}

function contributors(window: EntityWindow): string {
  const farthest = [...window.values].sort(([, a], [, b]) => Math.abs(b.zscore) - Math.abs(a.zscore)).slice(0, CONTRIBUTORS_TOLD)
  const told = farthest.filter(([, reading]) => Math.abs(reading.zscore) >= 2).map(([name]) => name.split('|')[0])
  return told.length === 0 ? '' : `; farthest from normal: ${told.join(', ')}`
}
