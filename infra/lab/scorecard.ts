// M1–M10 as the lab itself knows them: from ground truth, witness, probes and received pages. Compared with the views in ClickHouse.
//
// Pure. Homeostat's own records say only which incidents it claims and which keys belong to which command; whether a claim is true,
// when a thing happened and how often is the lab's own knowledge. So each view is held against a figure that was not made from its rows.

import { undoKey } from '../../actuators/execute/ledger.ts'
import type { IncidentStory } from '../../pipeline/console/live-view.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import { tableLines } from './table.ts'

/** One injected fault, as the injector and the probes saw it. */
export interface ScoredFault {
  environment: string
  injectedAtMs: number
  /** null: it was not healthy again within its case. */
  healthyAgainAtMs: number | null
  /** Of a fault of several, each of which is healed by an act of its own: entity → each time that it was healthy again. */
  membersHealthyAtMs?: Readonly<Record<string, readonly number[]>>
}

export interface ScoredEffect {
  atMs: number
  key: string
  /** A version was taken back by it, which counts as a rollback. */
  takesBack?: boolean
}

export interface ScorecardFacts {
  faults: readonly ScoredFault[]
  /** Every incident of the run. */
  stories: readonly IncidentStory[]
  /** Orders at the witness, when the process that did them was made; the lab's own (without a key) left out. */
  effects: readonly ScoredEffect[]
  /** Incidents for which somebody was called; null when nobody could be. */
  pagedIncidents: readonly string[] | null
  /** Of a runbook, as its file says. */
  costOf(runbook: string): number
  /** Members of the fleet that send metrics or spans, and those of them that answered the lab's probes lately. */
  coverage: { members: number; answering: number }
  /** From a record's own time until the lab could first read it from ClickHouse, by its own watch. */
  auditDelaysMs: readonly number[]
}

export const METRICS = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'm9', 'm10'] as const
export type Metric = (typeof METRICS)[number]

/** How far view and lab may be apart, in the view's unit, and why. */
export const TOLERANCES: Readonly<Record<Metric, number>> = {
  m1: 2, // s: onset and healing are each known to a window and a probe's beat.
  m2: 0,
  m3: 0,
  m4: 0,
  m5: 3, // s: a restart gives the old process 2 s to end before it makes the new one that the witness knows.
  m6: 0,
  m7: 0,
  m8: 0,
  m9: 0,
  m10: 1 // s: the lab's watch looks every WATCH_MS, and each look takes a while.
}

interface Target {
  isMet(value: number): boolean
  text: string
}
/** What a run must reach, beside agreeing with the lab. */
const TARGETS: Readonly<Partial<Record<Metric, Target>>> = {
  m3: { isMet: value => value >= 0.95, text: '>= 0.95' },
  m4: { isMet: value => value < 0.05, text: '< 0.05' },
  m5: { isMet: value => value < 60, text: '< 60 s' },
  m10: { isMet: value => value < 60, text: '< 60 s' }
}
/** What it should reach, told but no failure: on a busy machine it is the machine that is measured. */
const GOALS: Readonly<Partial<Record<Metric, Target>>> = { m10: { isMet: value => value < 1, text: '< 1 s' } }

/** An onset may be put a little before the injection, and what a fault left behind shows for a while after it. */
const BELONGS_BEFORE_MS = 3_000
const BELONGS_AFTER_MS = 30_000
/** A verdict may be recorded a moment before the probes have seen it: both have their beat. */
const VERDICT_SLACK_MS = 1_000

export type LabScorecard = Readonly<Record<Metric, number | null>>

/** @returns shares 0..1, times in s, costs in the units of the runbooks; null where nothing was measured */
export function labScorecard(facts: ScorecardFacts): LabScorecard {
  const { stories, faults, pagedIncidents, coverage, auditDelaysMs } = facts
  const incidents = stories.filter(({ incident }) => incident.resolution !== 'merged')
  const closed = incidents.filter(({ incident }) => incident.resolution !== null)
  const acted = commandsOf(facts)
  const recoveries = closed.filter(({ incident }) => incident.healedAtMs !== null).map(story => recoveryMs(story, acted, faults))
  const starts = stories.flatMap(story => {
    const own = acted.filter(({ outcome }) => outcome.incidentId === story.incident.id)
    return own.length === 0 ? [] : [Math.min(...own.map(({ firstAtMs }) => firstAtMs)) - story.incident.openedAtMs]
  })
  return {
    // Of what went away by itself the lab does not know how long it lasted: then there is nothing to compare.
    m1: recoveries.includes(undefined) ? null : inSeconds(mean(recoveries.map(Number))),
    m2: share(closed, story => acted.some(({ outcome, endedFault }) => endedFault && outcome.incidentId === story.incident.id && isByItself(story, outcome))),
    m3: share(acted, ({ isHealed }) => isHealed),
    m4: share(closed, story => faultOf(story.incident, faults) === undefined),
    m5: inSeconds(mean(starts)),
    m6: pagedIncidents === null ? null : share(incidents, ({ incident }) => pagedIncidents.includes(incident.id)),
    m7: share(acted, ({ isUndone }) => isUndone),
    m8: mean(acted.map(({ outcome, isTakingBack }) => (isTakingBack ? 0 : facts.costOf(outcome.runbook)))),
    m9: coverage.members === 0 ? null : coverage.answering / coverage.members,
    m10: inSeconds(quantile(auditDelaysMs, 0.99))
  }
}

interface ActedCommand {
  outcome: Outcome
  firstAtMs: number
  isUndone: boolean
  /** It takes back what another command did: that costs nothing. */
  isTakingBack: boolean
  /** Its target's fault was over, by the probes, when the verdict was given, and not before the command acted. */
  isHealed: boolean
  /** The same of the whole fault. */
  endedFault: boolean
}

/** The commands that the witness saw act. */
function commandsOf({ stories, effects, faults }: ScorecardFacts): ActedCommand[] {
  return stories.flatMap(story =>
    story.outcomes.flatMap(outcome => {
      const keys = outcome.steps.map(({ idempotencyKey }) => idempotencyKey)
      const undos = keys.map(undoKey)
      const own = effects.filter(({ key }) => keys.includes(key) || undos.includes(key))
      if (own.length === 0) return []
      const firstAtMs = Math.min(...own.map(({ atMs }) => atMs))
      const fault = faultOf(story.incident, faults)
      const wasMeanwhile = (atMs: number | null | undefined): boolean =>
        typeof atMs === 'number' && atMs >= firstAtMs - VERDICT_SLACK_MS && atMs <= outcome.recordedAtMs + VERDICT_SLACK_MS
      const endedFault = wasMeanwhile(fault?.healthyAgainAtMs)
      const isUndone = own.some(({ key, takesBack }) => takesBack === true || undos.includes(key))
      const isHealed = fault?.membersHealthyAtMs?.[outcome.target]?.some(wasMeanwhile) ?? endedFault
      return [{ outcome, firstAtMs, isUndone, isTakingBack: takesBackAnother(story, outcome), isHealed, endedFault }]
    })
  )
}

/** How long the fault of an incident lasted, where an act of that incident was seen; undefined: not known. */
function recoveryMs({ incident }: IncidentStory, acted: readonly ActedCommand[], faults: readonly ScoredFault[]): number | undefined {
  const fault = faultOf(incident, faults)
  if (fault === undefined || fault.healthyAgainAtMs === null || !acted.some(({ outcome }) => outcome.incidentId === incident.id)) return undefined
  return fault.healthyAgainAtMs - fault.injectedAtMs
}

/** The latest fault that the incident can be about; undefined: it is about nothing. */
export function faultOf(incident: Pick<Incident, 'environment' | 'openedAtMs'>, faults: readonly ScoredFault[]): ScoredFault | undefined {
  return faults.findLast(
    ({ environment, injectedAtMs, healthyAgainAtMs }) =>
      environment === incident.environment &&
      incident.openedAtMs >= injectedAtMs - BELONGS_BEFORE_MS &&
      incident.openedAtMs <= (healthyAgainAtMs ?? Number.POSITIVE_INFINITY) + BELONGS_AFTER_MS
  )
}

/** Whether its decision was to take back what a command did before. */
function takesBackAnother({ decisions }: IncidentStory, { decisionId }: Outcome): boolean {
  return decisions.find(({ id }) => id === decisionId)?.guards.some(({ guard, inputs }) => guard === 'stages' && inputs.undo === true) === true
}

/** Whether nobody had to approve it. */
function isByItself({ decisions }: IncidentStory, { decisionId }: Outcome): boolean {
  return decisions.find(({ id }) => id === decisionId)?.autonomy === 'auto'
}

export interface ScoredMetric {
  clickhouse: number | null
  lab: number | null
}
export type ScorecardComparison = Readonly<Record<Metric, ScoredMetric>>

/** @param views rows of `homeostat_scorecard` */
export function compareScorecards(views: readonly { id: string; value: number | null }[], lab: LabScorecard): ScorecardComparison {
  const viewOf = (metric: Metric): number | null => {
    const value = views.find(({ id }) => id.toLowerCase() === metric)?.value ?? null
    return value === null ? null : Number(value)
  }
  return Object.fromEntries(METRICS.map(metric => [metric, { clickhouse: viewOf(metric), lab: lab[metric] }])) as Record<Metric, ScoredMetric>
}

/** Where view and lab are further apart than they may be; the lab's null asks nothing. */
export function differences(scorecard: ScorecardComparison, tolerances: Readonly<Record<Metric, number>> = TOLERANCES): string[] {
  return METRICS.flatMap(metric => {
    const { clickhouse, lab } = scorecard[metric]
    if (lab === null) return []
    const allowed = tolerances[metric]
    if (clickhouse !== null && Math.abs(clickhouse - lab) <= allowed + Number.EPSILON) return []
    return [`${metric.toUpperCase()}: ClickHouse says ${shown(clickhouse)}, the lab ${shown(lab)}, at most ${allowed} apart are allowed`]
  })
}

/** Targets that ClickHouse's figure does not meet; what was not measured misses none. */
export function missedTargets(scorecard: ScorecardComparison): string[] {
  return missedOf(scorecard, TARGETS)
}

/** The same of goals. */
export function missedGoals(scorecard: ScorecardComparison): string[] {
  return missedOf(scorecard, GOALS)
}

function missedOf(scorecard: ScorecardComparison, targets: Readonly<Partial<Record<Metric, Target>>>): string[] {
  return METRICS.flatMap(metric => {
    const target = targets[metric]
    const { clickhouse } = scorecard[metric]
    return target === undefined || clickhouse === null || target.isMet(clickhouse)
      ? []
      : [`${metric.toUpperCase()}: ${shown(clickhouse)}, ${target.text} is wanted`]
  })
}

/** A line a metric: name, ClickHouse, lab, difference allowed. */
export function scorecardTable(scorecard: ScorecardComparison): string {
  const rows = [
    ['', 'ClickHouse', 'lab', 'may differ by'],
    ...METRICS.map(metric => [metric.toUpperCase(), shown(scorecard[metric].clickhouse), shown(scorecard[metric].lab), String(TOLERANCES[metric])])
  ]
  return tableLines(rows, [1, 2, 3]).join('\n')
}

function shown(value: number | null): string {
  return value === null ? '–' : String(Number(value.toFixed(3)))
}

function share<T>(of: readonly T[], holds: (one: T) => boolean): number | null {
  return of.length === 0 ? null : of.filter(holds).length / of.length
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Nearest rank. */
function quantile(values: readonly number[], q: number): number | null {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)] ?? null
}

const inSeconds = (ms: number | null): number | null => (ms === null ? null : ms / 1_000)
