// A real OpenTelemetry Collector for end-to-end tests: found in the cache or built, started with a configuration, watched.
//
// The binary is never downloaded ready-made: infra/collector/build.sh compiles it once into a cache outside the repository.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../../infra/lab/ports.ts'

const BUILD_TIMEOUT_MS = 15 * 60_000 // Three minutes on an idle machine with an empty Go cache.
const READY_TIMEOUT_MS = 120_000 // Two seconds on an idle machine.
const POLL_MS = 100
const buildScript = fileURLToPath(new URL('../../infra/collector/build.sh', import.meta.url))

/** An example configuration that users copy: `agent-grpc`, `gateway-kafka`, … */
export const exampleConfig = (name: string): string => fileURLToPath(new URL(`../../infra/collector/${name}.yaml`, import.meta.url))

/**
 * The Collector's binary, or why there is none. With CI=true it is built when Go is there.
 * `missing` must be printed by the test that skips; with CI=true it must fail instead (`requireCollector`).
 */
export function findCollector(): { binary: string } | { missing: string } {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'homeostat', 'collector')
  const binary = process.env['HOMEOSTAT_OTELCOL'] ?? join(cache, 'otelcol')
  if (existsSync(binary)) return { binary }
  if (process.env['CI'] !== 'true') return { missing: `no Collector at ${binary}; build it with: sh infra/collector/build.sh` }
  if (!onPath('go')) return { missing: `no Collector at ${binary} and no Go to build it with` }
  execFileSync('sh', [buildScript, cache], { stdio: ['ignore', 'ignore', 'inherit'], timeout: BUILD_TIMEOUT_MS })
  return { binary: join(cache, 'otelcol') }
}

/** The binary; `undefined` where the test may skip (reason printed). With CI=true a missing Collector is a failure. */
export function requireCollector(): string | undefined {
  const found = findCollector()
  if ('binary' in found) return found.binary
  if (process.env['CI'] === 'true') throw new Error(found.missing)
  console.warn(`skipped: ${found.missing}`)
  return undefined
}

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some(folder => existsSync(join(folder, program)))
}

/** Refuses (throws with the Collector's words) a configuration that it would not start with. */
export function validateConfig(binary: string, file: string, env: Readonly<Record<string, string>> = {}): void {
  execFileSync(binary, ['validate', '--config', file], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
}

export interface RunningCollector {
  /** Where its own OTLP receiver listens. */
  grpcPort: number
  httpPort: number
  /** All it has logged so far. */
  log(): string
  /** Its own metrics by name, summed over their labels: `otelcol_exporter_sent_metric_points__…`. */
  metrics(): Promise<ReadonlyMap<string, number>>
  /** SIGTERM, then waits until it has flushed and ended. Safe to call twice. */
  stop(): Promise<void>
  /** kill -9: what it has not written down is gone. */
  kill(): Promise<void>
}

export interface CollectorOptions {
  binary: string
  /** Configuration file; merged with the part that opens its own metrics. */
  config: string
  /** Variables of the example configurations: HOMEOSTAT_GRPC, HOMEOSTAT_HTTP, LOG_FILES, … */
  env?: Readonly<Record<string, string>>
  /** More YAML, merged over the configuration (a shorter interval, for instance). */
  overlay?: string
}

/** Starts a Collector on free ports and waits until it runs. */
export async function startCollector(options: CollectorOptions): Promise<RunningCollector> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-collector-'))
  const [grpcPort, httpPort, metricsPort, healthPort] = await freePorts(4)
  const telemetry = join(folder, 'telemetry.yaml')
  const reader = `{ pull: { exporter: { prometheus: { host: 127.0.0.1, port: ${metricsPort} } } } }`
  writeFileSync(telemetry, `service: { telemetry: { metrics: { level: detailed, readers: [${reader}] } } }\n`)
  const overlay = join(folder, 'overlay.yaml')
  writeFileSync(overlay, options.overlay ?? '{}\n')
  const files = [options.config, telemetry, overlay].flatMap(file => ['--config', file])
  const doors = { AGENT_GRPC_PORT: grpcPort, AGENT_HTTP_PORT: httpPort, GATEWAY_GRPC_PORT: grpcPort, GATEWAY_HTTP_PORT: httpPort, HEALTH_PORT: healthPort }
  const ports = Object.fromEntries(Object.entries(doors).map(([name, port]) => [name, String(port)]))
  const env = { ...process.env, ...ports, QUEUE_DIR: join(folder, 'queue'), ...options.env }
  const child = spawn(options.binary, files, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (log += String(chunk)))
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  const stop = (): Promise<void> => end('SIGTERM')
  try {
    await waitUntilReady(child, () => log)
  } catch (error) {
    await stop()
    throw error
  }
  return { grpcPort: grpcPort!, httpPort: httpPort!, log: () => log, metrics: () => scrape(metricsPort!), stop, kill: () => end('SIGKILL') }
}

async function waitUntilReady(child: ChildProcess, log: () => string): Promise<void> {
  const endMs = Date.now() + READY_TIMEOUT_MS
  while (!log().includes('Everything is ready')) {
    if (child.exitCode !== null) throw new Error(`the Collector ended with ${child.exitCode}: ${log()}`)
    if (Date.now() > endMs) throw new Error(`the Collector is not ready after ${READY_TIMEOUT_MS} ms: ${log()}`)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

async function scrape(port: number): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const sums = new Map<string, number>()
  for (const line of text.split('\n')) {
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)/.exec(line)
    if (parts !== null) sums.set(parts[1]!, (sums.get(parts[1]!) ?? 0) + Number(parts[2]))
  }
  return sums
}
