// Homeostat as a process of a test: started with a configuration and roles, asked by its doors, ended by a signal.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConfigInput } from '../../schemas/config.ts'
import { eventually } from './log-tools.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'pipeline', 'main.ts')
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--disable-warning=TimeoutNegativeWarning']
const READY_DEADLINE_MS = 200_000 // Seconds each on free cores; several start at once, the store with an engine of its own.
const COMMAND_TIMEOUT_MS = 100_000
const ANSWER_MS_MAX = 30_000

export interface HomeostatProcess {
  pid: number
  dataDir: string
  configFile: string
  /** As addresses.json has them; after `ready`. */
  addresses(): Record<string, string>
  /** Resolves once /readyz says so. @throws Error with its log when it ends before */
  ready(): Promise<void>
  /** Its whole log lines so far, parsed: all of them after its end. */
  lines(): Record<string, unknown>[]
  /** Sends the signal and waits for the end. Safe to call on one that ended. @returns the exit code, or the signal that ended it */
  end(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>
}

/** @param name of its files in `folder`: configuration, data directory */
export function startHomeostat(folder: string, name: string, options: { roles?: string; config: Partial<ConfigInput> }): HomeostatProcess {
  const configFile = join(folder, `${name}.yaml`)
  const dataDir = options.config.dataDir ?? join(folder, name)
  // JSON is YAML.
  writeFileSync(configFile, JSON.stringify({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', ...options.config, dataDir }))
  const argv = [...NODE_FLAGS, MAIN, 'start', '--config', configFile, ...(options.roles ? ['--role', options.roles] : [])]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const ended = exitOf(child)
  const addresses = (): Record<string, string> => JSON.parse(readFileSync(join(dataDir, 'addresses.json'), 'utf8')) as Record<string, string>
  return {
    pid: child.pid!,
    dataDir,
    configFile,
    addresses,
    ready: () =>
      eventually(
        `${name} is ready`,
        async () => {
          if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}:\n${log}`)
          return existsSync(join(dataDir, 'addresses.json')) && (await statusOf(`${addresses().health}/readyz`)) === 200
        },
        READY_DEADLINE_MS
      ).catch(cause => {
        throw new Error(`${String(cause)}\n${log}`)
      }),
    lines: () =>
      log
        .split('\n')
        .slice(0, -1) // The last one is still being written.
        .filter(line => line.startsWith('{'))
        .map(line => JSON.parse(line) as Record<string, unknown>),
    async end(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      return ended
    }
  }
}

/** A command of the program, as an operator types it. */
export function homeostat(configFile: string, command: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise(resolve => {
    execFile(process.execPath, [...NODE_FLAGS, MAIN, ...command, '--config', configFile], { timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr })
    )
  })
}

/** Status of a GET; 0 when nobody answers. */
export async function statusOf(url: string): Promise<number> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0
  }
}

/** When it has ended and all that it said was read. */
async function exitOf(child: ChildProcess): Promise<number | NodeJS.Signals> {
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return code ?? signal!
}
