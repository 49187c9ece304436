// bench healthy: false anomalies of a healthy fleet, against the configured rates.
//
//   npm run -s bench -- healthy [--json] -- [day|week] [--seed N] [--fleets N] [--jobs] [--list]
//
// `day`: constant load for 24 hours, no season; `week`: seven days with daily and weekly seasons, a release, two hours in which a
// service is not heard and three in which Homeostat is down. `--jobs` gives hosts a heavy job each hour and a backup each night. Each fleet has a scorer of its own, with the default settings.

import { configSchema } from '../../schemas/config.ts'
import type { Anomaly } from '../../schemas/anomaly.ts'
import { metricClass, variantOf } from '../../detectors/score/metric-class.ts'
import { ADAPTIVE } from '../../detectors/score/telling.ts'
import { MULTIVARIATE } from '../../detectors/score/telling-entity.ts'
import { NOVELTY } from '../../detectors/score/telling-novelty.ts'
import { ABSENCE } from '../../detectors/rules/absence.ts'
import { type BenchOptions, type BenchResult, figure, say } from './harness.ts'
import { type RateFigure, rateFigure } from './healthy/rates.ts'
import { type HealthyRun, runHealthy } from './healthy/run.ts'
import { scenario, SCENARIOS, type ScenarioName } from './healthy/scenario.ts'

const SIZE = { instances: 4, hosts: 4 }
/** Of a day: a fleet of 1,500 series has to be repeated for a rate of one in a thousand to show. */
const FLEETS: Readonly<Record<ScenarioName, number>> = { day: 4, week: 1 }

export async function healthyBench({ args }: BenchOptions): Promise<BenchResult> {
  const option = (name: string, otherwise: number): number => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : otherwise)
  const name = SCENARIOS.find(one => args.includes(one)) ?? 'day'
  const seed = option('--seed', 1)
  const fleets = option('--fleets', FLEETS[name])
  const runs: HealthyRun[] = []
  for (let fleet = 0; fleet < fleets; fleet++) {
    const begun = performance.now()
    const run = runHealthy(scenario(name, seed * 1_000 + fleet, { ...SIZE, hasHeavyJobs: args.includes('--jobs') }))
    runs.push(run)
    say(`fleet ${fleet + 1}: ${run.series} series, ${run.points.toLocaleString('en')} points in ${Math.round((performance.now() - begun) / 1e3)} s`)
  }
  const anomalies = runs.flatMap(run => run.anomalies)
  const silences = runs.flatMap(run => run.silences)
  const incidents = runs.flatMap(run => run.incidents)
  const incidentsOfSilence = runs.flatMap(run => run.incidentsOfSilence)
  const sum = (of: (run: HealthyRun) => number): number => runs.reduce((total, run) => total + of(run), 0)
  const { detect } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  const by = (detector: string): Anomaly[] => anomalies.filter(anomaly => anomaly.detector === detector)
  const rates: Record<string, RateFigure> = {
    adaptive: rateFigure(
      by(ADAPTIVE).length,
      sum(run => run.seriesDays),
      detect.falseAlarmsPerSeriesDay
    ),
    novelty: rateFigure(
      by(NOVELTY).length,
      sum(run => run.watchedDays),
      detect.novelty.falseAlarmsPerSeriesDay
    ),
    multivariate: rateFigure(
      by(MULTIVARIATE).length,
      sum(run => run.modelDays),
      detect.multivariate.falseAlarmsPerEntityDay
    )
  }

  say(`\n${name}, seed ${seed}`)
  say(
    `${'detector'.padEnd(14)}${'anomalies'.padStart(10)}${'days'.padStart(10)}${'a day'.padStart(11)}${'configured'.padStart(11)}${'ratio'.padStart(8)}   95 % bounds   severities`
  )
  for (const [detector, rate] of Object.entries(rates)) {
    const severities = tally(by(detector).map(({ severity }) => severity))
    say(
      `${detector.padEnd(14)}${String(rate.count).padStart(10)}${rate.days.toFixed(0).padStart(10)}${rate.observed.toPrecision(2).padStart(11)}` +
        `${String(rate.configured).padStart(11)}${rate.ratio.toFixed(2).padStart(8)}   ${rate.ratioLow.toFixed(2)} to ${rate.ratioHigh.toFixed(2)}   ${severities}`
    )
  }
  for (const detector of Object.keys(rates)) say(`${detector}, by metric: ${tally(by(detector).map(anomaly => `${classOf(anomaly)}/${anomaly.metric}`))}`)
  say(`absences: ${silences.length} of entities that were silent, ${by(ABSENCE).length} of others`)
  say(`incidents: ${incidents.length}, and ${incidentsOfSilence.length} about entities that were silent`)
  say(`what opened them: ${tally(incidents.map(({ members: [first] }) => `${first!.severity} ${first!.detector} ${first!.metric}`))}`)
  for (const { openedAtMs, resolvedAtMs, severity, title, members } of incidentsOfSilence) {
    const until = resolvedAtMs === null ? 'the end' : new Date(resolvedAtMs).toISOString().slice(5, 16)
    say(`  ${severity}, ${new Date(openedAtMs).toISOString().slice(5, 16)} to ${until}, ${members.length} members: ${title}`)
  }
  if (args.includes('--list')) {
    for (const { detectedAtMs, severity, detector, reason } of anomalies) {
      say(`${new Date(detectedAtMs).toISOString().slice(5, 19)} ${severity} ${detector}: ${reason}`)
    }
  }
  return {
    ...{ scenario: name, seed, points: sum(run => run.points), seriesDays: figure(sum(run => run.seriesDays)) },
    ...Object.fromEntries(Object.entries(rates).map(([detector, rate]) => [detector, rounded(rate)])),
    ...{ incidents: incidents.length, incidentsOfSilence: incidentsOfSilence.length, absencesTrue: silences.length, absencesFalse: by(ABSENCE).length }
  }
}

function rounded(rate: RateFigure): Record<string, number> {
  return Object.fromEntries(Object.entries(rate).map(([name, value]) => [name, figure(value)]))
}

function classOf({ metric, attributes }: Anomaly): string {
  return metricClass(metric, variantOf(metric, attributes)).name
}

/** `a 3, b 1`, the most frequent first. */
function tally(names: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return (
    [...counts]
      .sort((a, b) => b[1] - a[1])
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  )
}
