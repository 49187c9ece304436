// The fault injector: five faults, their order, targets, parameters and moments drawn from the seed.
//
// Each fault knows its ground truth: who is guilty, which of the lab's probes tell that it is healthy again, and how a
// person would repair it (used when Homeostat did not, so that the next fault meets a healthy fleet).

import { appendFileSync, copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ProcessStat, sameProcess, signalProcess } from '../../actuators/drivers/process-table.ts'
import { pause, processOf, startScript } from './fleet.ts'
import { COUNTRIES, type EnvironmentName, type LabLayout, type ServiceName } from './layout.ts'
import { type Probes, type Stream, storeCommand } from './probes.ts'
import type { Seeded } from './seeded.ts'

export const FAULTS = ['crash_at_start', 'hang', 'dependency_latency', 'error_burst', 'memory_leak'] as const
export type FaultName = (typeof FAULTS)[number]

const DELAY_MAX_MS = 3_000 // Faults fall at any phase of the export second.
const WORKER_HEADROOM_BYTES = 15 * 2 ** 20 // A healthy worker's resident set moves by less than 5 MiB.
const EXIT_DEADLINE_MS = 5_000

export interface Fault {
  name: FaultName
  /** The fleet that it happens to. */
  layout: LabLayout
  target: ServiceName
  /** How long to wait, after all is quiet, before injecting. */
  delayMs: number
  /** One sentence for the ground truth. */
  cause: string
  /** Probe streams that the fault makes unhealthy: all of them healthy again means healed. */
  streams: readonly Stream[]
  inject(probes: Probes): Promise<void>
}

/** The faults of one run, in order; of several fleets they take turns, the seed says who begins. `only` keeps those named. */
export function planFaults(fleets: readonly LabLayout[], random: Seeded, only: readonly FaultName[] = FAULTS): Fault[] {
  const plan: { [Name in FaultName]: (layout: LabLayout, draw: Seeded) => Drawn } = {
    crash_at_start: (layout, draw) => crashAtStart(layout, draw.pick(['orders', 'payments'])),
    hang: (layout, draw) => hang(layout, draw.pick(['orders', 'payments', 'store'])),
    dependency_latency: (layout, draw) => dependencyLatency(layout, draw.integer(350, 500)),
    error_burst: (layout, draw) => errorBurst(layout, draw.pick(['orders', 'payments']), draw.shuffle(COUNTRIES).slice(0, 2)),
    memory_leak: (layout, draw) => memoryLeak(layout, draw.integer(20, 24) * 2 ** 20)
  }
  const first = random.fork('fleet').integer(0, fleets.length - 1)
  return random
    .fork('order')
    .shuffle(FAULTS)
    .map((name, index) => ({ name, layout: fleets[(first + index) % fleets.length]! }))
    .filter(({ name }) => only.includes(name))
    .map(({ name, layout }) => {
      const draw = random.fork(name)
      return { name, layout, delayMs: draw.integer(0, DELAY_MAX_MS), ...plan[name](layout, draw) }
    })
}

type Drawn = Omit<Fault, 'name' | 'layout' | 'delayMs'>

function crashAtStart(layout: LabLayout, target: ServiceName): Drawn {
  return {
    target,
    cause: `${target}: its cache file was torn, then the process was killed; every start fails until the file is restored`,
    streams: ['checkout', target],
    async inject() {
      writeFileSync(join(layout.folder, target, 'cache.json'), '{"DE": 10, "FR": 1')
      await kill(layout, target)
    }
  }
}

function hang(layout: LabLayout, target: ServiceName): Drawn {
  return {
    target,
    cause: `${target}: stopped by SIGSTOP, connections are accepted and never answered`,
    streams: ['checkout', target],
    async inject() {
      signalProcess(running(layout, target), 'SIGSTOP')
    }
  }
}

function dependencyLatency(layout: LabLayout, latencyMs: number): Drawn {
  return {
    target: 'store',
    cause: `store: every operation takes ${latencyMs} ms longer`,
    streams: ['checkout', 'store'],
    async inject() {
      await storeCommand(layout.ports.store, `LATENCY ${latencyMs}`)
    }
  }
}

function errorBurst(layout: LabLayout, target: ServiceName, countries: readonly string[]): Drawn {
  return {
    target,
    cause: `${target}: a new configuration lacks ${countries.join(' and ')}, two fifths of the orders fail`,
    streams: ['checkout'],
    async inject(probes) {
      probes.useCountry(countries[0]!)
      const kept = COUNTRIES.filter(country => !countries.includes(country))
      const config = { countries: Object.fromEntries(kept.map(country => [country, `${target}-${country.toLowerCase()}`])) }
      writeFileSync(join(layout.folder, target, 'config.json'), JSON.stringify(config, null, 2))
    }
  }
}

function memoryLeak(layout: LabLayout, bytesPerS: number): Drawn {
  return {
    target: 'worker',
    cause: `worker: keeps ${bytesPerS / 2 ** 20} MiB more each second`,
    streams: ['worker'],
    async inject(probes) {
      probes.workerLimitBytes(probes.workerBytes() + WORKER_HEADROOM_BYTES)
      await fetch(`http://127.0.0.1:${layout.ports.worker}/admin/leak?bytesPerS=${bytesPerS}`, { method: 'POST' })
    }
  }
}

/** What a person would do: last good files, then a fresh process. Leaves its own lines at the witness, without a key. */
export async function repair(layout: LabLayout, target: ServiceName): Promise<void> {
  for (const name of ['config', 'cache']) copyFileSync(join(layout.folder, target, `${name}.good.json`), join(layout.folder, target, `${name}.json`))
  await kill(layout, target)
  await startScript(layout, target)
}

function running(layout: LabLayout, target: ServiceName): ProcessStat {
  const process = processOf(layout, target)
  if (!process) throw new Error(`${target} does not run: the fault cannot be injected`)
  return process
}

/** kill -9, and wait until it is gone. Nothing to do when it is not there. */
async function kill(layout: LabLayout, target: ServiceName): Promise<void> {
  const process = processOf(layout, target)
  if (!process) return
  signalProcess(process, 'SIGKILL')
  const deadline = Date.now() + EXIT_DEADLINE_MS
  while (sameProcess(process) && Date.now() < deadline) await pause(10)
}

export interface GroundTruth {
  case: FaultName
  seed: number
  environment: EnvironmentName
  target: ServiceName
  injectedAtMs: number
  healthyAgainAtMs: number | null
  cause: string
}

export function recordGroundTruth({ folder }: LabLayout, truth: GroundTruth): void {
  appendFileSync(join(folder, 'ground-truth.jsonl'), `${JSON.stringify(truth)}\n`)
}
