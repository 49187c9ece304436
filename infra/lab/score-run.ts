// The scorecard of a run: what the lab knows of it, gathered at its end, beside what ClickHouse says of the same run.

import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { pagedIncidents, type ReceivedPage } from './cases/pages.ts'
import type { IncidentStory } from '../../pipeline/console/live-view.ts'
import type { GroundTruth } from './faults.ts'
import { pause } from './fleet.ts'
import { type LabLayout, SERVICES } from './layout.ts'
import { heldUpMs, type Probes } from './probes.ts'
import {
  compareScorecards,
  differences,
  faultOf,
  labScorecard,
  missedTargets,
  type ScorecardComparison,
  type ScorecardFacts,
  type ScoredFault,
  TOLERANCES
} from './scorecard.ts'
import type { Homeostat } from './stage.ts'
import { readWitness } from './witness.ts'

const AGREE_DEADLINE_MS = 60_000
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
  const injected = run.fleets.flatMap(({ layout }) => readGroundTruth(layout))
  const labelled = new Set<string>()
  const look = async () => {
    const faults = [...run.fleets.flatMap(troublesOf), ...injected] // An incident is about the last one that it can be about.
    await labelIncidents(run.homeostat, faults, labelled)
    const scorecard = compareScorecards(await viewsOf(run.homeostat), labScorecard(await factsOf(run, faults)))
    return { scorecard, failures: [...differences(scorecard, tolerancesOf(run)), ...missedTargets(scorecard)] }
  }
  return untilAgreed(look, ({ failures }) => failures.length === 0)
}

/** What the lab's own probes saw go wrong: on a busy machine a fleet is unwell without a fault, and an incident that says so is not false. */
function troublesOf({ layout, probes }: ScoredRun['fleets'][number]): ScoredFault[] {
  const bad = (['checkout', ...SERVICES] as const).flatMap(stream => probes.samples(stream)).filter(({ ok }) => !ok)
  return bad.map(({ sentAtMs, durationMs }) => ({
    environment: layout.environment,
    injectedAtMs: sentAtMs,
    healthyAgainAtMs: sentAtMs + durationMs
  }))
}

/** Of times, as much more as the lab stood still: it knows no time better than that. */
function tolerancesOf({ fleets }: Pick<ScoredRun, 'fleets'>): typeof TOLERANCES {
  const heldUpS = Math.max(0, ...fleets.map(({ probes }) => heldUpMs(probes.samples('checkout'), 0) / 1_000))
  return { ...TOLERANCES, m1: TOLERANCES.m1 + heldUpS, m5: TOLERANCES.m5 + heldUpS }
}

/** Looks until both sides agree: the last rows of a run are on their way. @returns the last look, of a minute or until `signal` at the most */
export async function untilAgreed<T>(look: () => Promise<T>, isAgreed: (seen: T) => boolean, signal?: AbortSignal): Promise<T> {
  const deadlineMs = Date.now() + AGREE_DEADLINE_MS
  for (;;) {
    const seen = await look()
    if (isAgreed(seen) || Date.now() >= deadlineMs || signal?.aborted) return seen
    await pause(POLL_MS)
  }
}

/**
 * Says what a person would say who knows what was broken: what went away by itself was true where it belongs to a fault, and what was
 * acted upon was false where it belongs to none. Without labels M4 takes the one for false and the other for true.
 * @param labelled ids of those that have their label; grows
 */
export async function labelIncidents(homeostat: Homeostat, faults: readonly ScoredFault[], labelled: Set<string>): Promise<void> {
  for (const incident of await homeostat.incidents()) {
    const isTrue = faultOf(incident, faults) !== undefined
    const wasActedOn = incident.attempts > 0
    const isClosed = incident.resolution !== null && incident.resolution !== 'merged'
    const [member] = incident.members
    if (member === undefined || !isClosed || isTrue === wasActedOn || labelled.has(incident.id)) continue
    labelled.add(incident.id)
    const label = isTrue ? 'true_positive' : 'false_positive'
    const response = await homeostat.post('/api/labels', { anomalyId: member.anomalyId, label, note: 'ground truth', by: 'lab' })
    if (!response.ok) throw new Error(`/api/labels answered ${response.status}: ${await response.text()}`)
  }
}

/** M1-M10 as ClickHouse has them at this moment. */
export function viewsOf({ sql }: Pick<Homeostat, 'sql'>): Promise<{ id: string; value: number | null }[]> {
  return sql('SELECT id, value FROM homeostat_scorecard')
}

/** Every incident of the run, with all that belongs to it. */
export async function allStories(homeostat: Pick<Homeostat, 'incidents' | 'story'>): Promise<IncidentStory[]> {
  return Promise.all((await homeostat.incidents()).map(({ id }) => homeostat.story(id)))
}

async function factsOf({ folder, homeostat, fleets, auditDelaysMs, pages }: ScoredRun, faults: readonly ScoredFault[]): Promise<ScorecardFacts> {
  const since = Date.now() - ANSWERED_WITHIN_MS
  const answering = fleets.flatMap(({ probes }) => SERVICES.filter(service => probes.samples(service).some(({ ok, sentAtMs }) => ok && sentAtMs >= since)))
  return {
    faults,
    stories: await allStories(homeostat),
    effects: fleets.flatMap(({ layout }) => readWitness(layout.folder)).flatMap(({ madeAtMs, key }) => (key === '' ? [] : [{ atMs: madeAtMs, key }])),
    pagedIncidents: pages === undefined ? null : pagedIncidents(pages),
    costOf: costsOf(folder),
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

/** What a runbook costs, as its file in the run's folder says. */
export function costsOf(folder: string): (runbook: string) => number {
  const documents = globSync(join(folder, 'runbooks', '*.yaml')).flatMap(file => parseAllDocuments(readFileSync(file, 'utf8')))
  const runbooks = documents.map(document => document.toJS() as { metadata: { name: string }; spec: { cost?: number } })
  const costs = new Map(runbooks.map(({ metadata, spec }) => [metadata.name, spec.cost]))
  return runbook => costs.get(runbook) ?? COST_DEFAULT
}
