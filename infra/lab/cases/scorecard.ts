// M1-M10 of a case's run: the views of ClickHouse against the lab's own figures, over everything that was played on its Homeostat.
//
// The lab knows faults (ground-truth.ts), effects and their times from the witness, pages from the receiver, costs from the runbooks' files,
// and how long a record took from its own watch on ClickHouse. What a case cannot know it says, with the reason.
//
// M1 is of all incidents, and the lab has no figure of its own once one of them went away by itself. So the mean over those that an act healed is
// compared beside it.

import type { IncidentStory } from '../../../pipeline/console/live-view.ts'
import { allStories, costsOf, labelIncidents, untilAgreed, viewsOf } from '../score-run.ts'
import { compareScorecards, differences, labScorecard, METRICS, type Metric, type ScorecardComparison, type ScorecardFacts, TOLERANCES } from '../scorecard.ts'
import { type AcceptanceReport, that } from './assertions.ts'
import { type Effect, readEffects } from './effects.ts'
import { pagedIncidents } from './pages.ts'
import type { Rig } from './rig.ts'

/** Null for the lab says that nothing of the kind happened: then ClickHouse has no figure either. */
const COUNTED: readonly Metric[] = ['m2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8']
const UNKNOWN = 'nothing of it happened, or an incident went away without an act, and how long that lasted the lab does not know'

export interface ScorecardPlan {
  /** What the case has no figure of its own for, and why; every other metric is compared. */
  excused: Readonly<Partial<Record<Metric, string>>>
  /** Further apart than usual (scorecard.ts), in the view's unit; with the reason beside it. */
  tolerances?: Readonly<Partial<Record<Metric, number>>>
  /** Of the time to recovery of what an act healed, s; absent: that of M1 in any run. */
  recoveryTolerance?: number
  /** Members that send metrics or spans, and how many of them answer the case; absent: M9 is excused. */
  coverage?: () => Promise<{ members: number; answering: number }>
  /** When an effect was made, by Homeostat's clock; absent: when it was witnessed. */
  madeAtMs?: (effect: Effect) => number
  /** Whether an effect took a version back, which M7 counts; absent: none did. */
  takesBack?: (effect: Effect) => boolean
}

/** @returns a report that passes when no figure of ClickHouse differs from the lab's; it names what was not compared */
export async function scorecardReport(name: string, rig: Rig, plan: ScorecardPlan, auditDelaysMs: readonly number[]): Promise<AcceptanceReport> {
  const labelled = new Set<string>()
  const look = async (): Promise<AcceptanceReport> => {
    if (!('m4' in plan.excused)) await labelIncidents(rig.homeostat, rig.faults, labelled)
    return judgeScorecard(name, rig.seed, await compared(rig, plan, auditDelaysMs), plan)
  }
  return untilAgreed(look, ({ pass }) => pass, rig.signal)
}

/** Of a case: M1-M10, and the mean time to recovery of what an act healed; absent where nothing was. */
export interface CaseComparison {
  scorecard: ScorecardComparison
  recovery?: { clickhouse: number | null; lab: number } | undefined
}

/** The judgement alone. Pure. */
export function judgeScorecard(
  name: string,
  seed: number,
  { scorecard, recovery }: CaseComparison,
  { excused, tolerances = {}, recoveryTolerance = TOLERANCES.m1 }: Pick<ScorecardPlan, 'excused' | 'tolerances' | 'recoveryTolerance'>
): AcceptanceReport {
  const invented = COUNTED.filter(metric => !(metric in excused) && scorecard[metric].lab === null && scorecard[metric].clickhouse !== null)
  const found = [
    ...differences(scorecard, { ...TOLERANCES, ...tolerances }),
    ...invented.map(metric => `${metric.toUpperCase()}: ClickHouse says ${rounded(scorecard[metric].clickhouse)}, the lab saw nothing of the kind`)
  ]
  const isCompared = (metric: Metric): boolean => scorecard[metric].lab !== null
  const agreed = METRICS.filter(isCompared).map(metric => metric.toUpperCase())
  const whyNot = (metric: Metric): string => excused[metric] ?? (COUNTED.includes(metric) ? 'nothing of it happened' : UNKNOWN)
  const byReason = Map.groupBy(
    METRICS.filter(metric => !isCompared(metric)),
    whyNot
  )
  const notes = [...byReason].map(([why, metrics]) => `${metrics.join(', ').toUpperCase()} not compared: ${why}`)
  const figures = METRICS.filter(isCompared).flatMap(metric => [
    [`${metric}ClickHouse`, rounded(scorecard[metric].clickhouse)],
    [`${metric}Lab`, rounded(scorecard[metric].lab)]
  ])
  const equal = agreed.length === 0 ? 'neither has a figure' : `${agreed.join(', ')} of ClickHouse are those of the lab`
  const assertions = [that('scorecard', found.length === 0, found.length === 0 ? equal : found.join('; '))]
  if (recovery !== undefined) {
    const { clickhouse, lab } = recovery
    const isEqual = clickhouse !== null && Math.abs(clickhouse - lab) <= recoveryTolerance
    const detail = `what an act healed took ${rounded(clickhouse)} s by ClickHouse, ${rounded(lab)} by the lab, at most ${recoveryTolerance} apart are allowed`
    assertions.push(that('recovery', isEqual, detail))
    figures.push(['recoveryClickHouse', rounded(clickhouse)], ['recoveryLab', rounded(lab)])
  }
  return { case: `${name}/scorecard`, seed, pass: assertions.every(({ ok }) => ok), assertions, figures: Object.fromEntries(figures), notes }
}

async function compared(
  { homeostat, folder, faults, pages }: Rig,
  { excused, coverage, madeAtMs = ({ atMs }) => atMs, takesBack = () => false }: ScorecardPlan,
  auditDelaysMs: readonly number[]
): Promise<CaseComparison> {
  const stories = await allStories(homeostat)
  const facts: ScorecardFacts = {
    faults,
    stories,
    effects: readEffects(folder).map(effect => ({ atMs: madeAtMs(effect), key: effect.key, takesBack: takesBack(effect) })),
    pagedIncidents: pagedIncidents(pages.received()),
    costOf: costsOf(folder),
    coverage: (await coverage?.()) ?? { members: 0, answering: 0 },
    auditDelaysMs
  }
  const lab = labScorecard(facts)
  const known = Object.fromEntries(METRICS.map(metric => [metric, metric in excused ? null : lab[metric]])) as Record<Metric, number | null>
  const scorecard = compareScorecards(await viewsOf(homeostat), known)
  const healed = stories.filter(({ incident }) => incident.resolution === 'remediated')
  const recovery = 'm1' in excused ? null : labScorecard({ ...facts, stories: healed }).m1
  return { scorecard, recovery: recovery === null ? undefined : { clickhouse: await recoveryOf(homeostat, healed), lab: recovery } }
}

/** Mean of HealedAt - StartedAt of these incidents, s, as the view of M1 reckons it. */
async function recoveryOf({ sql }: Pick<Rig['homeostat'], 'sql'>, stories: readonly IncidentStory[]): Promise<number | null> {
  const ids = stories.map(({ incident }) => `'${incident.id}'`).join(', ')
  const [row] = await sql<{ mean: number | null }>(
    `SELECT avg(toFloat64(HealedAt) - toFloat64(StartedAt)) AS mean FROM homeostat_incidents_latest WHERE Status = 'resolved' AND IncidentId IN (${ids})`
  )
  return typeof row?.mean === 'number' && Number.isFinite(row.mean) ? row.mean : null
}

const rounded = (value: number | null): number | null => (value === null ? null : Number(value.toFixed(3)))
