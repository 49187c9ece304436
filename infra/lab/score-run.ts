// The scorecard of a run: what the lab knows of it, gathered at its end, beside what ClickHouse says of the same run.

import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { pagedIncidents, type ReceivedPage } from './cases/pages.ts'
import type { GroundTruth } from './faults.ts'
import { pause } from './fleet.ts'
import { type LabLayout, SERVICES } from './layout.ts'
import type { Probes } from './probes.ts'
import { compareScorecards, differences, faultOf, labScorecard, missedTargets, type ScorecardComparison, type ScorecardFacts } from './scorecard.ts'
import type { Homeostat } from './stage.ts'
import { readWitness } from './witness.ts'

/** The last rows of a run are on their way: until both agree, at most. */
const AGREE_DEADLINE_MS = 10_000
const POLL_MS = 500
const ANSWERED_WITHIN_MS = 300_000 // As coverage in ClickHouse is counted.
const COST_DEFAULT = 1 // schemas/runbook.ts

export interface ScoredRun {
  /** Everything of the run, the runbooks among it. */
  folder: string
  homeostat: Homeostat
  fleets: readonly { layout: LabLayout; probes: Probes }[]
  auditDelaysMs: readonly number[]
  /** Absent: no channel was configured. */
  pages?: readonly ReceivedPage[] | undefined
}

/** @returns both scorecards, and what does not hold of them in sentences */
export async function scoreRun(run: ScoredRun): Promise<{ scorecard: ScorecardComparison; failures: string[] }> {
  await labelIncidents(run)
  const deadlineMs = Date.now() + AGREE_DEADLINE_MS
  for (;;) {
    const scorecard = await compared(run)
    const failures = [...differences(scorecard), ...missedTargets(scorecard)]
    if (failures.length === 0 || Date.now() >= deadlineMs) return { scorecard, failures }
    await pause(POLL_MS)
  }
}

/**
 * Says what a person would say who knows what was broken: what went away by itself was true where it belongs to a fault, and what was
 * acted upon was false where it belongs to none. Without labels M4 takes the one for false and the other for true.
 */
async function labelIncidents({ homeostat, fleets }: ScoredRun): Promise<void> {
  const faults = fleets.flatMap(({ layout }) => readGroundTruth(layout))
  for (const incident of await homeostat.incidents()) {
    const isTrue = faultOf(incident, faults) !== undefined
    const wasActedOn = incident.attempts > 0
    const isClosed = incident.resolution !== null && incident.resolution !== 'merged'
    const [member] = incident.members
    if (member === undefined || !isClosed || isTrue === wasActedOn) continue
    const body = JSON.stringify({ anomalyId: member.anomalyId, label: isTrue ? 'true_positive' : 'false_positive', note: 'ground truth', by: 'lab' })
    const headers = { 'content-type': 'application/json', 'x-homeostat': '1' }
    const response = await fetch(`${homeostat.address()}/api/labels`, { method: 'POST', headers, body })
    if (!response.ok) throw new Error(`/api/labels answered ${response.status}: ${await response.text()}`)
  }
}

async function compared(run: ScoredRun): Promise<ScorecardComparison> {
  const views = await run.homeostat.sql<{ id: string; value: number | null }>('SELECT id, value FROM homeostat_scorecard')
  return compareScorecards(views, labScorecard(await factsOf(run)))
}

async function factsOf({ folder, homeostat, fleets, auditDelaysMs, pages }: ScoredRun): Promise<ScorecardFacts> {
  const incidents = await homeostat.incidents()
  const costs = runbookCosts(folder)
  const since = Date.now() - ANSWERED_WITHIN_MS
  const answering = fleets.flatMap(({ probes }) => SERVICES.filter(service => probes.samples(service).some(({ ok, sentAtMs }) => ok && sentAtMs >= since)))
  return {
    faults: fleets.flatMap(({ layout }) => readGroundTruth(layout)),
    stories: await Promise.all(incidents.map(({ id }) => homeostat.story(id))),
    effects: fleets.flatMap(({ layout }) => readWitness(layout.folder)).flatMap(({ madeAtMs, key }) => (key === '' ? [] : [{ atMs: madeAtMs, key }])),
    pagedIncidents: pages === undefined ? null : pagedIncidents(pages),
    costOf: runbook => costs.get(runbook) ?? COST_DEFAULT,
    coverage: { members: fleets.length * SERVICES.length, answering: answering.length },
    auditDelaysMs
  }
}

function readGroundTruth({ folder }: LabLayout): GroundTruth[] {
  const file = join(folder, 'ground-truth.jsonl')
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter(line => line !== '').map(line => JSON.parse(line) as GroundTruth)
}

/** Of every runbook in the run's folder, as its file says. */
export function runbookCosts(folder: string): Map<string, number> {
  const documents = globSync(join(folder, 'runbooks', '*.yaml')).flatMap(file => parseAllDocuments(readFileSync(file, 'utf8')))
  const runbooks = documents.map(document => document.toJS() as { metadata: { name: string }; spec: { cost?: number } })
  return new Map(runbooks.map(({ metadata, spec }) => [metadata.name, spec.cost ?? COST_DEFAULT]))
}
