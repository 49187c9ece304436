// The fleet of one run: its folder with every file, its processes started in order, all of them gone at the end.
//
// Services are started as the process driver starts them (actuators/drivers/supervise.ts), so Homeostat finds their run
// files and a restart by it is the same as the first start.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ProcessStat, signalProcess } from '../../actuators/drivers/process-table.ts'
import { spawnSupervised } from '../../actuators/drivers/supervise.ts'
import { type ProcessDefinitions, processDefinitionsSchema } from '../../schemas/process-definitions.ts'
import { COUNTRIES, ENVIRONMENTS, type EnvironmentName, entityOf, type LabLayout, SERVICES, type ServiceName } from './layout.ts'
import { freePorts } from './ports.ts'
import { findProcesses, findScript } from './processes.ts'

const FLEET_FOLDER = join(import.meta.dirname, 'fleet')
/** A small heap that is collected early: the resident set of a healthy service hardly moves. */
export const NODE_FLAGS = ['--max-semi-space-size=1', '--disable-warning=ExperimentalWarning']
const START_DEADLINE_MS = 60_000 // On a busy machine a service needs 1-2 s.
const STOP_GRACE_MS = 5_000 // Homeostat closes its log and store; the services are gone within one.
const POLL_MS = 50

export type Script = ServiceName | 'load'

/** Where Homeostat's process driver keeps its run files, given the run's folder. */
export function runDirOf(folder: string): string {
  return join(folder, 'homeostat', 'processes')
}

/** What several fleets of one run share, and what tells them apart. */
export interface FleetPlace {
  /** Made when it is missing. */
  folder: string
  environment: EnvironmentName
  otlp: LabLayout['otlp']
  consolePort: number
}

/** A new folder for everything of one run, below the system's folder for such. */
export function makeRunFolder(): string {
  return mkdtempSync(join(tmpdir(), 'homeostat-lab-'))
}

/** Makes the folder with layout, configurations and caches. Without a place: a folder and ports of its own. */
export async function createLab(seed: number, place?: FleetPlace): Promise<LabLayout> {
  const free = await freePorts(SERVICES.length + 4)
  const { folder, environment, otlp, consolePort } = place ?? {
    folder: makeRunFolder(),
    environment: ENVIRONMENTS[0],
    otlp: { grpc: `127.0.0.1:${free.at(-2)}`, http: `127.0.0.1:${free.at(-1)}` },
    consolePort: free.at(-4)!
  }
  mkdirSync(folder, { recursive: true })
  const layout: LabLayout = {
    folder,
    environment,
    seed,
    labPid: process.pid,
    ports: Object.fromEntries(SERVICES.map((service, index) => [service, free[index]!])) as Record<ServiceName, number>,
    storeHealthPort: free.at(-3)!,
    consolePort,
    otlp
  }
  writeFileSync(join(folder, 'lab.json'), JSON.stringify(layout, null, 2))
  for (const service of SERVICES) writeServiceFiles(folder, service)
  return layout
}

function writeServiceFiles(folder: string, service: ServiceName): void {
  mkdirSync(join(folder, service))
  const files = {
    config: { countries: Object.fromEntries(COUNTRIES.map(country => [country, `${service}-${country.toLowerCase()}`])) },
    cache: Object.fromEntries(COUNTRIES.map((country, index) => [country, 10 + index]))
  }
  for (const [name, content] of Object.entries(files)) {
    const text = JSON.stringify(content, null, 2)
    writeFileSync(join(folder, service, `${name}.json`), text)
    writeFileSync(join(folder, service, `${name}.good.json`), text)
  }
}

/** What may be started in this run, as the process driver's definitions file lists it. */
export function definitionsOf(layout: LabLayout): ProcessDefinitions['processes'] {
  const { folder } = layout
  const define = (script: Script): object => ({
    argv: [process.execPath, ...NODE_FLAGS, join(FLEET_FOLDER, `${script}.ts`), folder],
    ...(script === 'load' ? {} : { entity: entityOf(script) }),
    logFile: join(folder, `${script}.log`),
    grace: '2s'
  })
  const processes = Object.fromEntries(([...SERVICES, 'load'] as const).map(script => [script, define(script)]))
  return processDefinitionsSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'ProcessDefinitions', processes }).processes
}

/** Starts the services, waits until each answers, then lets the customers in. */
export async function startFleet(layout: LabLayout): Promise<void> {
  for (const service of SERVICES) await startScript(layout, service)
  await Promise.all(SERVICES.map(service => untilHealthy(layout, service)))
  await startScript(layout, 'load')
}

/** Starts one process of the fleet by the lab's own hand: without an idempotency key. */
export function startScript(layout: LabLayout, script: Script): Promise<ProcessStat> {
  return spawnSupervised({ runDir: runDirOf(layout.folder), name: script, definition: definitionsOf(layout)[script]! })
}

/** The running process of a service, whoever started it. */
export function processOf({ folder }: LabLayout, script: Script): ProcessStat | undefined {
  return findScript(`fleet/${script}.ts`, folder)
}

/** Where a service answers `/healthz`. */
export function healthPort({ ports, storeHealthPort }: LabLayout, service: ServiceName): number {
  return service === 'store' ? storeHealthPort : ports[service]
}

async function untilHealthy(layout: LabLayout, service: ServiceName): Promise<void> {
  const deadline = Date.now() + START_DEADLINE_MS
  while (Date.now() < deadline) {
    const healthy = await fetch(`http://127.0.0.1:${healthPort(layout, service)}/healthz`, { signal: AbortSignal.timeout(1_000) }).then(
      response => response.ok,
      () => false
    )
    if (healthy) return
    await pause(POLL_MS)
  }
  throw new Error(`${service} does not answer after ${START_DEADLINE_MS} ms: see ${join(layout.folder, `${service}.log`)}`)
}

/** Ends every process of this run, stopped ones too, and removes the folder unless it is kept. */
export async function destroyLab({ folder }: Pick<LabLayout, 'folder'>, keep: boolean): Promise<void> {
  for (const found of findProcesses(folder)) signalProcess(found, found.state === 'T' ? 'SIGKILL' : 'SIGTERM')
  const deadline = Date.now() + STOP_GRACE_MS
  while (findProcesses(folder).length > 0 && Date.now() < deadline) await pause(POLL_MS)
  for (const found of findProcesses(folder)) signalProcess(found, 'SIGKILL')
  if (!keep) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
