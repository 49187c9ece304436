// bench healthy: false anomalies of a healthy fleet, against the configured rates, and what shipped policies would do about them.
//
//   npm run -s bench -- healthy [--json] -- [day|week|blackout] [--seed N] [--fleets N] [--jobs] [--fault] [--list]
//
// `day`: constant load for 24 hours, no season; `week`: seven days with daily and weekly seasons, a release, two hours in which a
// service is not heard and three in which Homeostat is down; `blackout`: six hours of constant load, of which nothing at all is heard for
// two, while Homeostat runs. `--jobs` gives hosts a heavy job each hour and a backup each night. Each fleet has a scorer of its own, with the default settings.
//
// Every incident is decided by each of the policy sets of healthy/policy-sets.ts, all at level `auto`: `acts` counts the commands that
// they give about entities that are well, `actsOfSilence` those about entities that were silent. Before a zero is believed, `--fault`
// shows that it can be another number: one service fails half of its requests for five minutes, and every set acts.

import { configSchema } from '../../schemas/config.ts'
import type { Anomaly } from '../../schemas/anomaly.ts'
import { metricClass, variantOf } from '../../detectors/score/metric-class.ts'
import { ADAPTIVE } from '../../detectors/score/telling.ts'
import { MULTIVARIATE } from '../../detectors/score/telling-entity.ts'
import { NOVELTY } from '../../detectors/score/telling-novelty.ts'
import { ABSENCE } from '../../detectors/rules/absence.ts'
import { type BenchOptions, type BenchResult, figure, say } from './harness.ts'
import { decideHealthy, type HealthyDecision, isAct } from './healthy/decide.ts'
import { type NamedPolicySet, policySets } from './healthy/policy-sets.ts'
import { type RateFigure, rateFigure } from './healthy/rates.ts'
import { type HealthyRun, runHealthy } from './healthy/run.ts'
import { scenario, SCENARIOS, type ScenarioName } from './healthy/scenario.ts'

const HOUR_MS = 3_600_000
const FAULT = { service: 'orders', errorShare: 0.5, fromMs: 3 * HOUR_MS, toMs: 3 * HOUR_MS + 300_000 } as const
const SIZE = { instances: 4, hosts: 4 }
/** Of a day: a fleet of 1,500 series has to be repeated for a rate of one in a thousand to show. */
const FLEETS: Readonly<Record<ScenarioName, number>> = { day: 4, week: 1, blackout: 1 }

export async function healthyBench({ args }: BenchOptions): Promise<BenchResult> {
  const option = (name: string, otherwise: number): number => (args.includes(name) ? Number(args[args.indexOf(name) + 1]) : otherwise)
  const name = SCENARIOS.find(one => args.includes(one)) ?? 'day'
  const seed = option('--seed', 1)
  const fleets = option('--fleets', FLEETS[name])
  const runs: HealthyRun[] = []
  const decided: HealthyDecision[] = []
  const sets = policySets()
  for (let fleet = 0; fleet < fleets; fleet++) {
    const begun = performance.now()
    const size = { ...SIZE, hasHeavyJobs: args.includes('--jobs'), ...(args.includes('--fault') ? { fault: FAULT } : {}) }
    const replay = scenario(name, seed * 1_000 + fleet, size)
    const run = runHealthy(replay)
    runs.push(run)
    decided.push(...decideHealthy(run, replay, sets))
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
  sayDecided(decided, sets)
  if (args.includes('--list')) {
    for (const { detectedAtMs, severity, detector, reason } of anomalies) {
      say(`${new Date(detectedAtMs).toISOString().slice(5, 19)} ${severity} ${detector}: ${reason}`)
    }
  }
  return {
    ...{ scenario: name, seed, points: sum(run => run.points), seriesDays: figure(sum(run => run.seriesDays)) },
    ...Object.fromEntries(Object.entries(rates).map(([detector, rate]) => [detector, rounded(rate)])),
    ...{ incidents: incidents.length, incidentsOfSilence: incidentsOfSilence.length, absencesTrue: silences.length, absencesFalse: by(ABSENCE).length },
    ...{ acts: decided.filter(one => isAct(one) && !one.isOfSilence).length, actsOfSilence: decided.filter(one => isAct(one) && one.isOfSilence).length },
    decisions: counts(decided.map(({ decision }) => decision.outcome))
  }
}

/** What each set answered to each incident, one line for each change of the answer. */
function sayDecided(decided: readonly HealthyDecision[], sets: readonly NamedPolicySet[]): void {
  for (const { name, set } of sets) {
    const ofSet = decided.filter(one => one.policySet === name)
    const acts = ofSet.filter(isAct)
    const outcomes = ofSet.length === 0 ? '' : ` (${tally(ofSet.map(({ decision }) => decision.outcome))})`
    const policies = `${set.policies.length} ${set.policies.length === 1 ? 'policy' : 'policies'} at auto`
    say(`decided by ${name}, ${policies}: ${acts.length} acts of ${ofSet.length} decisions${outcomes}`)
    for (const { decision, isOfSilence } of ofSet) {
      const at = new Date(decision.decidedAtMs).toISOString().slice(5, 19)
      say(
        `  ${at} ${decision.outcome}${isOfSilence ? ' (silent)' : ''}, ${decision.policy ?? 'no policy'}, ${decision.target ?? 'no target'}: ${decision.reason}`
      )
    }
  }
}

function rounded(rate: RateFigure): Record<string, number> {
  return Object.fromEntries(Object.entries(rate).map(([name, value]) => [name, figure(value)]))
}

function classOf({ metric, attributes }: Anomaly): string {
  return metricClass(metric, variantOf(metric, attributes)).name
}

function counts(names: readonly string[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(names, name => name)].map(([name, same]) => [name, same.length]))
}

/** `a 3, b 1`, the most frequent first. */
function tally(names: readonly string[]): string {
  return (
    Object.entries(counts(names))
      .sort((a, b) => b[1] - a[1])
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  )
}
