// The crash run against one Homeostat process: kill -9 of all of it, started again at once.

import { createLab, destroyLab, startFleet } from '../../infra/lab/fleet.ts'
import { prepareHomeostat } from '../../infra/lab/homeostat.ts'
import type { LabLayout } from '../../infra/lab/layout.ts'
import { openProbes, type Probes } from '../../infra/lab/probes.ts'
import { type Seeded, seeded } from '../../infra/lab/seeded.ts'
import { WARMUP_MS } from '../../infra/lab/settings.ts'
import type { Homeostat } from '../../infra/lab/stage.ts'
import { readWitness } from '../../infra/lab/witness.ts'
import { startCountingSender } from './counting-sender.ts'
import { afterNextEffect, effectCount, faultLoop, type RunOptions, wait } from './fault-loop.ts'
import { type CrashFindings, findingsOf, holds, untilStored } from './findings.ts'

const UPTIME_MIN_MS = 300 // A kill may come this soon after ready …
const UPTIME_MAX_MS = 6_000 // … and this late.
const EFFECT_WAIT_MAX_MS = 8_000
const AFTER_EFFECT_MAX_MS = 1_500 // Half of the kills aim at the time just after an effect, where the doubt lies.

export interface SingleResult extends CrashFindings {
  pass: boolean
  seed: number
  kills: number
  readyMsMax: number
  requests: { acknowledged: number; refused: number; lost: number }
}

export async function runSingle({ kills, seed, keep, say, signal }: RunOptions & { kills: number }): Promise<SingleResult> {
  const layout = await createLab(seed)
  let probes: Probes | undefined
  let pass = false
  try {
    const homeostat = prepareHomeostat(layout)
    say(`run folder ${layout.folder}, seed ${seed}; ready after ${await homeostat.start()} ms`)
    await startFleet(layout)
    probes = openProbes(layout)
    const sender = startCountingSender(layout.otlp.http)
    await wait(WARMUP_MS, signal)
    const over = new AbortController()
    const faults = faultLoop({ homeostat, fleets: [{ layout, probes }], seed, say, signal: AbortSignal.any([over.signal, signal]) })
    const readyMs = await killLoop({ homeostat, layout, draw: seeded(seed).fork('kills'), kills, say, signal })
    over.abort()
    await faults
    await sender.stop()
    await untilStored(homeostat, signal)
    const findings = await findingsOf(homeostat, sender, readWitness(layout.folder))
    pass = readyMs.length === kills && holds(findings)
    return { pass, seed, kills: readyMs.length, readyMsMax: Math.max(...readyMs), ...findings, requests: sender.requests }
  } finally {
    probes?.close()
    await destroyLab(layout, keep || !pass)
  }
}

interface KillLoop {
  homeostat: Homeostat
  layout: LabLayout
  draw: Seeded
  kills: number
  say(text: string): void
  signal: AbortSignal
}

/** @returns ms from each kill until it was ready again */
async function killLoop({ homeostat, layout, draw, kills, say, signal }: KillLoop): Promise<number[]> {
  const readyMs: number[] = []
  while (readyMs.length < kills && !signal.aborted) {
    if (draw.next() < 0.5) await wait(draw.integer(UPTIME_MIN_MS, UPTIME_MAX_MS), signal)
    else await afterNextEffect([layout], draw.integer(0, AFTER_EFFECT_MAX_MS), EFFECT_WAIT_MAX_MS, signal)
    await homeostat.kill()
    readyMs.push(await homeostat.start())
    say(`kill ${readyMs.length} of ${kills}: ready again after ${readyMs.at(-1)} ms, ${effectCount([layout])} effects so far`)
  }
  return readyMs
}
