// Admission of a new series: its descriptor, its record, its attributes as text, and the series derived from it.
//
// Flow: scorer (key not in the table) -> admission -> series-table, registry. The one place where strings are made for points,
// once per series. A histogram gets two series more (mean, p95), a summary one per quantile; their keys are the parent's,
// mixed with a number per statistic, and they carry the attribute `stat`.

import type { PointView } from '../../schemas/otlp.ts'
import type { Descriptor } from './descriptor.ts'
import { READING } from './descriptor.ts'
import type { EntityState } from './entities.ts'
import { type LevelSettings, presume } from './level.ts'
import { variantOf } from './metric-class.ts'
import type { Registry } from './registry.ts'
import type { SeriesTable } from './series-table.ts'
import { windowStart } from './windows.ts'

export interface Admission {
  table: SeriesTable
  registry: Registry
  settings: LevelSettings & { windowMs: number }
}

const STATISTIC_MEAN = 1
const STATISTIC_P95 = 2
/** Statistic numbers of quantiles lie above those of histograms. */
const STATISTIC_QUANTILES = 16
const QUANTILE_STEPS = 1e6

/** @returns the number of the new series, −1 when refused (memory, too many metrics) */
export function admit({ table, registry, settings }: Admission, view: PointView, entity: EntityState): number {
  // Before any text is made: refusing has to cost less than judging, or who sends new series without end takes the time of all others.
  if (table.isRefused()) return -1
  const name = view.name()
  const attributes = view.attributes()
  const variant = variantOf(name, attributes)
  const source = { name, unit: view.unit(), kind: view.kind, temporality: view.temporality, monotonic: view.monotonic, stat: '', variant }
  const descriptor = table.descriptors.intern(source)
  if (descriptor === undefined) return -1
  const series = table.add(view.keyLow, view.keyHigh, entity.index, descriptor.id, attributes)
  if (series < 0) return -1
  registry.attach(series, entity, descriptor, attributes)
  if (descriptor.ignored) return series
  if (descriptor.reading === READING.histogram) admitStatistics({ table, registry, settings }, view, entity, descriptor, series, attributes)
  if (descriptor.signal === 'log' && descriptor.class.name === 'errors' && isLongKnown(entity, settings)) {
    // An error that a well-known sender never logged has been at zero all the time: a burst of it needs no warm-up.
    const startMs = windowStart(view.timeMs, settings.windowMs)
    presume(table.page(series), table.row(series), 0, startMs, settings.windowMs, settings)
  }
  return series
}

/** Series of one quantile of a summary, admitted on first sight. @returns −1 when refused */
export function admitQuantile({ table, registry }: Admission, view: PointView, series: number, entity: EntityState, quantile: number): number {
  const statistic = STATISTIC_QUANTILES + Math.round(quantile * QUANTILE_STEPS)
  const [low, high] = mixedKey(view, statistic)
  const known = table.find(low, high)
  if (known >= 0) return known
  const stat = `p${Number((quantile * 100).toPrecision(6))}`
  const descriptor = table.descriptors.intern({ ...definition(table.descriptorOf(series)), stat })
  if (descriptor === undefined) return -1
  return addStatistic(table, registry, low, high, entity, descriptor, { ...table.attributesOf(series), stat })
}

function admitStatistics(
  { table, registry }: Admission,
  view: PointView,
  entity: EntityState,
  parent: Descriptor,
  series: number,
  attributes: Readonly<Record<string, string>>
): void {
  const add = (statistic: number, stat: string): number => {
    const descriptor = table.descriptors.intern({ ...definition(parent), stat })
    if (descriptor === undefined) return -1
    const [low, high] = mixedKey(view, statistic)
    return addStatistic(table, registry, low, high, entity, descriptor, { ...attributes, stat })
  }
  const mean = add(STATISTIC_MEAN, 'mean')
  if (mean < 0) return
  // Only of durations is the tail what users feel; sizes and counts are judged by their mean.
  const p95 = parent.class.name === 'latency' ? add(STATISTIC_P95, 'p95') : -1
  registry.addHistogram(series, mean, p95)
}

function addStatistic(
  table: SeriesTable,
  registry: Registry,
  low: number,
  high: number,
  entity: EntityState,
  descriptor: Descriptor,
  attributes: Readonly<Record<string, string>>
): number {
  const series = table.add(low, high, entity.index, descriptor.id, attributes)
  if (series >= 0) registry.attach(series, entity, descriptor, attributes)
  return series
}

function definition({ name, unit, kind, temporality, monotonic, variant }: Descriptor) {
  return { name, unit, kind, temporality, monotonic, variant }
}

function mixedKey(view: PointView, statistic: number): [low: number, high: number] {
  return [view.keyLow ^ Math.imul(statistic, 0x9e3779b1), view.keyHigh ^ Math.imul(statistic, 0x85ebca6b)]
}

function isLongKnown(entity: EntityState, settings: LevelSettings & { windowMs: number }): boolean {
  return entity.lastSeenMs - entity.firstSeenMs >= settings.warmupPoints * settings.windowMs
}
