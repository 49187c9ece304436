// kill -9 of the whole Homeostat at seeded instants during a lab run, restarted at once: what it promised must hold.
//
// usage: npm run -s test:crash -- [--kills 30] [--seed N] [--keep]. Last line of stdout: one JSON object. Exit code 0 when all holds.
//   every acknowledged point and log record is in ClickHouse, none twice
//   no side effect happened twice (the fleet's witness), and each belongs to a step of an outcome
//   every command has exactly one outcome
//   it comes back every time

import { parseArgs } from 'node:util'
import { type Fault, planFaults, repair } from '../../infra/lab/faults.ts'
import { createLab, destroyLab, pause, startFleet } from '../../infra/lab/fleet.ts'
import { prepareHomeostat } from '../../infra/lab/homeostat.ts'
import { healthyAgainMs, openProbes, type Probes } from '../../infra/lab/probes.ts'
import { type Seeded, seeded } from '../../infra/lab/seeded.ts'
import { WARMUP_MS } from '../../infra/lab/settings.ts'
import type { Homeostat } from '../../infra/lab/stage.ts'
import { readWitness } from '../../infra/lab/witness.ts'
import { startCountingSender } from './counting-sender.ts'
import { type CrashFindings, findingsOf, untilStored } from './findings.ts'

const UPTIME_MIN_MS = 300 // A kill may come this soon after ready …
const UPTIME_MAX_MS = 6_000 // … and this late.
const EFFECT_WAIT_MAX_MS = 8_000
const AFTER_EFFECT_MAX_MS = 1_500 // Half of the kills aim at the time just after an effect, where the doubt lies.
const FAULT_DEADLINE_MS = 90_000
const QUIET_DEADLINE_MS = 60_000 // For the incident to close before the next fault, kills in between included.
const HOLD_MS = 2_000

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '30' }, seed: { type: 'string', default: '1' }, keep: { type: 'boolean', default: false } }
})
const seed = Number(values.seed)
const killsWanted = Number(values.kills)
const say = (text: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 23)} ${text}\n`)

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort())

const layout = await createLab(seed)
let probes: Probes | undefined
let pass = false
try {
  const homeostat = prepareHomeostat(layout)
  say(`run folder ${layout.folder}, seed ${seed}; ready after ${await homeostat.start()} ms`)
  await startFleet(layout)
  probes = openProbes(layout)
  const sender = startCountingSender(layout.otlp.http)
  await wait(WARMUP_MS)
  const over = new AbortController()
  const faults = faultLoop(homeostat, probes, AbortSignal.any([over.signal, interrupted.signal]))
  const readyMs = await killLoop(homeostat, seeded(seed).fork('kills'))
  over.abort()
  await faults
  await sender.stop()
  await untilStored(homeostat, interrupted.signal)
  const findings = await findingsOf(homeostat, sender, readWitness(layout.folder))
  pass = readyMs.length === killsWanted && holds(findings)
  process.stdout.write(`${JSON.stringify({ pass, seed, kills: readyMs.length, readyMsMax: Math.max(...readyMs), ...findings, requests: sender.requests })}\n`)
} finally {
  probes?.close()
  await destroyLab(layout, values.keep || !pass)
}
process.exit(interrupted.signal.aborted ? 130 : pass ? 0 : 1)

function holds(findings: CrashFindings): boolean {
  const { acknowledged, lost, storedTwice, effectsTwice, effectsWithoutStep, commandsWithoutOutcome, commandsWithTwoOutcomes } = findings
  return acknowledged > 0 && lost + storedTwice + effectsTwice + effectsWithoutStep + commandsWithoutOutcome + commandsWithTwoOutcomes === 0
}

/** @returns ms from each kill until it was ready again */
async function killLoop(homeostat: Homeostat, draw: Seeded): Promise<number[]> {
  const readyMs: number[] = []
  while (readyMs.length < killsWanted && !interrupted.signal.aborted) {
    if (draw.next() < 0.5) await wait(draw.integer(UPTIME_MIN_MS, UPTIME_MAX_MS))
    else await afterNextEffect(draw.integer(0, AFTER_EFFECT_MAX_MS))
    await homeostat.kill()
    readyMs.push(await homeostat.start())
    say(`kill ${readyMs.length} of ${killsWanted}: ready again after ${readyMs.at(-1)} ms, ${effectCount()} effects so far`)
  }
  return readyMs
}

/** Waits for an effect at the witness, then a moment more; gives up waiting when nothing happens. */
async function afterNextEffect(momentMs: number): Promise<void> {
  const before = effectCount()
  const deadlineMs = Date.now() + EFFECT_WAIT_MAX_MS
  while (effectCount() === before && Date.now() < deadlineMs && !interrupted.signal.aborted) await pause(20)
  await wait(momentMs)
}

function effectCount(): number {
  return readWitness(layout.folder).filter(({ key }) => key !== '').length
}

/** Faults one after another while Homeostat is killed; what is not healed in time is repaired by hand. */
async function faultLoop(homeostat: Homeostat, eyes: Probes, signal: AbortSignal): Promise<void> {
  for (let round = 0; !signal.aborted; round++) {
    for (const fault of planFaults([layout], seeded(seed).fork(`round ${round}`))) {
      if (signal.aborted) return
      const injectedAtMs = Date.now()
      say(`fault ${fault.name}: ${fault.cause}`)
      await fault.inject(eyes)
      const healthyAtMs = await untilHealthy(eyes, fault, injectedAtMs)
      say(`${fault.name}: ${healthyAtMs === null ? 'not healed, repairing by hand' : `healthy after ${healthyAtMs - injectedAtMs} ms`}`)
      if (healthyAtMs === null) await repair(layout, fault.target)
      eyes.useCountry('DE')
      eyes.workerLimitBytes(Number.POSITIVE_INFINITY)
      await untilQuiet(homeostat, signal)
    }
  }
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

async function untilHealthy(eyes: Probes, { streams }: Fault, injectedAtMs: number): Promise<number | null> {
  while (Date.now() - injectedAtMs < FAULT_DEADLINE_MS && !interrupted.signal.aborted) {
    const healthy = streams.map(stream => healthyAgainMs(eyes.samples(stream), injectedAtMs, Date.now(), HOLD_MS))
    if (!healthy.includes(null)) return Math.max(...healthy.map(Number))
    await pause(200)
  }
  return null
}

async function wait(ms: number): Promise<void> {
  const untilMs = Date.now() + ms
  while (Date.now() < untilMs && !interrupted.signal.aborted) await pause(Math.min(100, Math.max(1, untilMs - Date.now())))
}
