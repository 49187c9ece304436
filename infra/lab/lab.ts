// One run of the lab: fleet and Homeostat up, warm-up, a healthy period without any action, then the faults one by one.
//
// Whatever happens, every process of the run is gone when this ends.

import { runCase } from './case.ts'
import { FAULTS, type FaultName, planFaults } from './faults.ts'
import { createLab, destroyLab, pause, startFleet } from './fleet.ts'
import { type Homeostat, prepareHomeostat, WARMUP_MS } from './homeostat.ts'
import type { CaseReport } from './judge.ts'
import { openProbes, type Probes } from './probes.ts'
import { seeded } from './seeded.ts'
import { readWitness } from './witness.ts'

export interface LabOptions {
  seed: number
  healthyMs: number
  cases?: readonly FaultName[]
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
  watch(parts: { probes: Probes; homeostat: Homeostat; folder: string }): void
  report(report: CaseReport): void
  close(): void
}

export interface LabReport {
  pass: boolean
  seed: number
  /** Effects at the witness in the healthy period; must be 0. */
  healthy: { seconds: number; actions: number; incidents: number }
  cases: CaseReport[]
}

const TICK_MS = 250

export async function runLab({ seed, healthyMs, cases = FAULTS, keep, view, signal }: LabOptions): Promise<LabReport> {
  const layout = await createLab(seed)
  let probes: Probes | undefined
  try {
    const homeostat = prepareHomeostat(layout)
    view.phase('starting Homeostat', null)
    view.line(`run folder ${layout.folder}, seed ${seed}`)
    view.line(`Homeostat is ready after ${await homeostat.start()} ms, console ${homeostat.address()}`)
    view.phase('starting the fleet', null)
    await startFleet(layout)
    const startedAtMs = Date.now()
    probes = openProbes(layout)
    view.watch({ probes, homeostat, folder: layout.folder })
    await wait(view, 'warm-up: learning what is normal', WARMUP_MS, signal)
    await wait(view, 'healthy: nothing may happen', healthyMs, signal)
    const actions = readWitness(layout.folder, startedAtMs).length
    const incidents = (await homeostat.incidents()).length
    view.line(`healthy period over: ${actions} actions, ${incidents} incidents`)
    const reports: CaseReport[] = []
    for (const fault of planFaults(layout, seeded(seed), cases)) {
      if (signal.aborted) break
      view.phase(`fault ${reports.length + 1} of ${cases.length}: ${fault.name}`, null)
      const report = await runCase({ layout, homeostat, probes, say: text => view.line(text), signal }, fault)
      reports.push(report)
      view.report(report)
    }
    const pass = actions === 0 && reports.length === cases.length && reports.every(report => report.pass)
    return { pass, seed, healthy: { seconds: healthyMs / 1_000, actions, incidents }, cases: reports }
  } finally {
    probes?.close()
    view.phase('stopping', null)
    await destroyLab(layout, keep)
    view.close()
  }
}

async function wait(view: LabView, name: string, ms: number, signal: AbortSignal): Promise<void> {
  const untilMs = Date.now() + ms
  view.phase(name, untilMs)
  while (Date.now() < untilMs && !signal.aborted) await pause(Math.min(TICK_MS, Math.max(1, untilMs - Date.now())))
}
