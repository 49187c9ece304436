// Faults one after another in the fleets while Homeostat is hurt; what is not healed in time is repaired by hand.

import { type Fault, planFaults, repair } from '../../infra/lab/faults.ts'
import { pause } from '../../infra/lab/fleet.ts'
import type { LabLayout } from '../../infra/lab/layout.ts'
import { healthyAgainMs, type Probes } from '../../infra/lab/probes.ts'
import { seeded } from '../../infra/lab/seeded.ts'
import { type Homeostat, ofEnvironment } from '../../infra/lab/stage.ts'
import { readWitness } from '../../infra/lab/witness.ts'

const FAULT_DEADLINE_MS = 90_000
const QUIET_DEADLINE_MS = 60_000 // For the incident to close before the next fault, kills in between included.
const HOLD_MS = 2_000

/** Of a run of either kind. */
export interface RunOptions {
  seed: number
  keep: boolean
  say(text: string): void
  signal: AbortSignal
}

export interface FaultLoopOptions {
  homeostat: Homeostat
  fleets: readonly { layout: LabLayout; probes: Probes }[]
  seed: number
  say(text: string): void
  signal: AbortSignal
}

/** Ends with the signal. */
export async function faultLoop({ homeostat, fleets, seed, say, signal }: FaultLoopOptions): Promise<void> {
  for (let round = 0; !signal.aborted; round++) {
    const layouts = fleets.map(({ layout }) => layout)
    for (const fault of planFaults(layouts, seeded(seed).fork(`round ${round}`))) {
      if (signal.aborted) return
      const { probes } = fleets.find(({ layout }) => layout === fault.layout)!
      const injectedAtMs = Date.now()
      say(`fault ${fault.name} in ${fault.layout.environment}: ${fault.cause}`)
      const injected = await fault.inject(probes).then(
        () => true,
        (error: Error) => (say(`${fault.name} could not be injected: ${error.message}`), false)
      )
      const healthyAtMs = injected ? await untilHealthy(probes, fault, injectedAtMs, signal) : null
      if (injected) say(`${fault.name}: ${healthyAtMs === null ? 'not healed, repairing by hand' : `healthy after ${healthyAtMs - injectedAtMs} ms`}`)
      if (healthyAtMs === null) await repair(fault.layout, fault.target)
      probes.useCountry('DE')
      probes.workerLimitBytes(Number.POSITIVE_INFINITY)
      await untilQuiet(ofEnvironment(homeostat, fault.layout.environment), signal)
    }
  }
}

/** Effects of orders so far, in all fleets. */
export function effectCount(fleets: readonly LabLayout[]): number {
  return fleets.reduce((sum, { folder }) => sum + readWitness(folder).filter(({ key }) => key !== '').length, 0)
}

/** Waits for an effect at the witness, then a moment more; gives up waiting when nothing happens. */
export async function afterNextEffect(fleets: readonly LabLayout[], momentMs: number, waitMsMax: number, signal: AbortSignal): Promise<void> {
  const before = effectCount(fleets)
  const deadlineMs = Date.now() + waitMsMax
  while (effectCount(fleets) === before && Date.now() < deadlineMs && !signal.aborted) await pause(20)
  await wait(momentMs, signal)
}

/** Waits, a little at a time, so that an interrupted run ends. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  const untilMs = Date.now() + ms
  while (Date.now() < untilMs && !signal.aborted) await pause(Math.min(100, Math.max(1, untilMs - Date.now())))
}

/** Faults come one by one: a second one in an open incident would be another test. */
async function untilQuiet(homeostat: Homeostat, signal: AbortSignal): Promise<void> {
  const deadlineMs = Date.now() + QUIET_DEADLINE_MS
  while (Date.now() < deadlineMs && !signal.aborted) {
    await pause(500)
    const incidents = await homeostat.incidents().catch(() => undefined) // Killed just now.
    if (incidents?.every(({ status }) => status === 'resolved')) return
  }
}

async function untilHealthy(probes: Probes, { streams }: Fault, injectedAtMs: number, signal: AbortSignal): Promise<number | null> {
  while (Date.now() - injectedAtMs < FAULT_DEADLINE_MS && !signal.aborted) {
    const healthy = streams.map(stream => healthyAgainMs(probes.samples(stream), injectedAtMs, Date.now(), HOLD_MS))
    if (!healthy.includes(null)) return Math.max(...healthy.map(Number))
    await pause(200)
  }
  return null
}
