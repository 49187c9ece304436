// Homeostat under test as one process of its own, with the embedded log and ClickHouse inside.
//
// Ports are chosen once a run, so that a killed and restarted Homeostat is found by the fleet's exporters again.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { listProcesses, type ProcessStat, sameProcess, signalProcess } from '../../actuators/drivers/process-table.ts'
import { spawnSupervised } from '../../actuators/drivers/supervise.ts'
import type { ConfigInput } from '../../schemas/config.ts'
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
  return {
    folder: layout.folder,
    homeostat: prepareHomeostat(layout),
    fleets: [layout],
    processes: () => [{ name: 'homeostat', role: 'all', pid: leaderOf(layout)?.pid }],
    failures: async () => [],
    end: keep => destroyLab(layout, keep)
  }
}

/** Writes configuration, process definitions, policies and runbooks of the run; nothing is started yet. */
export function prepareHomeostat(layout: LabLayout): Homeostat {
  const dataDir = join(layout.folder, 'homeostat')
  const configFile = join(layout.folder, 'homeostat.yaml')
  const logFile = join(layout.folder, 'homeostat.log')
  mkdirSync(dataDir, { recursive: true })
  renderRules(layout.folder, [layout])
  // JSON is YAML; a run's configuration is written by no person and read by those who look for a failure.
  writeFileSync(configFile, JSON.stringify(configOf(layout, dataDir), null, 2))

  function address(): string {
    const { console } = JSON.parse(readFileSync(join(dataDir, 'addresses.json'), 'utf8')) as { console: string }
    return console
  }

  return {
    address,
    async start() {
      const begunMs = Date.now()
      const argv = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, 'start', '--config', configFile]
      const definition = { argv, env: {}, passEnv: [], logFile, grace: 0 }
      const started = await spawnSupervised({ runDir: join(layout.folder, 'lab'), name: 'homeostat', definition })
      while (Date.now() - begunMs < READY_DEADLINE_MS) {
        if (!sameProcess(started)) throw new Error(`Homeostat ended at its start:\n${logTail(logFile)}`)
        if (existsSync(join(dataDir, 'addresses.json')) && (await whyNotReady(address())) === undefined) return Date.now() - begunMs
        await pause(POLL_MS)
      }
      throw new Error(`Homeostat is not ready after ${READY_DEADLINE_MS} ms:\n${logTail(logFile)}`)
    },
    async kill() {
      const leader = leaderOf(layout)
      if (leader) await killGroup(leader)
    },
    ...consoleClient(address, () => (leaderOf(layout) ? '' : `, it has ended:\n${logTail(logFile)}`))
  }
}

function leaderOf({ folder }: LabLayout): ProcessStat | undefined {
  return findProcesses(folder).find(({ argv }) => argv.includes(MAIN))
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

function configOf(layout: LabLayout, dataDir: string): ConfigInput {
  return {
    ...fastSettings(layout.folder),
    dataDir,
    environment: layout.environment,
    intake: { grpc: listenAt(layout.otlp.grpc), http: listenAt(layout.otlp.http) },
    act: actSettings(layout),
    console: { listen: { port: layout.consolePort } },
    self: { interval: '5s' }
  }
}
