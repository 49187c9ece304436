// One run of the lab: Homeostat and fleets up, warm-up, a healthy period without any action, then the faults one by one.
//
// One code path for a Homeostat of one process and one of many. Whatever happens, every process of the run is gone when this ends.

import { watchAudit } from './audit-watch.ts'
import { type CaseContext, runCase } from './case.ts'
import type { KafkaClientName } from './cluster/configs.ts'
import { openCluster } from './cluster.ts'
import { FAULTS, type FaultName, planFaults } from './faults.ts'
import { pause, startFleet } from './fleet.ts'
import { openSingle } from './homeostat.ts'
import type { CaseReport } from './judge.ts'
import type { EnvironmentName } from './layout.ts'
import { openProbes, type Probes } from './probes.ts'
import { scoreRun } from './score-run.ts'
import type { ScorecardComparison } from './scorecard.ts'
import { seeded } from './seeded.ts'
import { WARMUP_MS } from './settings.ts'
import { type Homeostat, ofEnvironment, type Stage, type StageProcess } from './stage.ts'
import { readWitness } from './witness.ts'

export interface LabOptions {
  seed: number
  healthyMs: number
  cases?: readonly FaultName[]
  /** Every role its own process, on a real broker and ClickHouse over HTTP; else one process with everything inside. */
  distributed?: boolean
  /** Of a cluster: the Kafka library of every process. */
  kafkaClient?: KafkaClientName
  /** Keep the run's folder. */
  keep: boolean
  view: LabView
  /** Aborted by the user: ends the run early, in order. */
  signal: AbortSignal
}

export interface LabView {
  phase(name: string, untilMs: number | null): void
  line(text: string): void
  /** The run's parts, to look at while it lasts. */
  watch(parts: WatchedParts): void
  report(report: CaseReport): void
  close(): void
}

export interface WatchedParts {
  homeostat: Homeostat
  processes: Stage['processes']
  fleets: readonly { environment: EnvironmentName; folder: string; probes: Probes }[]
}

export interface LabReport {
  pass: boolean
  seed: number
  distributed: boolean
  /** What Homeostat ran as, when the healthy period was over. */
  processes: StageProcess[]
  /** Of the processes themselves; empty when all is as it should be. */
  failures: string[]
  /** Effects at the witness in the healthy period; must be 0. */
  healthy: { seconds: number; actions: number; incidents: number }
  cases: CaseReport[]
  /** M1–M10 as ClickHouse has them and as the lab knows them; differences and missed targets are among `failures`. */
  scorecard: ScorecardComparison
}

const TICK_MS = 250

export async function runLab({
  seed,
  healthyMs,
  cases = FAULTS,
  distributed = false,
  kafkaClient = 'kafkajs',
  keep,
  view,
  signal
}: LabOptions): Promise<LabReport> {
  const stage = distributed ? await openCluster(seed, { client: kafkaClient }) : await openSingle(seed)
  const probes: Probes[] = []
  try {
    const { homeostat, fleets } = stage
    view.phase('starting Homeostat', null)
    view.line(`run folder ${stage.folder}, seed ${seed}`)
    view.line(`Homeostat is ready after ${await homeostat.start()} ms, console ${homeostat.address()}`)
    view.line(
      stage
        .processes()
        .map(({ name, pid }) => `${name} ${pid}`)
        .join(', ')
    )
    view.phase(`starting ${fleets.length === 1 ? 'the fleet' : `${fleets.length} fleets`}`, null)
    await Promise.all(fleets.map(startFleet))
    const startedAtMs = Date.now()
    probes.push(...fleets.map(openProbes))
    const watched = fleets.map(({ environment, folder }, index) => ({ environment, folder, probes: probes[index]! }))
    view.watch({ homeostat, processes: stage.processes, fleets: watched })
    await wait(view, 'warm-up: learning what is normal', WARMUP_MS, signal)
    await wait(view, 'healthy: nothing may happen', healthyMs, signal)
    const actions = fleets.reduce((sum, { folder }) => sum + readWitness(folder, startedAtMs).length, 0)
    const incidents = (await homeostat.incidents()).length
    view.line(`healthy period over: ${actions} actions, ${incidents} incidents`)
    const processes = stage.processes()
    const failures = await stage.failures()
    const audit = watchAudit(homeostat)
    const reports: CaseReport[] = []
    for (const fault of planFaults(fleets, seeded(seed), cases)) {
      if (signal.aborted) break
      view.phase(`fault ${reports.length + 1} of ${cases.length}: ${fault.name}`, null)
      const report = await runCase(contextOf(stage, probes, fleets.indexOf(fault.layout), view, signal), fault)
      reports.push(report)
      view.report(report)
    }
    failures.push(...(await stage.failures()))
    await audit.close()
    const scored = await scoreRun({
      ...{ folder: stage.folder, homeostat, auditDelaysMs: audit.delaysMs(), pages: stage.pages?.received() },
      fleets: fleets.map((layout, index) => ({ layout, probes: probes[index]! }))
    })
    failures.push(...scored.failures)
    for (const failure of failures) view.line(`FAILED ${failure}`)
    const pass = actions === 0 && failures.length === 0 && reports.length === cases.length && reports.every(report => report.pass)
    return {
      pass,
      seed,
      distributed,
      processes,
      failures,
      healthy: { seconds: healthyMs / 1_000, actions, incidents },
      cases: reports,
      scorecard: scored.scorecard
    }
  } finally {
    for (const each of probes) each.close()
    view.phase('stopping', null)
    await stage.end(keep)
    view.close()
  }
}

function contextOf({ homeostat, fleets }: Stage, probes: readonly Probes[], index: number, view: LabView, signal: AbortSignal): CaseContext {
  const layout = fleets[index]!
  const others = fleets.filter(other => other !== layout)
  return { layout, others, homeostat: ofEnvironment(homeostat, layout.environment), probes: probes[index]!, say: text => view.line(text), signal }
}

async function wait(view: LabView, name: string, ms: number, signal: AbortSignal): Promise<void> {
  const untilMs = Date.now() + ms
  view.phase(name, untilMs)
  while (Date.now() < untilMs && !signal.aborted) await pause(Math.min(TICK_MS, Math.max(1, untilMs - Date.now())))
}
