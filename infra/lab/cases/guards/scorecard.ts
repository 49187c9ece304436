// What of M1-M10 the lab knows by itself of guard cases: the start of acts, undos and costs, from the witness and the runbooks' files.
//
// The rest needs a fault with an end that is known, one an incident: the lab's five faults have that (infra/lab/score-run.ts).

import type { AcceptanceReport } from '../assertions.ts'
import { readEffects } from '../effects.ts'
import { type Rig, until } from '../rig.ts'
import { compareScorecards, differences, labScorecard, METRICS, type Metric, type ScorecardComparison, type ScoredMetric } from '../../scorecard.ts'
import { runbookCosts } from '../../score-run.ts'
import { that } from './stage.ts'

const KNOWN: readonly Metric[] = ['m5', 'm7', 'm8']
const DEADLINE_MS = 10_000

/** One report more of a run: the views of ClickHouse against the lab's own figures. */
export async function scorecardReport(rig: Rig): Promise<AcceptanceReport> {
  let scorecard = await compared(rig)
  await until(rig, DEADLINE_MS, async () => {
    scorecard = await compared(rig)
    return differences(scorecard).length === 0
  })
  const found = differences(scorecard)
  const detail = found.length === 0 ? `${KNOWN.join(', ')} of ClickHouse are those of the lab` : found.join('; ')
  const figures = Object.fromEntries(
    KNOWN.flatMap(metric => [
      [`${metric}ClickHouse`, scorecard[metric].clickhouse],
      [`${metric}Lab`, scorecard[metric].lab]
    ])
  )
  return { case: 'SCORECARD', seed: rig.seed, pass: found.length === 0, assertions: [that('scorecard', found.length === 0, detail)], figures }
}

async function compared({ homeostat, folder }: Rig): Promise<ScorecardComparison> {
  const incidents = await homeostat.incidents()
  const costs = runbookCosts(folder)
  const lab = labScorecard({
    faults: [],
    stories: await Promise.all(incidents.map(({ id }) => homeostat.story(id))),
    // A process says when it was made; an order over HTTP is witnessed as it comes.
    effects: readEffects(folder).map(({ atMs, key, what, detail }) => ({ atMs: what === 'start' ? Number(detail) : atMs, key })),
    pagedIncidents: null,
    costOf: runbook => costs.get(runbook)!,
    coverage: { members: 0, answering: 0 },
    auditDelaysMs: []
  })
  const views = await homeostat.sql<{ id: string; value: number | null }>('SELECT id, value FROM homeostat_scorecard')
  const unknown: ScoredMetric = { clickhouse: null, lab: null }
  const all = compareScorecards(views, lab)
  return Object.fromEntries(METRICS.map(metric => [metric, KNOWN.includes(metric) ? all[metric] : unknown])) as Record<Metric, ScoredMetric>
}
