// The fleet of one run: its folder with every file, its processes started in order, all of them gone at the end.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { COUNTRIES, freePorts, type LabLayout, SERVICES, type ServiceName } from './layout.ts'
import { findProcesses, findScript, type ProcessIdentity, signalProcess } from './processes.ts'
import { spawnDetached } from './spawn.ts'

const FLEET_FOLDER = join(import.meta.dirname, 'fleet')
/** A small heap that is collected early: the resident set of a healthy service hardly moves. */
export const NODE_FLAGS = ['--max-semi-space-size=1', '--disable-warning=ExperimentalWarning'] as const
const START_DEADLINE_MS = 15_000 // On a busy machine a service needs 1-2 s.
const STOP_GRACE_MS = 5_000 // Homeostat closes its log and store; the services are gone within one.
const POLL_MS = 50

/** Argument vector of one process of the fleet: what the process definitions allow to be started. */
export function argvOf(script: ServiceName | 'load', folder: string): string[] {
  return [process.execPath, ...NODE_FLAGS, join(FLEET_FOLDER, `${script}.ts`), folder]
}

/** Makes the folder with layout, configurations and caches. */
export async function createLab(seed: number, otlp?: LabLayout['otlp']): Promise<LabLayout> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-lab-'))
  const ports = await freePorts(SERVICES.length + 2)
  const layout: LabLayout = {
    folder,
    seed,
    labPid: process.pid,
    ports: Object.fromEntries(SERVICES.map((service, index) => [service, ports[index]!])) as Record<ServiceName, number>,
    otlp: otlp ?? { grpc: `127.0.0.1:${ports.at(-2)}`, http: `127.0.0.1:${ports.at(-1)}` }
  }
  writeFileSync(join(folder, 'lab.json'), JSON.stringify(layout, null, 2))
  for (const service of SERVICES) {
    mkdirSync(join(folder, service))
    const config = JSON.stringify({ countries: Object.fromEntries(COUNTRIES.map(country => [country, `${service}-${country.toLowerCase()}`])) }, null, 2)
    const cache = JSON.stringify(Object.fromEntries(COUNTRIES.map((country, index) => [country, 10 + index])))
    for (const [name, text] of [
      ['config', config],
      ['cache', cache]
    ]) {
      writeFileSync(join(folder, service, `${name}.json`), text!)
      writeFileSync(join(folder, service, `${name}.good.json`), text!)
    }
  }
  return layout
}

/** Starts the services, waits until each answers, then lets the customers in. */
export async function startFleet(layout: LabLayout): Promise<void> {
  for (const service of SERVICES) startScript(layout, service)
  await Promise.all(SERVICES.filter(service => service !== 'store').map(service => untilHealthy(layout, service)))
  startScript(layout, 'load')
}

export function startScript({ folder }: LabLayout, script: ServiceName | 'load'): number {
  return spawnDetached(argvOf(script, folder), join(folder, `${script}.log`))
}

/** The running process of a service, whoever started it. */
export function processOf({ folder }: LabLayout, script: ServiceName | 'load'): ProcessIdentity | undefined {
  return findScript(`fleet/${script}.ts`, folder)
}

async function untilHealthy({ ports, folder }: LabLayout, service: ServiceName): Promise<void> {
  const deadline = Date.now() + START_DEADLINE_MS
  while (Date.now() < deadline) {
    const healthy = await fetch(`http://127.0.0.1:${ports[service]}/healthz`, { signal: AbortSignal.timeout(1_000) }).then(
      response => response.ok,
      () => false
    )
    if (healthy) return
    await pause(POLL_MS)
  }
  throw new Error(`${service} does not answer after ${START_DEADLINE_MS} ms: see ${join(folder, `${service}.log`)}`)
}

/** Ends every process of this run, stopped ones too, and removes the folder unless it is kept. */
export async function destroyLab({ folder }: LabLayout, keep: boolean): Promise<void> {
  const ours = (): ProcessIdentity[] => findProcesses(folder)
  for (const process of ours()) {
    signalProcess(process, 'SIGTERM')
    signalProcess(process, 'SIGCONT') // A stopped process takes no signal but this and KILL.
  }
  const deadline = Date.now() + STOP_GRACE_MS
  while (ours().length > 0 && Date.now() < deadline) await pause(POLL_MS)
  for (const process of ours()) signalProcess(process, 'SIGKILL')
  if (!keep) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
