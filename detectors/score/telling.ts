// From a record to an Anomaly: the numbers it was judged by and one sentence that says what, how far, since when, how rare.
//
// Rare path (an anomaly opens, worsens or closes), so strings and objects are fine here. Ids are derived from what the
// series *is* (entity, metric, attributes), not from its keyed hash, so they repeat after a replay with another seed.

import type { Anomaly, Severity } from '../../schemas/anomaly.ts'
import { anomalyId, derivedId } from '../../schemas/ids.ts'
import type { Descriptor } from './descriptor.ts'
import type { EntityState, EntityTable } from './entities.ts'
import { formatTime, formatValue } from './format.ts'
import { scaleOf, VERDICT, type Verdict } from './level.ts'
import { severityOf } from './metric-class.ts'
import { F32, F32_STRIDE, F64, F64_STRIDE, FLAG, U32, U8, U8_STRIDE } from './record.ts'
import type { SeriesTable } from './series-table.ts'
import { daysBetweenAlarms, intervalStep, tailScore, type TailTable } from './tail.ts'

export const ADAPTIVE = 'adaptive'

/** What the level detector thinks of a value of a series, by the record as it is now. */
export interface Judgement {
  expected: number
  lower: number
  upper: number
  /** −log10 of the false alarms a day of points this far out: the scale of all detectors. Negative: usual, more than one a day. */
  score: number
  threshold: number
  direction: 'above' | 'below'
  severity: Severity
  /** Signed distance in scales. */
  zscore: number
  samples: number
  /** Usual distance of the series' points. */
  intervalMs: number
}

export interface JudgementSettings {
  tail: TailTable
  /** Points in a row that make an alarm. */
  enterPoints: number
}

/** The band and score of `value` against the series' present baseline. */
export function judgement(table: SeriesTable, series: number, value: number, { tail, enterPoints }: JudgementSettings): Judgement {
  const page = table.page(series)
  const row = table.row(series)
  const descriptor = table.descriptorOf(series)
  const base = row * F32_STRIDE
  const level = page.f64[row * F64_STRIDE + F64.level]!
  const scale = scaleOf(page.f32[base + F32.spread]!, level, descriptor)
  const step = intervalStep(page.f32[base + F32.intervalMs]!)
  const reach = tail.reach[step]!
  const limit = (side: number): number => page.f32[base + side]! + page.f32[base + side + 1]! * reach
  const least = Math.max(descriptor.deviationMin, descriptor.deviationMinRelative * Math.abs(level))
  const residual = value - level
  const direction = residual < 0 ? 'below' : 'above'
  const side = direction === 'below' ? F32.lower : F32.upper
  const distance = Math.abs(residual) / scale
  const halfBand = Math.max(limit(side) * scale, least)
  const intervalMs = page.f32[base + F32.intervalMs]!
  const perDay = (pointScore: number): number => Math.log10(daysBetweenAlarms(pointScore, Math.max(1, intervalMs), enterPoints))
  return {
    expected: level,
    lower: level - Math.max(limit(F32.lower) * scale, least),
    upper: level + Math.max(limit(F32.upper) * scale, least),
    score: perDay(tailScore(distance, page.f32[base + side]!, page.f32[base + side + 1]!)),
    threshold: perDay(tail.threshold[step]!),
    direction,
    severity: severityOf(descriptor.class, direction, Math.abs(residual) / halfBand, level === 0 ? Number.POSITIVE_INFINITY : Math.abs(residual / level)),
    zscore: residual / scale,
    samples: page.u32[base + U32.samples]!,
    intervalMs
  }
}

/** What telling needs of a scorer. */
export interface Told {
  table: SeriesTable
  entities: EntityTable
  settings: JudgementSettings
}

/**
 * The record of a verdict; undefined for an ongoing anomaly that did not get worse.
 * @param sinceMs onset as it was before the verdict (closing forgets it)
 */
export function tellVerdict(
  told: Told,
  series: number,
  verdict: Verdict,
  value: number,
  timeMs: number,
  sinceMs: number,
  detectedAtMs: number
): Anomaly | undefined {
  const { table, settings } = told
  const judged = judgement(table, series, value, settings)
  const known = openSeverity(table, series)
  if (verdict === VERDICT.ongoing && !isWorse(judged.severity, known)) return undefined
  const isClosing = verdict === VERDICT.closed || verdict === VERDICT.learned || verdict === VERDICT.lapsed
  const isOpening = verdict === VERDICT.opened
  if (!isClosing) setOpenSeverity(table, series, judged.severity)
  return tellAnomaly(table, series, told.entities.all[table.entityOf(series)]!, {
    status: isOpening ? 'open' : isClosing ? 'close' : 'update',
    value,
    sinceMs: isOpening ? table.page(series).f64[table.row(series) * F64_STRIDE + F64.onsetMs]! : sinceMs,
    observedAtMs: timeMs,
    detectedAtMs,
    judgement: judged,
    ...(isClosing ? { severity: known, ending: verdict } : {})
  })
}

/** Severity of the open anomaly, kept in the record so that only a worsening is told again. */
const SEVERITY_ORDER: readonly Severity[] = ['info', 'warning', 'critical']
function openSeverity(table: SeriesTable, series: number): Severity {
  return SEVERITY_ORDER[(table.page(series).u8[table.row(series) * U8_STRIDE + U8.flags]! & FLAG.severity) >> 1] ?? 'info'
}
function setOpenSeverity(table: SeriesTable, series: number, severity: Severity): void {
  const page = table.page(series)
  const at = table.row(series) * U8_STRIDE + U8.flags
  page.u8[at] = (page.u8[at]! & ~FLAG.severity) | (SEVERITY_ORDER.indexOf(severity) << 1)
}
const isWorse = (severity: Severity, than: Severity): boolean => SEVERITY_ORDER.indexOf(severity) > SEVERITY_ORDER.indexOf(than)

/** 16 hex digits that name the series by what it is. */
export function seriesId(entity: EntityState, descriptor: Descriptor, attributes: Readonly<Record<string, string>>): string {
  const pairs = Object.keys(attributes)
    .sort()
    .flatMap(key => [key, attributes[key]!])
  return derivedId('series', entity.environment, entity.entity, descriptor.name, descriptor.stat, ...pairs).slice(0, 16)
}

export interface Telling {
  status: Anomaly['status']
  value: number
  sinceMs: number
  observedAtMs: number
  detectedAtMs: number
  judgement: Judgement
  /** At `close`: the anomaly's severity; the judgement's else. */
  severity?: Severity
  /** At `close`: why. */
  ending?: Verdict
}

/** What an anomaly says about the series that it is of. */
export function identity(table: SeriesTable, series: number, entity: EntityState) {
  const descriptor = table.descriptorOf(series)
  const attributes = table.attributesOf(series)
  return {
    ...{ environment: entity.environment, entity: entity.entity, service: entity.service },
    ...{ signal: descriptor.signal, metric: descriptor.name, unit: descriptor.unit, attributes },
    series: seriesId(entity, descriptor, attributes)
  }
}

/** The anomaly record of the adaptive detector. */
function tellAnomaly(table: SeriesTable, series: number, entity: EntityState, telling: Telling): Anomaly {
  const of = identity(table, series, entity)
  const { judgement: judged, value } = telling
  return {
    id: anomalyId(of.series, ADAPTIVE, telling.sinceMs),
    status: telling.status,
    detector: ADAPTIVE,
    ...of,
    severity: telling.severity ?? judged.severity,
    direction: judged.direction,
    observed: value,
    expected: judged.expected,
    lower: judged.lower,
    upper: judged.upper,
    score: judged.score,
    threshold: judged.threshold,
    samples: judged.samples,
    sinceMs: telling.sinceMs,
    observedAtMs: telling.observedAtMs,
    detectedAtMs: telling.detectedAtMs,
    shadow: false,
    reason: reasonOf(entity, table.descriptorOf(series), of.attributes, telling)
  }
}

/** `p95 of http.server.request.duration (route /pay)` */
export function seriesName(descriptor: Descriptor, attributes: Readonly<Record<string, string>>): string {
  const shown = Object.entries(attributes)
    .filter(([key]) => key !== 'stat' && key !== 'template')
    .map(([key, value]) => `${key} ${value}`)
  const statistic = descriptor.stat === '' || descriptor.stat.startsWith('quantile') ? '' : `${descriptor.stat} of `
  return `${statistic}${descriptor.name}${shown.length === 0 ? '' : ` (${shown.join(', ')})`}`
}

function reasonOf(entity: EntityState, descriptor: Descriptor, attributes: Readonly<Record<string, string>>, telling: Telling): string {
  const { judgement: judged, value } = telling
  const text = (number: number): string => formatValue(number, descriptor.unit, descriptor.rate)
  const subject = `${seriesName(descriptor, attributes)} of ${entity.entity}`
  if (telling.status === 'close') {
    if (telling.ending === VERDICT.lapsed) {
      return `${subject} has had no value since ${formatTime(telling.observedAtMs)} (then ${text(value)}), while other telemetry goes on; it is no longer judged.`
    }
    return telling.ending === VERDICT.learned
      ? `${subject} has stayed at about ${text(value)} since ${formatTime(telling.sinceMs)}; that is now taken as its normal level.`
      : `${subject} is back at ${text(value)}, where ${text(judged.expected)} is expected.`
  }
  const band = `${text(Math.max(judged.lower, descriptor.above && judged.expected >= 0 ? 0 : judged.lower))} to ${text(judged.upper)}`
  return `${subject} is ${text(value)}, ${comparison(value, judged.expected)}the expected ${text(judged.expected)} (normal: ${band}), since ${formatTime(telling.sinceMs)}; ${rarity(judged.score)}.`
}

function comparison(value: number, expected: number): string {
  const factor = value / expected
  if (value === 0 && expected > 0) return 'down from '
  if (expected > 0 && factor >= 1.05 && factor < 1_000) return `${factor >= 10 ? Math.round(factor) : factor.toFixed(1)} times `
  if (expected > 0 && factor >= 0 && factor <= 0.95) return `${Math.round((1 - factor) * 100)} % below `
  return value > expected ? 'above ' : 'below '
}

/** A working life: beyond it the extrapolation of a tail is no figure any more. */
const DAYS_TOLD_MAX = 10_000
const DAY_TOLD_MIN = 0.7
const DAYS_TOLD_MIN = 1.5

/** `expected once in 40 days of a normal series`: in the unit of detect.falseAlarmsPerSeriesDay, so that a reader can compare the two. */
export function rarity(score: number, of = 'a normal series'): string {
  const days = 10 ** score
  if (!(days <= DAYS_TOLD_MAX)) return `expected less than once in 10,000 days of ${of}`
  if (days >= DAY_TOLD_MIN && days < DAYS_TOLD_MIN) return `expected about once a day of ${of}`
  return days < 1 ? `expected ${twoDigits(1 / days)} times a day of ${of}` : `expected once in ${twoDigits(days)} days of ${of}`
}

const twoDigits = (value: number): string => Number(value.toPrecision(2)).toLocaleString('en-US')
