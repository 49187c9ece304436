// What a history says about the settings: alarms by metric against the configured rate, and which change it would justify.
//
// Flow: replays with each of `trialsOf` -> tune -> proposals with their evidence. Settings are proposed for all series or for a
// metric (tune-metrics.ts), never for one series. A change must have helped in the first half of the history and in the
// second: what holds in one half alone is chance, or fitted. Where the evidence is thin it says so and proposes nothing; without
// labels nobody knows what a quieter setting would have missed, so what it proposes then is a suggestion to look at.

import type { Anomaly } from '../../schemas/anomaly.ts'
import type { Config } from '../../schemas/config.ts'
import { type Alarm, type Evaluation, evaluate } from './evaluate.ts'
import { episodesOf, exceeds } from './excess.ts'
import { configuredRate } from './exposure.ts'
import type { Change } from './trials.ts'
import {
  DAYS_MIN,
  FALSE_ALARMS_MIN,
  halvesOf,
  isFalse,
  isQuieter,
  type Judged,
  LABELS_MIN,
  LABELS_MORE_MIN,
  type MetricFinding,
  type Proposal,
  SERIES_MIN,
  timesOf,
  type TuneInput
} from './tune-evidence.ts'
import { metricProposals } from './tune-metrics.ts'

/** What finds more, or sooner, may cost this many times the present false alarms, or twice the configured rate. */
const COST_SHARE = 1.1
const COST_RATES = 2
/** A quieter setting may find labels so much later, in the median. */
const DELAY_SHARE = 1.5
const DELAY_MS = 60_000
export interface TrialFinding {
  change: Change
  /** Of the detector that the change is about; without labels all its alarms. */
  falseAlarms: number
  /** The same with the present settings. */
  falseAlarmsNow: number
  labelsFound: number
  delayMedianMs: number | null
  /** Why it is proposed, or why not. */
  verdict: string
}

export interface Tuning {
  /** For which something was judged. */
  days: number
  seriesDays: number
  /** Labels in this time; null: none were given. */
  labels: number | null
  metrics: MetricFinding[]
  /** Metrics that were judged and never alarmed. */
  quietMetrics: number
  /** Of all detectors, with the present settings. */
  present: { alarms: number; falseAlarms: number; labelsFound: number; delayMedianMs: number | null }
  trials: TrialFinding[]
  proposals: Proposal[]
  /** What the evidence is too thin for. */
  thin: string[]
}

/** What the outcomes of the trials justify. */
export function tune(input: TuneInput): Tuning {
  const { outcomes, labels, graceMs, exposure } = input
  const seriesDays = exposure.reduce((sum, one) => sum + one.seriesDays, 0)
  const judge = (anomalies: readonly Anomaly[]): Evaluation => evaluate(anomalies, labels, { seriesDays, graceMs })
  const present = judge(outcomes[0]!.anomalies)
  const metrics = metricFindings(input, present)
  const days = exposure.reduce((most, one) => Math.max(most, one.days), 0)
  const enough = Math.round(days) >= DAYS_MIN // What the warm-up took is forgiven.
  const series = exposure.reduce((sum, one) => sum + one.series, 0)
  const isLabelled = labels !== undefined && labels.length >= LABELS_MIN
  const thin: string[] = []
  if (!enough) thin.push(`${plural(days)} of judged history: nothing is proposed from fewer than ${DAYS_MIN}`)
  if (series < SERIES_MIN) thin.push(`${series} series: nothing is proposed for all series from fewer than ${SERIES_MIN}`)
  if (labels === undefined) thin.push('no labels: what a quieter setting would miss is unknown, so proposals are suggestions to look at')
  else if (!isLabelled)
    thin.push(`${labels.length} labels: fewer than ${LABELS_MIN} do not tell what a quieter setting would miss, so proposals are suggestions to look at`)
  const context = { ...input, isLabelled, seriesDays, detect: outcomes[0]!.trial.detect }
  const trials = outcomes.map(({ trial, anomalies }): Judged => ({ change: trial.change, evaluation: trial.change === undefined ? present : judge(anomalies) }))
  const judged = trials.flatMap(({ change, evaluation }) => (change === undefined ? [] : judgeTrial(change, present, evaluation, context)))
  const best = enough && series >= SERIES_MIN ? bestOf(judged) : []
  return {
    ...{ days, seriesDays, labels: labels?.length ?? null, metrics, thin },
    quietMetrics: exposure.filter(({ metric }) => !metrics.some(one => one.metric === metric)).length,
    present: { alarms: present.alarms.length, falseAlarms: present.falseAlarms, labelsFound: foundOf(present), delayMedianMs: present.delayMedianMs },
    trials: judged.map(one => (one.gain === undefined || best.includes(one) ? one.finding : { ...one.finding, verdict: passedOver(one.finding, enough) })),
    proposals: [
      ...best.map(({ finding }): Proposal => ({ kind: 'setting', change: finding.change, why: finding.verdict, isCertain: isLabelled })),
      ...(enough ? metricProposals(input, trials, metrics, { days, isLabelled, settings: best.map(({ finding }) => finding.change.setting) }) : [])
    ]
  }
}

const passedOver = ({ verdict }: TrialFinding, enough: boolean): string =>
  `${verdict}; ${enough ? 'another change does more, or there are too few series' : 'too few days'}`

function metricFindings({ outcomes, exposure, labels, graceMs, entityDays }: TuneInput, { alarms }: Evaluation): MetricFinding[] {
  const { detect } = outcomes[0]!.trial
  const byMetric = new Map(exposure.map(one => [one.metric, one]))
  return [...Map.groupBy(alarms, ({ anomaly }) => `${anomaly.metric}\n${anomaly.detector}`).values()]
    .map((group): MetricFinding => {
      const { metric, detector } = group[0]!.anomaly
      const of = byMetric.get(metric)
      const days = detector === 'multivariate' ? entityDays : (of?.seriesDays ?? 0)
      const { falseAlarms, precision, labels: results, delayMedianMs } = evaluate(anomaliesOf(group), labels, { seriesDays: days, graceMs })
      const configured = configuredRate(detector, detect)
      return {
        ...{ metric, class: of?.class ?? 'other', detector, series: of?.series ?? 0, seriesDays: of?.seriesDays ?? 0 },
        ...{ alarms: group.length, falseAlarms: labels === undefined ? null : falseAlarms, precision, delayMedianMs },
        labelsFound: results.filter(({ delayMs }) => delayMs !== null).length,
        perDay: days > 0 ? falseAlarms / days : null,
        configured,
        isExcessive: configured !== null && days > 0 && exceeds(episodesOf(timesOf(group.filter(isFalse))).length, configured * days)
      }
    })
    .sort((a, b) => b.alarms - a.alarms || (a.metric + a.detector < b.metric + b.detector ? -1 : 1))
}

interface JudgedTrial {
  finding: TrialFinding
  /** More is better; undefined: it is no gain. */
  gain: { labels: number; falseAlarms: number } | undefined
}

interface Context extends TuneInput {
  isLabelled: boolean
  seriesDays: number
  detect: Config['detect']
}

function judgeTrial(change: Change, now: Evaluation, then: Evaluation, input: Context): JudgedTrial {
  const [falseNow, falseThen] = [falseTimes(now, change.detector), falseTimes(then, change.detector)]
  const counts = { falseAlarms: falseThen.length, falseAlarmsNow: falseNow.length, labelsFound: foundOf(then), delayMedianMs: then.delayMedianMs }
  const finding: TrialFinding = { change, ...counts, verdict: '' }
  const verdict = (text: string): JudgedTrial => ({ finding: { ...finding, verdict: text }, gain: undefined })
  const lost = now.labels.filter(({ delayMs }, index) => delayMs !== null && then.labels[index]!.delayMs === null).length
  const more = then.labels.filter(({ delayMs }, index) => delayMs !== null && now.labels[index]!.delayMs === null)
  const gain = { labels: more.length - lost, falseAlarms: falseNow.length - falseThen.length }
  if (lost > 0) return verdict(`misses ${lost} ${lost === 1 ? 'label' : 'labels'} that the present finds`)
  const halves = halvesOf(input)
  const configured = configuredRate(change.detector, input.detect)! * input.seriesDays
  const costs = falseThen.length > Math.max(COST_SHARE * falseNow.length, COST_RATES * configured)
  const isMore = more.length >= LABELS_MORE_MIN && halves.every(isIn => more.some(({ startMs }) => isIn(startMs)))
  if (isMore && !costs)
    return { finding: { ...finding, verdict: `finds ${more.length} labels more, with ${falseThen.length} false alarms instead of ${falseNow.length}` }, gain }
  if (falseThen.length >= falseNow.length)
    return verdict(more.length > 0 ? `finds ${more.length} more, at ${falseThen.length} false alarms instead of ${falseNow.length}` : 'no gain')
  if (!exceeds(episodesOf(falseNow).length, configured)) return verdict('quieter, but the present alarms no more often than configured')
  if (falseNow.length < FALSE_ALARMS_MIN) return verdict(`quieter, but ${falseNow.length} false alarms are too few to judge by`)
  if (!isQuieter(input, falseNow, falseThen)) return verdict('hardly quieter, or not in both halves of the history')
  if (then.falseAlarms > now.falseAlarms) return verdict('what it silences, other detectors tell instead')
  if ((then.delayMedianMs ?? 0) > Math.max(DELAY_SHARE * (now.delayMedianMs ?? 0), (now.delayMedianMs ?? 0) + DELAY_MS))
    return verdict('quieter, but finds the labels too late')
  const kept = input.isLabelled ? `, and finds the same ${finding.labelsFound} labels` : ''
  return {
    finding: {
      ...finding,
      verdict: `${falseThen.length} ${input.labels === undefined ? 'alarms' : 'false alarms'} of ${change.detector} instead of ${falseNow.length}, less in both halves of the history${kept}`
    },
    gain
  }
}

/** The best change of each detector: two of one detector together were not tried. */
function bestOf(judged: readonly JudgedTrial[]): JudgedTrial[] {
  const gains = judged.filter(({ gain }) => gain !== undefined)
  return [...Map.groupBy(gains, ({ finding }) => finding.change.detector).values()].map(
    group => group.sort((a, b) => b.gain!.labels - a.gain!.labels || b.gain!.falseAlarms - a.gain!.falseAlarms)[0]!
  )
}

/** `1 day`, `2.5 days` */
const plural = (days: number): string => (days === 1 ? '1 day' : `${Number(days.toPrecision(2))} days`)
const anomaliesOf = (alarms: readonly Alarm[]): Anomaly[] => alarms.map(({ anomaly }) => anomaly)
const falseTimes = ({ alarms }: Evaluation, detector: string): number[] =>
  timesOf(alarms.filter(alarm => isFalse(alarm) && alarm.anomaly.detector === detector))
const foundOf = ({ labels }: Evaluation): number => labels.filter(({ delayMs }) => delayMs !== null).length
