// `homeostat detectors explain`: what runs on each series of an entity, in which state, and what it costs; without an entity the totals.

import type { Command } from 'commander'
import type { DetectorsOverview, EntityExplanation, EntityReport, OverviewReport, Provenance, SeriesExplanation } from '../roles/detectors.ts'
import type { Clock } from '../../schemas/ports.ts'
import type { Client } from './client.ts'
import { formatDuration, formatTable, type Output, paint } from './output.ts'
import { valueAxis } from './plot/scale.ts'

export interface DetectorsPorts {
  client(): Client
  output(): Output
  clock: Clock
}

/** More intervals behind its entity's newest point, and it is worth a word. */
const GAP_INTERVALS = 3
const ATTRIBUTES_CHARS_MAX = 60

/** Adds the command to `program`. */
export function registerDetectors(program: Command, ports: DetectorsPorts): void {
  program
    .command('detectors')
    .description('what the detectors know')
    .command('explain')
    .description('what runs on each series of an entity: state, readiness, level, normal band, memory; without an entity the totals')
    .argument('[entity]', 'namespace/service@instance; without the instance all of them')
    .option('--metric <metric>', 'only series whose metric contains this')
    .addHelpText('after', NOTES)
    .action(async (entity: string | undefined, { metric }: { metric?: string }) => {
      if (entity === undefined) {
        const overview = await ports.client().get<OverviewReport>('/api/detectors')
        return ports.output().result(overview, overviewText(overview, ports.clock.nowMs()))
      }
      const report = await ports.client().get<EntityReport>(`/api/detectors?entity=${encodeURIComponent(entity)}`)
      const shown = { ...report, series: report.series.filter(series => metric === undefined || series.metric.includes(metric)) }
      ports.output().result(shown, entityText(shown, metric, ports.clock.nowMs()))
    })
}

const NOTES = `
Asks the process that has the console. Where detection runs in other processes, or shares a cluster's partitions with some, the
answer is what they saved last in their checkpoints (at most detect.checkpointInterval old); how many series were refused is
then unknown: see homeostat_detect_series_refused on /metrics of each detector.`

export function entityText(report: EntityReport, metric: string | undefined, nowMs: number): string {
  const rows = report.series.map(seriesRow)
  const bytes = report.series.reduce((sum, series) => sum + series.bytes, 0)
  const lines = [...report.entities.map(entity => entityLine(entity, nowMs)), provenance(report, nowMs), '']
  if (rows.length === 0) return [...lines, metric === undefined ? 'no series was judged yet' : `no series of a metric with ${metric} in its name`].join('\n')
  const waiting = report.series.filter(({ samplesMissing }) => samplesMissing > 0).length
  return [
    ...lines,
    formatTable(rows, Object.keys(rows[0]!)),
    '',
    `${rows.length} series, ${bytesText(bytes)} of records and buckets (histograms are judged as their mean and p95)${waiting === 0 ? ', all of them ready' : `; ${waiting} still learning`}`
  ].join('\n')
}

function entityLine(explanation: EntityExplanation, nowMs: number): string {
  const { entity, environment, series, usualGapMs, absentAfterMs, absentSinceMs, lastSeenMs } = explanation
  const heard =
    absentSinceMs !== null
      ? paint('red', `silent for ${formatDuration(nowMs - absentSinceMs)}`)
      : `heard ${formatDuration(Math.max(0, nowMs - lastSeenMs))} ago, usually every ${formatDuration(usualGapMs)}`
  const limit =
    absentAfterMs === null ? 'its interval is not learned, so its silence raises nothing' : `absent after ${formatDuration(absentAfterMs)} of silence`
  return `${paint('bold', entity)} in ${environment}: ${series} series; ${heard}, ${limit}${modelText(explanation)}`
}

function provenance({ from, asOfMs }: Provenance, nowMs: number): string {
  return from === 'process' ? 'as it is now' : `as saved by its detector ${formatDuration(Math.max(0, nowMs - asOfMs))} ago`
}

function seriesRow(series: SeriesExplanation): Record<string, unknown> {
  const number = (value: number): string => withUnit(value, series)
  const isJudged = series.state === 'normal' || series.state === 'open'
  return {
    metric: metricText(series),
    state: series.state === 'open' ? paint('red', 'anomalous') : series.state,
    ready: readiness(series),
    value: series.samples === 0 ? null : number(series.lastValue),
    expected: series.samples === 0 ? null : number(series.expected),
    normal: isJudged ? rangeText(number(series.lower), number(series.upper)) : null,
    score: isJudged ? `${Math.max(0, series.score).toFixed(1)} of ${series.threshold.toFixed(1)}` : null,
    samples: series.samples,
    every: series.intervalMs > 0 ? formatDuration(series.intervalMs) : null,
    detectors: series.detectors.join(', ') || '–',
    rich: richText(series),
    bytes: series.bytes
  }
}

/** How far the rich tier is, why it looks at the series, and whether the entity's model does. */
function richText({ rich }: SeriesExplanation): string {
  if (rich === null) return '–'
  const ready = rich.rowsMissing === 0 ? `${Math.max(0, rich.score).toFixed(1)} of ${rich.threshold.toFixed(1)}` : `${rich.rowsMissing} more rows`
  return `${ready} (${rich.importance}${rich.isColumn ? ', in the model' : ''})`
}

function modelText({ model }: EntityExplanation): string {
  if (model === null) return ''
  const state = model.ready ? `score ${Math.max(0, model.score).toFixed(1)} of ${model.threshold.toFixed(1)}` : `learning, ${model.rows} rows so far`
  return `; model of ${model.columns} metrics: ${state}, ${bytesText(model.bytes)}`
}

/** Whether it is judged, when it will be, and whether points are missing. */
function readiness({ state, samplesMissing, intervalMs, behindMs }: SeriesExplanation): string {
  if (state === 'ignored') return 'never: detect.ignore'
  const gap = intervalMs > 0 && behindMs > GAP_INTERVALS * intervalMs ? `, no value for ${formatDuration(behindMs)}` : ''
  if (samplesMissing === 0) return `yes${gap}`
  return `${samplesMissing} more points${intervalMs > 0 && gap === '' ? ` (${formatDuration(samplesMissing * intervalMs)})` : ''}${gap}`
}

function metricText({ metric, attributes }: SeriesExplanation): string {
  const { stat, template: _hash, ...others } = attributes
  const text = Object.entries(others)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
  const cut = text.length > ATTRIBUTES_CHARS_MAX ? `${text.slice(0, ATTRIBUTES_CHARS_MAX)}…` : text
  return `${stat === undefined ? '' : `${stat} of `}${metric}${cut === '' ? '' : ` {${cut}}`}`
}

/** The unit once, where both have the same. */
function rangeText(lower: string, upper: string): string {
  const unit = lower.slice(lower.indexOf(' '))
  return `${lower.includes(' ') && upper.endsWith(unit) ? lower.slice(0, lower.indexOf(' ')) : lower} … ${upper}`
}

/** The number as an axis of about its size would name it. */
function withUnit(value: number, { unit, rate }: SeriesExplanation): string {
  if (value === 0) return '0'
  const { ticks } = valueAxis({ min: Math.min(0, value), max: Math.max(0, value) }, unit, rate, 2)
  const tick = value > 0 ? ticks.at(-1)! : ticks[0]!
  const [shown = '', ...name] = tick.label.split(' ')
  const scaled = (value / tick.at) * Number(shown)
  return Number.isFinite(scaled) ? `${Number(scaled.toPrecision(3))}${name.length === 0 ? '' : ` ${name.join(' ')}`}` : value.toPrecision(3)
}

export function overviewText(overview: OverviewReport, nowMs: number): string {
  const { byState, tiers, largest } = overview
  const refused = overview.from === 'checkpoint' ? '' : `, ${overview.seriesRefused.toLocaleString('en-US')} refused`
  return [
    `${overview.series.toLocaleString('en-US')} series${refused}; ${overview.entities.toLocaleString('en-US')} entities; ${provenance(overview, nowMs)}`,
    `${byState.normal} judged, ${byState.open} anomalous now, ${byState.warmup} learning or never judged themselves (histograms), ${byState.ignored} ignored`,
    '',
    formatTable(
      tiers.map(({ tier, of, count, bytes, bytesMax, bytesEach }) => ({
        tier,
        watches: `${count.toLocaleString('en-US')} ${of}`,
        memory: bytesText(bytes),
        'at most': bytesText(bytesMax),
        'bytes each': bytesEach
      })),
      ['tier', 'watches', 'memory', 'at most', 'bytes each']
    ),
    '',
    formatTable(
      largest.map(row => ({
        entity: row.entity,
        environment: row.environment,
        series: row.series,
        heard:
          row.absentSinceMs === null ? `${formatDuration(Math.max(0, nowMs - row.lastSeenMs))} ago` : `silent for ${formatDuration(nowMs - row.absentSinceMs)}`
      })),
      ['entity', 'environment', 'series', 'heard']
    ),
    '',
    `Each tier has its share of detect.memoryMax. Memory is in pages of 4,096 series: few series look dear. One of them whole: homeostat detectors explain ${exampleOf(overview)}`
  ].join('\n')
}

const exampleOf = ({ largest }: DetectorsOverview): string => largest[0]?.entity ?? '<entity>'

function bytesText(bytes: number): string {
  return bytes < 10_000 ? `${bytes} B` : bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}
