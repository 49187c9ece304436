// Homeostat under test: its own process on generated fast settings, reached as any user reaches it (console API).
//
// Ports are chosen once a run, so that a killed and restarted Homeostat is found by the fleet's exporters again.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { listProcesses, type ProcessStat, sameProcess, signalProcess } from '../../actuators/drivers/process-table.ts'
import { spawnSupervised } from '../../actuators/drivers/supervise.ts'
import type { ConfigInput } from '../../schemas/config.ts'
import type { IncidentStory } from '../../pipeline/console/live-view.ts'
import type { Incident } from '../../schemas/incident.ts'
import { pause } from './fleet.ts'
import { ENVIRONMENT, type LabLayout, SERVICES } from './layout.ts'
import { findProcesses } from './processes.ts'
import { renderRules } from './rules.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'pipeline', 'main.ts')
const RESTORE_TOOL = join(import.meta.dirname, 'tools', 'restore.ts')
const READY_DEADLINE_MS = 90_000 // The first start creates the ClickHouse tables; on a busy machine that takes a while.
const REQUEST_TIMEOUT_MS = 5_000
const POLL_MS = 100
const WARMUP_POINTS = 40

/** From the first point on until baselines may raise anomalies: a point a second, and some for late series. */
export const WARMUP_MS = (WARMUP_POINTS + 10) * 1_000

export interface Homeostat {
  /** Console address. */
  address(): string
  configFile: string
  dataDir: string
  /** Starts it and waits until it is ready. @returns ms that took @throws Error with the end of its log */
  start(): Promise<number>
  process(): ProcessStat | undefined
  /** kill -9 of the process and of those that it hosts roles in (its process group), gone when it resolves. */
  kill(): Promise<void>
  incidents(): Promise<Incident[]>
  story(id: string): Promise<IncidentStory>
  sql<Row = Record<string, unknown>>(query: string): Promise<Row[]>
}

/** Writes configuration, process definitions, policies and runbooks of the run; nothing is started yet. */
export function prepareHomeostat(layout: LabLayout): Homeostat {
  const dataDir = join(layout.folder, 'homeostat')
  const configFile = join(layout.folder, 'homeostat.yaml')
  mkdirSync(dataDir, { recursive: true })
  renderRules(layout)
  // JSON is YAML; a run's configuration is written by no person and read by those who look for a failure.
  writeFileSync(configFile, JSON.stringify(configOf(layout, dataDir), null, 2))

  const running = (): ProcessStat | undefined => findProcesses(layout.folder).find(({ argv }) => argv.includes(MAIN))
  const logFile = join(layout.folder, 'homeostat.log')

  function address(): string {
    const { console } = JSON.parse(readFileSync(join(dataDir, 'addresses.json'), 'utf8')) as { console: string }
    return console
  }

  async function get<Result>(path: string): Promise<Result> {
    const response = await fetch(`${address()}${path}`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) }).catch(cause => {
      if (running()) throw new Error(`Homeostat does not answer at ${path.split('?')[0]}`, { cause })
      throw new Error(`Homeostat has ended:\n${logTail(logFile)}`, { cause })
    })
    if (!response.ok) throw new Error(`${path.split('?')[0]} answered ${response.status}: ${(await response.text()).slice(0, 300)}`)
    return (await response.json()) as Result
  }

  return {
    address,
    configFile,
    dataDir,
    async start() {
      const begunMs = Date.now()
      const argv = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN, 'start', '--config', configFile]
      const definition = { argv, env: {}, passEnv: [], logFile, grace: 0 }
      const started = await spawnSupervised({ runDir: join(layout.folder, 'lab'), name: 'homeostat', definition })
      while (Date.now() - begunMs < READY_DEADLINE_MS) {
        if (!sameProcess(started)) throw new Error(`Homeostat ended at its start:\n${logTail(logFile)}`)
        if (existsSync(join(dataDir, 'addresses.json')) && (await isReady(address))) return Date.now() - begunMs
        await pause(POLL_MS)
      }
      throw new Error(`Homeostat is not ready after ${READY_DEADLINE_MS} ms:\n${logTail(logFile)}`)
    },
    process: running,
    async kill() {
      const leader = running()
      if (!leader) return
      // Services that it restarted lead groups of their own and live on.
      const group = listProcesses().filter(({ group }) => group === leader.pid)
      for (const member of group) signalProcess(member, 'SIGKILL')
      while (group.some(member => sameProcess(member))) await pause(5)
    },
    incidents: () => get<Incident[]>('/api/incidents?limit=100'),
    story: id => get<IncidentStory>(`/api/incidents/${id}`),
    sql: query => get(`/api/sql?query=${encodeURIComponent(query)}`)
  }
}

async function isReady(address: () => string): Promise<boolean> {
  try {
    const response = await fetch(`${address()}/readyz`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}

const LOG_TAIL_LINES = 20

function logTail(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n') : '(no log)'
}

/** Fast settings: seconds where the defaults are minutes. */
function configOf({ folder, otlp, consolePort }: LabLayout, dataDir: string): ConfigInput {
  const listen = (hostPort: string): { host: string; port: number } => ({ host: hostPort.split(':')[0]!, port: Number(hostPort.split(':')[1]) })
  return {
    apiVersion: 'homeostat.io/v1',
    kind: 'Homeostat',
    dataDir,
    environment: ENVIRONMENT,
    intake: { grpc: listen(otlp.grpc), http: listen(otlp.http) },
    store: { batchInterval: '500ms' },
    detect: {
      window: '1s',
      lateness: '1s',
      warmupPoints: WARMUP_POINTS,
      enterPoints: 3,
      absenceMin: '5s',
      checkpointInterval: '2s'
    },
    diagnose: { groupWindow: '20s', resolveAfter: '5s' },
    decide: { policiesDir: join(folder, 'policies'), runbooksDir: join(folder, 'runbooks'), commandExpiry: '30s' },
    act: {
      probeHosts: ['127.0.0.1'],
      drivers: {
        process: { definitionsFile: join(folder, 'processes.yaml') },
        exec: {
          commands: Object.fromEntries(
            (['config', 'cache'] as const).map(what => [
              `restore-${what}`,
              {
                argv: [process.execPath, '--disable-warning=ExperimentalWarning', RESTORE_TOOL, what, '{service}', folder],
                parameters: { service: `^(${SERVICES.join('|')})$` },
                targets: [...SERVICES],
                class: 'convergent' as const,
                timeout: '10s'
              }
            ])
          )
        }
      }
    },
    console: { listen: { port: consolePort } },
    // Faults are seconds long here: what is to be foreseen lies seconds ahead.
    train: { horizon: '15s', window: '10s', heldOut: 0.4 },
    self: { interval: '5s' }
  }
}
