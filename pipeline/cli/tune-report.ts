// What tuning found, in words and tables.

import type { MetricFinding, MetricRule, Proposal, TrialFinding, Tuning } from '../roles/tune.ts'
import { percent } from './backtest-report.ts'
import { formatDuration, formatTable, formatUtcMinute, paint } from './output.ts'

export interface Tuned extends Tuning {
  fromMs: number
  toMs: number
  learnMs: number
  entity: string | null
  /** The file, or `incidents`; null: no labels. */
  labelled: string | null
  points: number
  /** To paste into homeostat.yaml; '' when nothing is proposed. */
  yaml: string
}

const ROWS_SHOWN_MAX = 20
const rate = (perDay: number | null): string => (perDay === null ? '–' : perDay === 0 ? '0' : Number(perDay.toPrecision(2)).toString())
const delay = (ms: number | null): string => (ms === null ? '–' : formatDuration(ms))

export function tuneText(tuned: Tuned): string {
  const { present, labels } = tuned
  const isLabelled = labels !== null
  const head: [string, string][] = [
    [
      'history',
      `${formatUtcMinute(tuned.fromMs)} to ${formatUtcMinute(tuned.toMs)} UTC${tuned.entity === null ? '' : `, ${tuned.entity}`}${tuned.learnMs === 0 ? '' : `, after learning for ${formatDuration(tuned.learnMs)}`}`
    ],
    ['judged', `${rate(tuned.seriesDays)} series days in ${rate(tuned.days)} days`],
    [
      'alarms',
      isLabelled
        ? `${present.alarms}, ${present.falseAlarms} of them false; ${present.labelsFound} of ${labels} labels found, delay ${delay(present.delayMedianMs)}`
        : `${present.alarms}, not labelled`
    ]
  ]
  const lines = head.map(([name, text]) => `${paint('bold', name.padEnd(10))}  ${text}`)
  if (tuned.metrics.length > 0)
    lines.push('', paint('bold', 'Alarms now, by metric and detector'), ...shown(tuned.metrics.map(finding => metricRow(finding, isLabelled, tuned.proposals))))
  if (tuned.quietMetrics > 0) lines.push(`${tuned.quietMetrics} ${tuned.quietMetrics === 1 ? 'metric' : 'metrics'} without an alarm`)
  lines.push('', paint('bold', 'Settings tried'), ...shown(tuned.trials.map(trial => trialRow(trial, isLabelled))))
  if (tuned.thin.length > 0) lines.push('', paint('bold', 'Thin evidence'), ...tuned.thin.map(text => `  ${text}`))
  lines.push('', paint('bold', 'Proposed'))
  if (tuned.yaml === '') lines.push('  nothing: no change is supported by this history')
  else lines.push(...tuned.proposals.map(proposalText), '', paint('bold', 'For homeostat.yaml'), tuned.yaml.trimEnd())
  return lines.join('\n')
}

function shown(rows: readonly Record<string, unknown>[]): string[] {
  const more = rows.length > ROWS_SHOWN_MAX ? [`… and ${rows.length - ROWS_SHOWN_MAX} more: see --json`] : []
  return [formatTable(rows.slice(0, ROWS_SHOWN_MAX), Object.keys(rows[0]!)), ...more]
}

function metricRow(finding: MetricFinding, isLabelled: boolean, proposals: readonly Proposal[]): Record<string, unknown> {
  const { metric, detector, series, alarms, perDay, configured, isExcessive, falseAlarms, precision, labelsFound, delayMedianMs } = finding
  const proposed = proposals.find(proposal => proposal.kind !== 'setting' && proposal.metric === metric)
  return {
    ...{ metric, class: finding.class, detector, series, alarms },
    ...(isLabelled ? { false: falseAlarms, precision: percent(precision), 'labels found': labelsFound, delay: delay(delayMedianMs) } : {}),
    'a series and day': rate(perDay),
    configured: rate(configured),
    judged: configured === null ? '' : isExcessive ? paint('yellow', 'too often') : 'as configured',
    proposed: proposed === undefined ? '' : `${proposed.kind === 'metric' ? ruleText(proposed) : proposed.kind}${proposed.isCertain ? '' : ' (to look at)'}`
  }
}

function trialRow({ change, falseAlarms, falseAlarmsNow, labelsFound, delayMedianMs, verdict }: TrialFinding, isLabelled: boolean): Record<string, unknown> {
  return {
    setting: `detect.${change.setting}`,
    change: `${change.from} → ${change.to}`,
    [isLabelled ? 'false alarms' : 'alarms']: `${falseAlarmsNow} → ${falseAlarms}`,
    ...(isLabelled ? { 'labels found': labelsFound, delay: delay(delayMedianMs) } : {}),
    verdict
  }
}

function proposalText(proposal: Proposal): string {
  return `  ${paint('bold', proposedText(proposal))}${proposal.isCertain ? '' : ' (to look at)'}: ${proposal.why}`
}

function proposedText(proposal: Proposal): string {
  switch (proposal.kind) {
    case 'setting':
      return `detect.${proposal.change.setting}: ${proposal.change.to}`
    case 'metric':
      return `detect.metrics: ${proposal.metric}: ${ruleText(proposal)}`
    default:
      return `detect.${proposal.kind}: ${proposal.metric}`
  }
}

function ruleText({ direction, deviationMinRelative }: MetricRule): string {
  return direction === undefined ? `deviationMinRelative ${deviationMinRelative}` : `direction ${direction}`
}
