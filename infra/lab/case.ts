// One case: quiet → fault in → wait until Homeostat has closed the incident and the probes see health → judge.

import type { IncidentStory } from '../../pipeline/console/live-view.ts'
import { type Fault, recordGroundTruth, repair } from './faults.ts'
import { pause } from './fleet.ts'
import { type CaseReport, judgeCase, mainStory } from './judge.ts'
import type { LabLayout } from './layout.ts'
import { healthyAgainMs, heldUpMs, type Probes } from './probes.ts'
import type { Homeostat } from './stage.ts'
import { readWitness, type WitnessEvent } from './witness.ts'

const POLL_MS = 250
const CASE_DEADLINE_MS = 120_000 // A heal takes 10-40 s on fast settings; beyond this it has failed.
const QUIET_DEADLINE_MS = 60_000
const QUIET_SAMPLES = 15 // Three seconds of good probes.
const HOLD_MS = 3_000
const STORE_DEADLINE_MS = 60_000 // Until the incident's last row is in ClickHouse: a second, on a machine that is not busy otherwise.
/** An onset may be put a little before the injection: the window that holds it began earlier, or a wobble opened the incident. */
const ONSET_SLACK_MS = 3_000

export interface CaseContext {
  layout: LabLayout
  /** The other fleets of the run: nothing may happen to them. */
  others: readonly LabLayout[]
  /** With the incidents of this fleet. */
  homeostat: Homeostat
  probes: Probes
  say(line: string): void
  /** Aborted: nothing is waited for any more. */
  signal: AbortSignal
}

export async function runCase(context: CaseContext, fault: Fault): Promise<CaseReport> {
  const { layout, others, probes, say } = context
  if (!(await untilQuiet(context))) say('the fleet is not quiet; the next fault comes all the same')
  await pause(fault.delayMs)
  const injectedAtMs = Date.now()
  await fault.inject(probes)
  say(`fault ${fault.name} in ${layout.environment}: ${fault.cause}`)
  const settled = await untilSettled(context, fault, injectedAtMs)
  const { environment, seed } = layout
  const truth = { case: fault.name, seed, environment, target: fault.target, injectedAtMs, healthyAgainAtMs: settled.healthyAgainAtMs, cause: fault.cause }
  recordGroundTruth(layout, truth)
  const effectsOn = ({ folder }: LabLayout): WitnessEvent[] => readWitness(folder, injectedAtMs).filter(({ key }) => key !== '')
  const mttrMs = await mttrOf(context, mainStory(settled.stories, fault.target))
  const stoodStillMs = heldUpMs(probes.samples('checkout'), injectedAtMs)
  const facts = { stories: settled.stories, effects: effectsOn(layout), elsewhere: others.flatMap(effectsOn), mttrMs, heldUpMs: stoodStillMs }
  const report = judgeCase({ truth, ...facts })
  if (truth.healthyAgainAtMs === null) {
    say(`${fault.name} was not healed: repairing ${fault.target} by hand`)
    await repair(layout, fault.target)
  }
  probes.useCountry('DE')
  probes.workerLimitBytes(Number.POSITIVE_INFINITY)
  for (const failure of report.failures) say(`${fault.name}: FAILED ${failure}`)
  if (report.pass) say(`${fault.name}: passed, detected after ${report.detectedMs} ms, healthy after ${report.healedMs} ms`)
  return report
}

/** No open incident, and good probes for three seconds. @returns false at the deadline */
async function untilQuiet({ homeostat, probes, signal }: CaseContext): Promise<boolean> {
  const deadlineMs = Date.now() + QUIET_DEADLINE_MS
  while (Date.now() < deadlineMs && !signal.aborted) {
    const open = (await homeostat.incidents().catch(() => undefined))?.filter(({ status }) => status !== 'resolved')
    const recent = probes.samples('checkout').slice(-QUIET_SAMPLES)
    if (open?.length === 0 && recent.length === QUIET_SAMPLES && recent.every(({ ok }) => ok)) return true
    await pause(POLL_MS)
  }
  return false
}

interface Settled {
  healthyAgainAtMs: number | null
  stories: IncidentStory[]
}

async function untilSettled({ homeostat, probes, say, signal }: CaseContext, fault: Fault, injectedAtMs: number): Promise<Settled> {
  const told = new Set<string>()
  const tellOnce = (key: string, line: string): void => {
    if (!told.has(key)) say(line)
    told.add(key)
  }
  let settled: Settled = { healthyAgainAtMs: null, stories: [] }
  while (Date.now() - injectedAtMs < CASE_DEADLINE_MS && !signal.aborted) {
    await pause(POLL_MS)
    const healthy = fault.streams.map(stream => healthyAgainMs(probes.samples(stream), injectedAtMs, Date.now(), HOLD_MS))
    const healthyAgainAtMs = healthy.includes(null) ? null : Math.max(...healthy.map(Number))
    const stories = await storiesSince(homeostat, injectedAtMs).catch(() => settled.stories)
    settled = { healthyAgainAtMs, stories }
    for (const { incident, decisions, outcomes } of stories) {
      tellOnce(incident.id, `incident ${incident.id.slice(0, 8)}: ${incident.title}`)
      for (const decision of decisions) tellOnce(decision.id, `decision: ${decision.outcome} ${decision.runbook ?? ''} ${decision.reason}`)
      for (const outcome of outcomes) tellOnce(outcome.id, `outcome: ${outcome.runbook} on ${outcome.target}: ${outcome.verdict}`)
      if (incident.status === 'resolved') tellOnce(`${incident.id}/resolved`, `incident ${incident.id.slice(0, 8)} resolved: ${incident.resolution}`)
    }
    if (healthyAgainAtMs !== null && stories.length > 0 && stories.every(({ incident }) => incident.status === 'resolved')) break
  }
  return settled
}

async function storiesSince(homeostat: Homeostat, injectedAtMs: number): Promise<IncidentStory[]> {
  const incidents = await homeostat.incidents()
  const since = incidents.filter(
    ({ openedAtMs, startedAtMs, resolvedAtMs }) =>
      Math.min(openedAtMs, startedAtMs) >= injectedAtMs - ONSET_SLACK_MS && (resolvedAtMs ?? injectedAtMs) >= injectedAtMs
  )
  return Promise.all(since.map(({ id }) => homeostat.story(id)))
}

/** HealedAt − StartedAt of the incident as an analyst reads it; null when it does not get there in time. */
async function mttrOf({ homeostat, say, signal }: CaseContext, story: IncidentStory | undefined): Promise<number | null> {
  if (!story) return null
  const query =
    'SELECT toUnixTimestamp64Milli(StartedAt) AS startedAtMs, toUnixTimestamp64Milli(HealedAt) AS healedAtMs ' +
    `FROM homeostat_incidents_latest WHERE IncidentId = '${story.incident.id}' AND Status = 'resolved'`
  const deadlineMs = Date.now() + STORE_DEADLINE_MS
  let problem = 'no resolved row with HealedAt'
  while (Date.now() < deadlineMs && !signal.aborted) {
    try {
      const [row] = await homeostat.sql<{ startedAtMs: number; healedAtMs: number | null }>(query)
      if (row && row.healedAtMs !== null) return Number(row.healedAtMs) - Number(row.startedAtMs)
    } catch (error) {
      problem = (error as Error).message
    }
    await pause(POLL_MS)
  }
  say(`no MTTR of incident ${story.incident.id}: ${problem}`)
  return null
}
