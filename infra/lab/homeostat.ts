// Homeostat under test as one process of its own, with the embedded log and ClickHouse inside.
//
// Ports are chosen once a run, so that a killed and restarted Homeostat is found by the fleet's exporters again.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { listProcesses, type ProcessStat, sameProcess, signalProcess } from '../../actuators/drivers/process-table.ts'
import { spawnSupervised } from '../../actuators/drivers/supervise.ts'
import type { ConfigInput } from '../../schemas/config.ts'
import { openPages } from './cases/pages.ts'
import { createLab, destroyLab, pause } from './fleet.ts'
import type { LabLayout } from './layout.ts'
import { findProcesses } from './processes.ts'
import { renderRules } from './rules.ts'
import { actSettings, fastSettings, listenAt } from './settings.ts'
import { consoleClient, type Homeostat, type Stage, whyNotReady } from './stage.ts'

/** Entry of the program under test. */
export const MAIN = join(import.meta.dirname, '..', '..', 'pipeline', 'main.ts')
const READY_DEADLINE_MS = 90_000 // The first start creates the ClickHouse tables; on a busy machine that takes a while.
const POLL_MS = 100

/** One fleet, and one process beside it. Nothing is started yet. */
export async function openSingle(seed: number): Promise<Stage> {
  const layout = await createLab(seed)
  const pages = await openPages()
  return {
    folder: layout.folder,
    homeostat: prepareHomeostat(layout, pages.url),
    fleets: [layout],
    pages,
    processes: () => [{ name: 'homeostat', role: 'all', pid: leaderOf(layout.folder)?.pid }],
    failures: async () => [],
    async end(keep) {
      await pages.close()
      await destroyLab(layout, keep)
    }
  }
}

/**
 * Writes configuration, process definitions, policies and runbooks of the run; nothing is started yet.
 * @param pagesUrl where people are told; absent: nobody is
 */
export function prepareHomeostat(layout: LabLayout, pagesUrl?: string): Homeostat {
  renderRules(layout.folder, [layout])
  const escalation = pagesUrl === undefined ? {} : { escalation: { channels: { default: { kind: 'webhook' as const, url: pagesUrl } } } }
  const act = { ...actSettings(layout), ...escalation }
  return homeostatProcess({ folder: layout.folder, config: { ...fastSettings(layout.folder), ...oneProcessSettings(layout), act } })
}

export interface HomeostatOptions {
  /** Of the run: configuration, log and data go below it. */
  folder: string
  config: ConfigInput
  /** Entry of the program; the project's own unless a run wraps it. */
  main?: string
}

/** One process with all roles, started anew by each `start`. Its configuration is written, nothing is started yet. */
export function homeostatProcess({ folder, config, main = MAIN }: HomeostatOptions): Homeostat {
  const dataDir = dataDirOf(folder)
  const configFile = join(folder, 'homeostat.yaml')
  const logFile = join(folder, 'homeostat.log')
  mkdirSync(dataDir, { recursive: true })
  // JSON is YAML; a run's configuration is written by no person and read by those who look for a failure.
  writeFileSync(configFile, JSON.stringify(config, null, 2))

  function address(): string {
    const { console } = JSON.parse(readFileSync(join(dataDir, 'addresses.json'), 'utf8')) as { console: string }
    return console
  }

  return {
    address,
    async start() {
      const begunMs = Date.now()
      const argv = [process.execPath, '--disable-warning=ExperimentalWarning', main, 'start', '--config', configFile]
      const definition = { argv, env: {}, passEnv: [], limits: {}, logFile, grace: 0 }
      const started = await spawnSupervised({ runDir: join(folder, 'lab'), name: 'homeostat', definition })
      while (Date.now() - begunMs < READY_DEADLINE_MS) {
        if (!sameProcess(started)) throw new Error(`Homeostat ended at its start:\n${logTail(logFile)}`)
        if (existsSync(join(dataDir, 'addresses.json')) && (await whyNotReady(address())) === undefined) return Date.now() - begunMs
        await pause(POLL_MS)
      }
      throw new Error(`Homeostat is not ready after ${READY_DEADLINE_MS} ms:\n${logTail(logFile)}`)
    },
    async kill() {
      const leader = leaderOf(folder, main)
      if (leader) await killGroup(leader)
    },
    ...consoleClient(address, () => (leaderOf(folder, main) ? '' : `, it has ended:\n${logTail(logFile)}`))
  }
}

function leaderOf(folder: string, main = MAIN): ProcessStat | undefined {
  return findProcesses(folder).find(({ argv }) => argv.includes(main))
}

/** kill -9 of a process and of those in its group (roles that it hosts); services that it restarted lead groups of their own and live on. */
export async function killGroup(leader: ProcessStat): Promise<void> {
  const group = listProcesses().filter(({ group: of }) => of === leader.pid)
  for (const member of group) signalProcess(member, 'SIGKILL')
  while (group.some(member => sameProcess(member))) await pause(5)
}

const LOG_TAIL_LINES = 20

export function logTail(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n') : '(no log)'
}

function dataDirOf(folder: string): string {
  return join(folder, 'homeostat')
}

/** Where one process of all roles keeps its data and listens. */
export function oneProcessSettings({ folder, environment, otlp, consolePort }: Pick<LabLayout, 'folder' | 'otlp' | 'consolePort'> & { environment: string }) {
  return {
    dataDir: dataDirOf(folder),
    environment,
    intake: { grpc: listenAt(otlp.grpc), http: listenAt(otlp.http) },
    console: { listen: { port: consolePort } },
    self: { interval: '5s' }
  } satisfies Partial<ConfigInput>
}
