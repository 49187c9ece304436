// What a backtest found, in words and tables.

import type { Alarm, Evaluation } from '../roles/backtest.ts'
import { formatDuration, formatTable, formatUtcMinute, formatUtcSecond, paint } from './output.ts'

export interface Backtest {
  fromMs: number
  toMs: number
  learnMs: number
  graceMs: number
  entity: string | null
  /** The file, or `incidents`; null: no labels. */
  labelled: string | null
  points: number
  scored: number
  series: number
  seriesDays: number
  /** detect.falseAlarmsPerSeriesDay of the configuration that was used. */
  falseAlarmsPerSeriesDayAim: number
  evaluation: Evaluation
}

const ROWS_SHOWN_MAX = 15
const PICTURES_MAX = 12

export const percent = (share: number | null): string => (share === null ? 'unknown' : `${(share * 100).toFixed(1)} %`)
const figure = (value: number): string => (value === 0 ? '0' : value >= 0.01 ? Number(value.toPrecision(3)).toLocaleString('en-US') : value.toPrecision(2))

/** The figures, name and text. */
export function figures({ evaluation, ...backtest }: Backtest): [string, string][] {
  const { alarms, labels, precision, recall, delayMedianMs, delayP90Ms, trueAlarms, falseAlarms, falseAlarmsPerSeriesDay } = evaluation
  const found = labels.filter(({ delayMs }) => delayMs !== null).length
  const isLabelled = backtest.labelled !== null
  const rows: [string, string][] = [
    [
      'history',
      `${formatUtcMinute(backtest.fromMs)} to ${formatUtcMinute(backtest.toMs)} UTC${backtest.entity === null ? '' : `, ${backtest.entity}`}${backtest.learnMs === 0 ? '' : `, after learning for ${formatDuration(backtest.learnMs)}`}`
    ],
    [
      'judged',
      `${backtest.series.toLocaleString('en-US')} series, ${backtest.scored.toLocaleString('en-US')} values, ${figure(backtest.seriesDays)} series days`
    ],
    ['alarms', isLabelled ? `${alarms.length}: ${trueAlarms} true, ${falseAlarms} false` : `${alarms.length}`]
  ]
  if (isLabelled) {
    rows.push(
      ['precision', percent(precision)],
      ['recall', labels.length === 0 ? 'unknown: no label in this time' : `${percent(recall)} (${found} of ${labels.length})`]
    )
    rows.push(['delay', delayMedianMs === null ? 'unknown: nothing was found' : `median ${formatDuration(delayMedianMs)}, p90 ${formatDuration(delayP90Ms!)}`])
  }
  rows.push([
    isLabelled ? 'false alarms' : 'alarm rate',
    falseAlarmsPerSeriesDay === null
      ? 'unknown: no series was judged (too short for detect.warmupPoints?)'
      : `${figure(falseAlarmsPerSeriesDay)} per series and day (detect.falseAlarmsPerSeriesDay is ${backtest.falseAlarmsPerSeriesDayAim})`
  ])
  return rows
}

export function backtestText(backtest: Backtest): string {
  const { labels, alarms } = backtest.evaluation
  const lines = figures(backtest).map(([name, text]) => `${paint('bold', name.padEnd(12))}  ${text}`)
  if (labels.length > 0) {
    const rows = labels.map(label => ({
      label: label.name,
      entity: label.entities.length === 1 ? label.entities[0]! : `${label.entities.length} entities`,
      start: formatUtcSecond(label.startMs),
      lasted: formatDuration(label.endMs - label.startMs),
      'found after': label.delayMs === null ? paint('red', 'missed') : formatDuration(label.delayMs),
      alarms: label.alarms
    }))
    lines.push('', formatTable(rows.slice(0, ROWS_SHOWN_MAX), Object.keys(rows[0]!)), ...more(rows.length))
  }
  const rest = alarms.filter(({ isTrue }) => isTrue !== true)
  if (rest.length > 0) {
    const rows = byMetric(rest)
    lines.push(
      '',
      paint('bold', backtest.labelled === null ? 'Alarms by metric' : 'False alarms by metric'),
      formatTable(rows.slice(0, ROWS_SHOWN_MAX), Object.keys(rows[0]!)),
      ...more(rows.length)
    )
  }
  return lines.join('\n')
}

const more = (rows: number): string[] => (rows > ROWS_SHOWN_MAX ? [`… and ${rows - ROWS_SHOWN_MAX} more: see --json or --out`] : [])

/** Most alarms first. */
export function byMetric(alarms: readonly Alarm[]): { alarms: number; metric: string; detector: string; example: string; at: string }[] {
  return [...Map.groupBy(alarms, ({ anomaly }) => `${anomaly.detector}\n${anomaly.metric}`).values()]
    .map(group => {
      const { metric, detector, entity, detectedAtMs } = group[0]!.anomaly
      return { alarms: group.length, metric, detector, example: entity, at: formatUtcSecond(detectedAtMs) }
    })
    .sort((a, b) => b.alarms - a.alarms || (a.metric < b.metric ? -1 : 1))
}

/** Those whose pictures are drawn: false ones first, of each metric the first, as many as a person looks at. */
export function shownAlarms({ evaluation }: Backtest): Alarm[] {
  const seen = new Set<string>()
  const firstOfMetric = (alarm: Alarm): boolean => {
    const key = `${alarm.isTrue} ${alarm.anomaly.metric}`
    return seen.size < seen.add(key).size
  }
  const all = [...evaluation.alarms.filter(({ isTrue }) => isTrue !== true), ...evaluation.alarms.filter(({ isTrue }) => isTrue === true)]
  const chosen = all.filter(firstOfMetric)
  const isFalse = chosen.filter(({ isTrue }) => isTrue !== true).slice(0, (PICTURES_MAX * 2) / 3)
  return [...isFalse, ...chosen.filter(({ isTrue }) => isTrue === true)].slice(0, PICTURES_MAX)
}
