// What an acceptance case stands on: a folder, ports, a Homeostat of its own, processes that end with the lab, and a receiver of pages.
//
// A case brings its own small system (real child processes), policies and runbooks; nothing here knows what it is about.
//
//   FOLDER/rig.json            this layout: every process of the case is started with FOLDER as its last argument and reads it
//   FOLDER/witness.jsonl       what reached the actuated side, written by that side (see effects.ts)
//   FOLDER/policies, runbooks  of the case, its `${name}` filled in

import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type ProcessStat, signalProcess } from '../../../actuators/drivers/process-table.ts'
import { spawnSupervised } from '../../../actuators/drivers/supervise.ts'
import type { ConfigInput } from '../../../schemas/config.ts'
import { type ProcessDefinitions, processDefinitionsSchema } from '../../../schemas/process-definitions.ts'
import { destroyLab, makeRunFolder, NODE_FLAGS, pause, runDirOf } from '../fleet.ts'
import { homeostatProcess, oneProcessSettings } from '../homeostat.ts'
import { ENVIRONMENTS } from '../layout.ts'
import { freePorts } from '../ports.ts'
import { findProcesses } from '../processes.ts'
import type { ScoredFault } from '../scorecard.ts'
import { type Seeded, seeded } from '../seeded.ts'
import { fastSettings } from '../settings.ts'
import type { Homeostat } from '../stage.ts'
import { openPages, type PageReceiver } from './pages.ts'

const POLL_MS = 100
const ANSWER_TIMEOUT_MS = 1_000
const START_DEADLINE_MS = 30_000 // On a busy machine a program needs some seconds.

/** What the processes of a case know. */
export interface RigLayout {
  folder: string
  environment: string
  seed: number
  /** The lab's own process: the case's processes end themselves when it is gone. */
  labPid: number
  /** By the names that the case gave. */
  ports: Readonly<Record<string, number>>
  /** host:port of Homeostat's doors. */
  otlp: { grpc: string; http: string }
  consolePort: number
}

/** The layout, in a process of a case. `folder` is its last argument. */
export function readRig(folder = process.argv.at(-1)!): RigLayout {
  return JSON.parse(readFileSync(join(folder, 'rig.json'), 'utf8')) as RigLayout
}

/** A process of the case, as the process driver's definitions take it. */
export interface Program {
  /** Absolute path of a script of the case; run by this Node. */
  script: string
  args?: readonly string[]
  /** Whose telemetry it sends. */
  entity?: string
  env?: Readonly<Record<string, string>>
  /** Any more keys of a definition (schemas/process-definitions.ts). */
  definition?: Readonly<Record<string, unknown>>
}

export interface RigOptions {
  seed: number
  /** Ports that the case needs, by name. */
  ports?: readonly string[]
  /** With the folders `policies` and `runbooks`: templates, their `${name}` filled from `values`, `ports` (`${port_<name>}`), `${folder}`. */
  rules: string
  values?: Readonly<Record<string, string>>
  /** Started by the case, or by Homeostat's process driver. */
  programs: (layout: RigLayout) => Readonly<Record<string, Program>>
  /** Over the lab's fast settings (settings.ts): whole sections replace. */
  settings?: (layout: RigLayout) => Partial<ConfigInput>
  /** What the actuator may touch beside the programs: sections of `act.drivers`, and `probeHosts`. */
  drivers?: (layout: RigLayout) => NonNullable<NonNullable<ConfigInput['act']>['drivers']>
  /** Least severity that pages; below it there is a ticket. Default: that of the configuration. */
  pageFrom?: 'warning' | 'critical'
  /** Entry of the program under test; a case that wraps ports gives its own. */
  main?: string
  say(line: string): void
  signal: AbortSignal
}

export interface Rig extends RigLayout {
  random: Seeded
  homeostat: Homeostat
  /** The channel `default`: what people were told. */
  pages: PageReceiver
  say(line: string): void
  signal: AbortSignal
  /** Starts a program by the lab's own hand: without an idempotency key. */
  start(name: string): Promise<ProcessStat>
  /** The living processes of a program. */
  find(name: string): ProcessStat[]
  /** Ground truth of the run, for its scorecard; in the order of their injection. */
  faults: ScoredFault[]
  /** Done when the rig ends, whatever happened. */
  atEnd(cleanup: () => void): void
  /** Ends every process of the rig; its folder goes too unless it is kept. */
  end(keep: boolean): Promise<void>
}

/** Folder, ports, rules and configuration are made; nothing but the receiver of pages is started. */
export async function openRig(options: RigOptions): Promise<Rig> {
  const { seed, say, signal } = options
  const names = options.ports ?? []
  const folder = makeRunFolder()
  const free = await freePorts(names.length + 3)
  const layout: RigLayout = {
    folder,
    environment: ENVIRONMENTS[0],
    seed,
    labPid: process.pid,
    ports: Object.fromEntries(names.map((name, index) => [name, free[index]!])),
    otlp: { grpc: `127.0.0.1:${free.at(-1)}`, http: `127.0.0.1:${free.at(-2)}` },
    consolePort: free.at(-3)!
  }
  writeFileSync(join(folder, 'rig.json'), JSON.stringify(layout, null, 2))
  const programs = options.programs(layout)
  const definitions = defineAll(layout, programs)
  const definitionsFile = join(folder, 'processes.yaml')
  writeFileSync(definitionsFile, JSON.stringify({ apiVersion: 'homeostat.io/v1', kind: 'ProcessDefinitions', processes: definitions }, null, 2))
  renderRules(options, layout)
  const pages = await openPages()
  const config: ConfigInput = {
    ...fastSettings(folder),
    ...oneProcessSettings(layout),
    act: {
      probeHosts: ['127.0.0.1'],
      drivers: { process: { definitionsFile }, ...options.drivers?.(layout) },
      escalation: { channels: { default: { kind: 'webhook', url: pages.url } }, ...(options.pageFrom === undefined ? {} : { pageFrom: options.pageFrom }) }
    },
    ...options.settings?.(layout)
  }
  const homeostat = homeostatProcess({ folder, config, ...(options.main === undefined ? {} : { main: options.main }) })
  const cleanups: (() => void)[] = []
  const parsed = processDefinitionsSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'ProcessDefinitions', processes: definitions }).processes
  return {
    ...layout,
    random: seeded(seed),
    homeostat,
    pages,
    say,
    signal,
    start: name => spawnSupervised({ runDir: runDirOf(folder), name, definition: parsed[name]! }),
    find: name => findProcesses(folder).filter(({ argv }) => isProgram(argv, programs[name]!)),
    faults: [],
    atEnd: cleanup => void cleanups.push(cleanup),
    async end(keep) {
      for (const cleanup of cleanups.splice(0)) cleanup()
      await pages.close()
      await destroyLab({ folder }, keep)
    }
  }
}

function isProgram(argv: readonly string[], { script, args = [] }: Program): boolean {
  const at = argv.indexOf(script)
  return at >= 0 && args.every((argument, index) => argv[at + 1 + index] === argument)
}

function defineAll({ folder }: RigLayout, programs: Readonly<Record<string, Program>>): Record<string, ProcessDefinitionInput> {
  return Object.fromEntries(
    Object.entries(programs).map(([name, { script, args = [], entity, env = {}, definition = {} }]) => [
      name,
      {
        argv: [process.execPath, ...NODE_FLAGS, script, ...args, folder],
        ...(entity === undefined ? {} : { entity }),
        env: { ...env },
        logFile: join(folder, `${name}.log`),
        grace: '2s',
        ...definition
      }
    ])
  )
}
type ProcessDefinitionInput = Record<string, unknown> & Pick<ProcessDefinitions['processes'][string], 'argv'>

function renderRules({ rules, values = {} }: RigOptions, { folder, environment, ports }: RigLayout): void {
  const byPort = Object.fromEntries(Object.entries(ports).map(([name, port]) => [`port_${name}`, String(port)]))
  const known: Readonly<Record<string, string>> = { folder, environment, ...byPort, ...values }
  for (const kind of ['policies', 'runbooks']) {
    mkdirSync(join(folder, kind), { recursive: true })
    for (const file of globSync(join(rules, kind, '*.yaml'))) {
      const text = readFileSync(file, 'utf8').replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => known[name] ?? whole)
      writeFileSync(join(folder, kind, basename(file)), text)
    }
  }
}

/**
 * Waits until `holds` answers something else than undefined or false.
 * @returns what it answered; undefined at the deadline, or when the run was interrupted
 */
export async function until<T>(
  { signal }: Pick<Rig, 'signal'>,
  deadlineMs: number,
  holds: () => T | undefined | false | Promise<T | undefined | false>
): Promise<T | undefined> {
  const endMs = Date.now() + deadlineMs
  while (Date.now() < endMs && !signal.aborted) {
    const answer = await holds()
    if (answer !== undefined && answer !== false) return answer
    await pause(POLL_MS)
  }
  return undefined
}

/** Waits so long, or until the run is interrupted. */
export async function wait(rig: Pick<Rig, 'signal'>, ms: number): Promise<void> {
  await until(rig, ms, () => false)
}

/** Whether `path` of the program at this port answers 200 in time. */
export function answers({ ports }: Pick<RigLayout, 'ports'>, port: string, path = '/healthz'): Promise<boolean> {
  return fetch(`http://127.0.0.1:${ports[port]}${path}`, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) }).then(
    ({ ok }) => ok,
    () => false
  )
}

/** Waits until the program answers. @throws Error when it does not */
export async function untilAnswers(rig: Pick<Rig, 'ports' | 'signal'>, port: string): Promise<void> {
  const isUp = await until(rig, START_DEADLINE_MS, () => answers(rig, port))
  if (isUp === undefined && !rig.signal.aborted) throw new Error(`${port} does not start`)
}

/** Ends one process for good, as a fault does. */
export function kill(process: ProcessStat, signal: NodeJS.Signals = 'SIGKILL'): void {
  signalProcess(process, signal)
}
