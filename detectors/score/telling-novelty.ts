// The anomaly of the rich tier: what about the series was never there before, in one sentence.
//
// Flow: tiers (an alarm opened, got worse or is over) -> telling-novelty -> anomaly `novelty`. Rare path. Of a novelty only what
// matters is told: far enough from what is usual, and the way that hurts. Rare enough for a person's attention it is a
// warning if it lasted, else information that stands beside other anomalies and opens no incident. Of a young series less is
// told: its records are likelier.

import type { Anomaly, Severity } from '../../schemas/anomaly.ts'
import { anomalyId } from '../../schemas/ids.ts'
import type { Descriptor } from './descriptor.ts'
import { formatDuration, formatTime, formatValue } from './format.ts'
import { severityOf } from './metric-class.ts'
import { type Channel, F32, F32_STRIDE, F64, F64_STRIDE, RESIDUAL_ROWS, SHAPE_STEPS, U32, WORD_STEPS } from './rich/page.ts'
import { lastRow, readRich, type RichReading } from './rich/rich.ts'
import type { RichTier } from './rich/tier.ts'
import { identity, rarity, seriesName, type Told } from './telling.ts'

export const NOVELTY = 'novelty'

const SEVERITIES: readonly Severity[] = ['info', 'warning', 'critical']
/** Severity's reach grows with how far the score is over the threshold: from here a novelty is as bad as its class gets. */
const REACH = 2
/** Healthy series were counted from here on. A new record is the more likely the younger the series: 2/n at its nth row. */
const GROWN_ROWS = 1_000
const reading: RichReading = { channel: undefined, evidence: 0, expected: 0, lower: 0, upper: 0, points: 0, ready: false }

export interface NoveltySettings {
  /** Of the score, by detect.novelty.falseAlarmsPerSeriesDay. */
  noveltyThreshold: number
  /** Of the score, by detect.falseAlarmsPerSeriesDay: from here it is worth an incident. */
  incidentThreshold: number
}

export type NoveltyTold = Told & { settings: NoveltySettings; rich: RichTier }

/**
 * An alarm of the rich tier that opened or got worse.
 * @param rowScore of the row that was just learned
 * @returns undefined when it does not matter, is not as rare as it seemed, or is no worse than what was told
 */
export function tellNovelty(told: NoveltyTold, series: number, slot: number, rowScore: number, detectedAtMs: number): Anomaly | undefined {
  const { table, rich, settings } = told
  const page = rich.page(slot)
  const base32 = rich.row(slot) * F32_STRIDE
  const base64 = rich.row(slot) * F64_STRIDE
  const descriptor = table.descriptorOf(series)
  const { expected, ready } = readRich(page, rich.row(slot), reading)
  if (!ready) return undefined
  const { points } = reading
  const value = lastRow(page, rich.row(slot))
  const deviation = Math.abs(value - expected)
  const direction = value < expected ? 'below' : 'above'
  const matters = deviation >= Math.max(descriptor.deviationMin, descriptor.deviationMinRelative * Math.abs(expected)) && descriptor[direction]
  if (!matters) return undefined
  const score = rowScore - Math.max(0, Math.log10(GROWN_ROWS / points))
  if (score < settings.noveltyThreshold) return undefined
  const severity: Severity =
    score < settings.incidentThreshold || isMoment(reading.channel)
      ? 'info'
      : capped(severityOf(descriptor.class, direction, REACH, expected === 0 ? Number.POSITIVE_INFINITY : Math.abs(deviation / expected)))
  const before = page.u32[base32 + U32.told]!
  if (before > SEVERITIES.indexOf(severity)) return undefined
  const timeMs = page.f64[base64 + F64.lastTimeMs]!
  const intervalMs = page.f32[base32 + F32.intervalMs]!
  if (before === 0) page.f64[base64 + F64.sinceMs] = timeMs - intervalMs
  page.u32[base32 + U32.told] = 1 + SEVERITIES.indexOf(severity)
  page.dirty = true
  const sinceMs = page.f64[base64 + F64.sinceMs]!
  const of = identity(table, series, told.entities.all[table.entityOf(series)]!)
  return {
    id: anomalyId(of.series, NOVELTY, sinceMs),
    status: before === 0 ? 'open' : 'update',
    detector: NOVELTY,
    ...of,
    ...{ severity, direction, observed: value, expected, lower: reading.lower, upper: reading.upper },
    ...{ score, threshold: settings.noveltyThreshold, samples: points },
    ...{ sinceMs, observedAtMs: timeMs, detectedAtMs, shadow: false },
    reason: `${sentence(subjectOf(descriptor, of), reading.channel, value, intervalMs, descriptor)}, since ${formatTime(sinceMs)}; ${rarity(score)}.`
  }
}

/**
 * The end of a novelty that was told.
 * @param isLapsed the series stopped while its entity goes on
 */
export function closeNovelty(told: NoveltyTold, series: number, slot: number, detectedAtMs: number, isLapsed: boolean): Anomaly | undefined {
  const { table, rich, settings } = told
  const page = rich.page(slot)
  const base32 = rich.row(slot) * F32_STRIDE
  const base64 = rich.row(slot) * F64_STRIDE
  const before = page.u32[base32 + U32.told]!
  if (before === 0) return undefined
  page.u32[base32 + U32.told] = 0
  page.dirty = true
  const { expected, lower, upper, points } = readRich(page, rich.row(slot), reading)
  const value = lastRow(page, rich.row(slot))
  const timeMs = page.f64[base64 + F64.lastTimeMs]!
  const sinceMs = page.f64[base64 + F64.sinceMs]!
  const descriptor = table.descriptorOf(series)
  const of = identity(table, series, told.entities.all[table.entityOf(series)]!)
  const shown = formatValue(value, descriptor.unit, descriptor.rate)
  const subject = subjectOf(descriptor, of)
  return {
    id: anomalyId(of.series, NOVELTY, sinceMs),
    status: 'close',
    detector: NOVELTY,
    ...of,
    ...{ severity: SEVERITIES[before - 1]!, direction: value < expected ? 'below' : 'above', observed: value, expected, lower, upper },
    ...{ score: 0, threshold: settings.noveltyThreshold, samples: points },
    ...{ sinceMs, observedAtMs: timeMs, detectedAtMs, shadow: false },
    reason: isLapsed
      ? `${subject} has had no value since ${formatTime(timeMs)} (then ${shown}), while other telemetry goes on; it is no longer judged.`
      : `${subject} shows nothing new any more; it is ${shown}.`
  }
}

function sentence(subject: string, channel: Channel | undefined, value: number, intervalMs: number, descriptor: Descriptor): string {
  const text = (number: number): string => formatValue(number, descriptor.unit, descriptor.rate)
  const past = formatDuration(reading.points * intervalMs)
  const known = `${text(reading.lower)} to ${text(reading.upper)} in ${past}`
  switch (channel) {
    case 'record':
      return `${subject} is ${text(value)}, outside all that was seen of it before (${known}; usual now: ${text(reading.expected)})`
    case 'excursion':
      return `${subject} is ${text(value)}, farther out than all but a few moments of ${past} (usual now: ${text(reading.expected)})`
    case 'contrast':
      return `${subject} changed faster than ever in ${past}: it is ${text(value)} where ${text(reading.expected)} is usual`
    case 'profile':
      return `${subject} is ${text(value)} where ${text(reading.expected)} is usual at this hour, for ${formatDuration(RESIDUAL_ROWS * intervalMs)} already`
    default: {
      const rows = channel === 'shape48' ? SHAPE_STEPS[0] * WORD_STEPS : SHAPE_STEPS[1] * WORD_STEPS
      return `${subject} ran in the last ${formatDuration(rows * intervalMs)} as it never did in ${past}: it is ${text(value)} where ${text(reading.expected)} is usual`
    }
  }
}

function subjectOf(descriptor: Descriptor, { attributes, entity }: { attributes: Readonly<Record<string, string>>; entity: string }): string {
  return `${seriesName(descriptor, attributes)} of ${entity}`
}

/** A single row, however far out, is worth a note; the other channels speak of several. What lasts and hurts is the base tier's to tell. */
function isMoment(channel: Channel | undefined): boolean {
  return channel === 'record' || channel === 'excursion'
}

/** A novelty alone is a reason to look, not yet a reason to be woken. */
function capped(severity: Severity): Severity {
  return severity === 'critical' ? 'warning' : severity
}
