// A real Apache Kafka broker (KRaft, one node) on loopback for tests: started, killed, paused, restarted at will.
//
// The jars come once from Maven into a cache outside the repository (infra/kafka/fetch.sh). Data is below os.tmpdir() and removed by `stop`.
// The broker dies with the process that started it, even if that one is killed. Tests that only need some broker share one
// (shared-kafka.ts); tests that hurt it start their own.

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../../infra/lab/ports.ts'

const JAVA_VERSION_MIN = 17 // Of Kafka 4 brokers.
const FETCH_TIMEOUT_MS = 5 * 60_000 // 10 to 40 s measured; a slow mirror takes longer.
const READY_TIMEOUT_MS = 120_000 // 2 s on an idle machine; after kill -9 as much more as its session lasts.
const STOP_TIMEOUT_MS = 15_000
const POLL_MS = 50

const infra = fileURLToPath(new URL('../../infra/kafka/', import.meta.url))

/** For a broker that is to be killed: its controller waits for the old session to end before it is ready again. */
export const BACK_SOON = { 'broker.session.timeout.ms': 1_500, 'broker.heartbeat.interval.ms': 300 } as const

export interface KafkaOptions {
  /** More broker settings, over those below. */
  settings?: Readonly<Record<string, string | number | boolean>>
  heapMb?: number
  /** One more listener, with TLS and SCRAM-SHA-512. */
  secured?: { keystoreFile: string; keystorePassword: string; username: string; password: string }
}

export interface KafkaBroker {
  /** `host:port`, as `kafka.brokers` of the configuration takes it. */
  brokers: string[]
  port: number
  /**
   * A second listener for a proxy between client and broker: the proxy connects to `port`, and listens on `advertisedPort`,
   * which is the address that clients of this listener are told.
   */
  proxied: { port: number; advertisedPort: number }
  /** Of the listener `secured`, where it was asked for. */
  securedPort: number
  pid: number
  /** All that it has logged since its last start. */
  log(): string
  /** Ends it in order and removes its data. Safe to call twice. */
  stop(): Promise<void>
  /** kill -9; the data stays. */
  kill(): Promise<void>
  /** SIGSTOP: connections stay open, nothing answers. */
  pause(): void
  resume(): void
  /** Starts it again on the same data and ports after `kill`; a running one is ended in order first. */
  restart(): Promise<void>
}

/**
 * Why no broker can be started here (or no tool of it run), or `undefined`. Fetches the jars when only they are missing.
 * @throws Error with CI=true: there a missing tool is a failure
 */
export function kafkaSkipReason(what: 'broker' | 'tools' = 'broker'): string | undefined {
  const reason = missing(what)
  if (reason !== undefined && process.env['CI'] === 'true') throw new Error(reason)
  return reason
}

/**
 * Folder of the broker's jars (or of those with the command line tools), fetched when the cache has none.
 * @throws Error when Maven is missing or cannot fetch them
 */
export function kafkaJars(what: 'broker' | 'tools' = 'broker'): string {
  const script = join(infra, 'fetch.sh')
  return execFileSync('sh', [script, what], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: FETCH_TIMEOUT_MS }).trim()
}

/** Formats the storage, starts a broker on free ports, and waits until it is ready: 3 s on an idle machine. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaBroker> {
  const jars = kafkaJars()
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-kafka-'))
  const [port, proxiedPort, advertisedPort, controllerPort, securedPort] = (await freePorts(5)) as [number, number, number, number, number]
  const file = join(folder, 'server.properties')
  const base = settingsOf(folder, port, proxiedPort, advertisedPort, controllerPort)
  const settings = { ...base, ...(options.secured && securedSettings(base, options.secured, securedPort)), ...options.settings }
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join('')
  )
  // A short life does not pay for the optimising compiler: with the first one only, the broker is ready in half the time.
  const java = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', `${jars}/*`, `-Dlog4j2.configurationFile=${join(infra, 'log4j2.properties')}`]
  format(java, file, options.secured)

  const logFile = join(folder, 'broker.log')
  const log = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '')
  let running: Running | undefined
  const launch = async (): Promise<void> => {
    running = run([...java, `-Xmx${options.heapMb ?? 512}m`, 'kafka.Kafka', file], logFile)
    broker.pid = running.child.pid!
    await waitUntilReady(running.child, log)
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const ending = running
    running = undefined
    if (ending !== undefined) await endProcess(ending, signal)
  }
  const broker: KafkaBroker = {
    brokers: [`127.0.0.1:${port}`],
    port,
    proxied: { port: proxiedPort, advertisedPort },
    securedPort,
    pid: 0,
    log,
    kill: () => end('SIGKILL'),
    pause: () => void running?.child.kill('SIGSTOP'),
    resume: () => void running?.child.kill('SIGCONT'),
    async restart() {
      await end('SIGTERM')
      await launch()
    },
    async stop() {
      await end('SIGTERM')
      rmSync(folder, { recursive: true, force: true })
    }
  }
  try {
    await launch()
  } catch (error) {
    await broker.stop()
    throw error
  }
  return broker
}

function settingsOf(
  folder: string,
  port: number,
  proxiedPort: number,
  advertisedPort: number,
  controllerPort: number
): Record<string, string | number | boolean> {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},PROXIED://127.0.0.1:${proxiedPort},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port},PROXIED://127.0.0.1:${advertisedPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': false,
    // One node: no replicas, and few partitions of the internal topics, whose creation the first member waits for.
    'default.replication.factor': 1,
    'min.insync.replicas': 1,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    // The largest body that intake takes (64 MiB) fits into a record.
    'message.max.bytes': 70_000_000,
    'replica.fetch.max.bytes': 70_000_000,
    'socket.request.max.bytes': 100_000_000,
    // Groups form at once, and a test may use short sessions.
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1_000,
    // It keeps its place through seconds in which a busy machine does not let it run.
    'broker.session.timeout.ms': 30_000,
    'broker.heartbeat.interval.ms': 2_000,
    // Compaction and retention within seconds, with little memory.
    'log.initial.task.delay.ms': 500,
    'log.cleaner.backoff.ms': 200,
    'log.cleaner.min.cleanable.ratio': 0.01,
    'log.cleaner.dedupe.buffer.size': 4_194_304,
    'log.retention.check.interval.ms': 500,
    'log.segment.delete.delay.ms': 1_000
  }
}

function securedSettings(base: Record<string, string | number | boolean>, secured: NonNullable<KafkaOptions['secured']>, port: number): Record<string, string> {
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
  return {
    listeners: `${base['listeners']},SECURED://127.0.0.1:${port}`,
    'advertised.listeners': `${base['advertised.listeners']},SECURED://127.0.0.1:${port}`,
    'listener.security.protocol.map': `${base['listener.security.protocol.map']},SECURED:SASL_SSL`,
    'sasl.enabled.mechanisms': 'SCRAM-SHA-512',
    'listener.name.secured.scram-sha-512.sasl.jaas.config': scram,
    'ssl.keystore.type': 'PKCS12',
    'ssl.keystore.location': secured.keystoreFile,
    'ssl.keystore.password': secured.keystorePassword
  }
}

function format(java: readonly string[], file: string, user: KafkaOptions['secured']): void {
  const cluster = randomBytes(16).toString('base64url').replace(/[-_]/g, 'A') // 22 characters; a leading dash would be an option.
  const args = ['kafka.tools.StorageTool', 'format', '--config', file, '--cluster-id', cluster]
  if (user !== undefined) args.push('--add-scram', `SCRAM-SHA-512=[name=${user.username},password=${user.password}]`)
  const formatted = spawnSync('java', [...java, ...args], { encoding: 'utf8' })
  if (formatted.status !== 0) throw new Error(`the broker's storage could not be formatted: ${formatted.stdout}${formatted.stderr}`)
}

interface Running {
  child: ChildProcess
  watchdog: ChildProcess
  ended: Promise<void>
}

function run(args: readonly string[], logFile: string): Running {
  const output = openSync(logFile, 'w')
  const child = spawn('java', args, { stdio: ['ignore', output, output] })
  // Ends the broker and removes its data when our end of its pipe closes, which it does however this process ends.
  const watchdog = spawn('sh', ['-c', 'read _; kill -9 "$0" 2>/dev/null; rm -rf "$1"', String(child.pid), dirname(logFile)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true
  })
  watchdog.unref()
  ;(watchdog.stdin as Socket).unref()
  closeSync(output)
  return { child, watchdog, ended: new Promise(resolve => child.once('exit', () => resolve())) }
}

async function endProcess({ child, watchdog, ended }: Running, signal: NodeJS.Signals): Promise<void> {
  watchdog.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    child.kill('SIGCONT') // A paused process sees no signal but SIGKILL.
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await ended
    clearTimeout(timer)
  }
}

async function waitUntilReady(child: ChildProcess, log: () => string): Promise<void> {
  const endMs = Date.now() + READY_TIMEOUT_MS
  while (!log().includes('Kafka Server started')) {
    if (child.exitCode !== null) throw new Error(`the broker ended with ${child.exitCode}: ${log()}`)
    if (Date.now() > endMs) throw new Error(`the broker is not ready after ${READY_TIMEOUT_MS} ms: ${log()}`)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

function missing(what: 'broker' | 'tools'): string | undefined {
  const java = spawnSync('java', ['-version'], { encoding: 'utf8' })
  const version = Number(/version "(\d+)/.exec(java.stderr ?? '')?.[1] ?? 0)
  if (version < JAVA_VERSION_MIN) return `no Kafka broker: Java ${JAVA_VERSION_MIN} or newer is not on PATH`
  try {
    kafkaJars(what)
    return undefined
  } catch (error) {
    return `no Kafka broker: ${String((error as { stderr?: unknown }).stderr ?? error).trim()}`
  }
}
