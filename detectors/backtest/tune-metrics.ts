// What a history says about single metrics: the way that hurts, how much of it matters, whether to listen to it at all.
//
// Flow: tune.ts (alarms by metric, and those of the trials) -> proposals for detect.metrics, detect.ignore, detect.important. The
// mildest change that answers the excess is proposed: another direction or a larger least deviation before silence. What says
// how users fare (requests, errors, durations) is never proposed to be ignored.

import type { Alarm } from './evaluate.ts'
import { episodesOf, exceeds } from './excess.ts'
import { configuredRate, type MetricExposure } from './exposure.ts'
import type { Setting } from './trials.ts'
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
  timesOf,
  type TuneInput
} from './tune-evidence.ts'

/** A metric is noise when it alarms so many times as often as configured, and so many times as often as the others. */
const NOISE_RATES = 10
const OUTLIER_RATES = 3
/** … on at least this share of the days. */
const NOISE_DAYS_SHARE = 0.5
const DAY_MS = 86_400_000
/** Detectors of single series. */
const OF_SERIES = ['adaptive', 'novelty']

interface Context {
  days: number
  isLabelled: boolean
  /** Proposed for all series already. */
  settings: readonly Setting[]
}

/** Proposals for metrics. @param trials the present settings first */
export function metricProposals(input: TuneInput, trials: readonly Judged[], metrics: readonly MetricFinding[], context: Context): Proposal[] {
  return input.exposure.flatMap(of => {
    const findings = metrics.filter(({ metric }) => metric === of.metric)
    // A model's anomaly is the entity's: the metric that it names first is not yet one that found the label.
    const labelsFound = Math.max(0, ...findings.filter(({ detector }) => detector !== 'multivariate').map(one => one.labelsFound))
    const proposals: Proposal[] = []
    if (labelsFound >= LABELS_MORE_MIN && of.seriesUnwatched > 0 && !of.isKey) {
      const why = `found ${labelsFound} labels, but memory did not last for the rich tier on ${of.seriesUnwatched} of its ${of.series} series`
      proposals.push({ kind: 'important', metric: of.metric, why, isCertain: true })
    }
    const own = alarmsOf(trials[0]!, of.metric)
    const noise = of.isKey || labelsFound > 0 ? undefined : findings.find(finding => isNoise(finding, input, own, metrics, context.days))
    const quieter = findings.some(({ isExcessive }) => isExcessive)
      ? (byDirection(input, of, own, context) ?? byDeviation(input, of, trials, noise !== undefined, context))
      : undefined
    if (quieter !== undefined) proposals.push(quieter)
    else if (noise !== undefined) proposals.push(ignoring(noise, context))
    return proposals
  })
}

function ignoring({ metric, alarms, detector, perDay, configured }: MetricFinding, { isLabelled }: Context): Proposal {
  const often = times(perDay! / configured!)
  const why = `${alarms} alarms of ${detector}, ${often} times the configured rate and on most days${isLabelled ? ', never in a label' : ''}`
  return { kind: 'ignore', metric, why, isCertain: isLabelled }
}

/** What was true was always the other way: one way alone, where labels show it. */
function byDirection(input: TuneInput, { metric }: MetricExposure, own: readonly Alarm[], { isLabelled }: Context): Proposal | undefined {
  const isRuled = input.outcomes[0]!.trial.detect.metrics.some(rule => new RegExp(rule.metric).test(metric))
  if (!isLabelled || isRuled) return undefined
  const trueWays = own.filter(alarm => !isFalse(alarm)).map(({ anomaly }) => anomaly.direction)
  const [direction] = trueWays
  if (trueWays.length < LABELS_MIN || direction === undefined || direction === 'absent' || trueWays.some(way => way !== direction)) return undefined
  const falseNow = own.filter(isFalse)
  const falseThen = falseNow.filter(({ anomaly }) => anomaly.direction === direction)
  if (falseNow.length < FALSE_ALARMS_MIN || !isQuieter(input, timesOf(falseNow), timesOf(falseThen))) return undefined
  const why = `all ${trueWays.length} true alarms lie ${direction}, and ${falseNow.length - falseThen.length} of ${falseNow.length} false ones do not`
  return { kind: 'metric', metric, direction, why, isCertain: true }
}

/** A larger least deviation, where it was tried and what it leaves is no noise. */
function byDeviation(
  input: TuneInput,
  of: MetricExposure,
  trials: readonly Judged[],
  isNoisy: boolean,
  { isLabelled, settings }: Context
): Proposal | undefined {
  const trial = trials.find(({ change }) => change?.setting === 'deviationMinRelative' && change.to > change.from)
  if (trial?.change === undefined || settings.includes('deviationMinRelative')) return undefined
  const [now, then] = [trials[0]!, trial].map(one => alarmsOf(one, of.metric)) as [Alarm[], Alarm[]]
  const [falseNow, falseThen] = [timesOf(now.filter(isFalse)), timesOf(then.filter(isFalse))]
  if (falseNow.length < FALSE_ALARMS_MIN || !isQuieter(input, falseNow, falseThen)) return undefined
  if (losesLabel(trials[0]!, trial)) return undefined
  const rates = OF_SERIES.map(detector => configuredRate(detector, input.outcomes[0]!.trial.detect)!)
  if (isNoisy && exceeds(episodesOf(falseThen).length, NOISE_RATES * Math.min(...rates) * of.seriesDays)) return undefined
  const why = `${falseThen.length} ${input.labels === undefined ? 'alarms' : 'false alarms'} of it instead of ${falseNow.length}, less in both halves of the history${isLabelled ? ', and no label is lost' : ''}`
  return { kind: 'metric', metric: of.metric, deviationMinRelative: trial.change.to, why, isCertain: isLabelled }
}

/** Whether a trial misses what the present settings found: for all metrics, since they share labels. */
function losesLabel(now: Judged, then: Judged): boolean {
  return now.evaluation.labels.some(({ delayMs }, index) => delayMs !== null && then.evaluation.labels[index]!.delayMs === null)
}

/** Whether a metric alarms as nothing real does: far more often than configured and than the others, on most days, in both halves. */
function isNoise(finding: MetricFinding, input: TuneInput, own: readonly Alarm[], metrics: readonly MetricFinding[], days: number): boolean {
  const { metric, detector, configured, perDay, seriesDays } = finding
  if (!OF_SERIES.includes(detector) || configured === null || perDay === null) return false
  const timesMs = episodesOf(timesOf(own.filter(({ anomaly }) => anomaly.detector === detector)))
  const daysNoisy = new Set(timesMs.map(timeMs => Math.floor(timeMs / DAY_MS))).size
  if (daysNoisy < Math.max(DAYS_MIN, NOISE_DAYS_SHARE * days)) return false
  if (!halvesOf(input).every(isIn => exceeds(timesMs.filter(isIn).length, (NOISE_RATES * configured * seriesDays) / 2))) return false
  const others = metrics.filter(one => one.metric !== metric && one.detector === detector).reduce((sum, one) => sum + one.alarms, 0)
  const othersDays = input.exposure.reduce((sum, one) => sum + (one.metric === metric ? 0 : one.seriesDays), 0)
  return othersDays === 0 || perDay >= (OUTLIER_RATES * others) / othersDays
}

function alarmsOf({ evaluation }: Judged, metric: string): Alarm[] {
  return evaluation.alarms.filter(({ anomaly }) => anomaly.metric === metric && OF_SERIES.includes(anomaly.detector))
}

const times = (factor: number): string => (factor >= 10 ? Math.round(factor).toLocaleString('en-US') : factor.toPrecision(2))
