// `homeostat doctor`: looks at everything `start` needs and says how to fix what is missing. Changes nothing.

import { accessSync, constants, existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import type { Config } from '../../schemas/config.ts'
import { loadConfig } from '../config/load.ts'
import { hostPort } from '../host-port.ts'
import { readAddresses, readInstance } from '../instance.ts'
import { counted } from './output.ts'

const DISK_FREE_MIN_BYTES = 2 * 2 ** 30
const STORE_TIMEOUT_MS = 3_000

export interface DoctorRow extends Record<string, unknown> {
  ok: 'yes' | 'no' | 'note'
  check: string
  detail: string
  fix: string
}

export async function doctor(file: string | undefined, folder: string, environment: NodeJS.ProcessEnv): Promise<DoctorRow[]> {
  const rows: DoctorRow[] = []
  const add = (check: string, ok: DoctorRow['ok'], detail: string, fix = ''): number => rows.push({ ok, check, detail, fix: ok === 'yes' ? '' : fix })

  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  add('node', major > 22 || (major === 22 && minor >= 15) ? 'yes' : 'no', process.version, 'start through npm (npm start): it brings its own Node 24')
  let config: Config
  try {
    const loaded = loadConfig(file, folder, environment)
    config = loaded.config
    add('configuration', 'yes', loaded.file ?? 'built-in defaults')
  } catch (cause) {
    add('configuration', 'no', cause instanceof Error ? cause.message : String(cause), 'correct the place it names')
    return rows
  }
  try {
    const { loadRunbookSet } = await import('../roles/control.ts')
    const { policies, runbooks, problems } = loadRunbookSet(config)
    add(
      'policies',
      problems.length === 0 ? 'yes' : 'no',
      problems[0] ?? `${counted(policies, 'policy', 'policies')}, ${counted(runbooks, 'runbook')}`,
      'correct the place it names'
    )
  } catch (cause) {
    add('policies', 'no', cause instanceof Error ? cause.message : String(cause), 'correct the place it names')
  }
  checkDisk(config, add)
  const holder = readInstance(config.dataDir)
  if (holder) add('instance', 'note', `running, pid ${holder.pid}`)
  const own = holder === undefined ? [] : Object.values(readAddresses(config.dataDir))
  for (const [name, { host, port }] of Object.entries({
    'intake gRPC': config.intake.grpc,
    'intake HTTP': config.intake.http,
    console: config.console.listen,
    health: config.health.listen
  })) {
    const door = hostPort(host, port)
    const problem = port === 0 ? '' : await listenProblem(host, port)
    if (!problem) add(name, 'yes', `${door} is free`)
    else if (own.some(address => address?.endsWith(`:${port}`))) add(name, 'yes', `${door} is the running instance's own`)
    else add(name, holder ? 'note' : 'no', `${door}: ${problem}`, 'stop what listens there, or set another port')
    if (!isLoopback(host) && name.startsWith('intake') && config.intake.tokens.length === 0)
      add(name, 'note', `${host} is open to the network without tokens`, 'set intake.tokens and intake.tls')
  }
  await checkStore(config, add)
  add(
    'TensorFlow',
    'yes',
    existsSync(join(import.meta.dirname, '../../node_modules/@tensorflow/tfjs-node'))
      ? 'native (tfjs-node) and wasm'
      : 'wasm (tfjs-node is not installed: fine for small nets)'
  )
  return rows
}

type Add = (check: string, ok: DoctorRow['ok'], detail: string, fix?: string) => number

function checkDisk(config: Config, add: Add): void {
  let existing = config.dataDir
  while (!existsSync(existing)) existing = dirname(existing)
  try {
    accessSync(existing, constants.W_OK)
    rmSync(mkdtempSync(join(existing, '.homeostat-doctor-')), { recursive: true })
    const { bavail, bsize } = statfsSync(existing)
    const freeBytes = bavail * bsize
    add(
      'disk',
      freeBytes >= DISK_FREE_MIN_BYTES ? 'yes' : 'no',
      `${config.dataDir}: ${(freeBytes / 2 ** 30).toFixed(1)} GiB free`,
      'free space, or move dataDir'
    )
  } catch (cause) {
    add('disk', 'no', `${config.dataDir}: ${cause instanceof Error ? cause.message : String(cause)}`, 'make it writable, or set dataDir')
  }
}

async function checkStore(config: Config, add: Add): Promise<void> {
  if (!config.store.url) return void add('ClickHouse', 'yes', 'embedded')
  try {
    const response = await fetch(new URL('/ping', config.store.url), { signal: AbortSignal.timeout(STORE_TIMEOUT_MS) })
    add('ClickHouse', response.ok ? 'yes' : 'no', `${config.store.url} answers ${response.status}`, 'check the server')
  } catch (cause) {
    add('ClickHouse', 'no', `${config.store.url}: ${cause instanceof Error ? cause.message : String(cause)}`, 'check store.url and that the server runs')
  }
}

/** Why nothing can listen there; '' when something can. */
function listenProblem(host: string, port: number): Promise<string> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', error => resolve((error as NodeJS.ErrnoException).code ?? error.message))
    server.listen({ host, port }, () => server.close(() => resolve('')))
  })
}

function isLoopback(host: string): boolean {
  return ['127.0.0.1', '::1', 'localhost'].includes(host)
}
