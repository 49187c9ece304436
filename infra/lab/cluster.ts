// Homeostat as a cluster: every role its own process, a real Kafka broker between them, ClickHouse asked over HTTP.
//
//   intake ×1   detect ×2 (share the partitions)   control ×2 (one owns, one stands by)   act ×2 (one an environment)   store ×1   console ×1
//
// Two fleets, an environment each, so that an actuator that read another one's commands would be seen at once. Whoever dies is started
// again by the supervisor, as systemd would. The crash test kills and stops what is named here. One folder holds everything of a run.

import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sameProcess } from '../../actuators/drivers/process-table.ts'
import { BACK_SOON, type KafkaBroker, startKafka } from '../../test/support/kafka-broker.ts'
import { type ClusterPlan, clusterConfigs, type KafkaClientName, planCluster } from './cluster/configs.ts'
import { ownershipFailures } from './cluster/ownership.ts'
import { openSupervisor, type Supervised, type Supervisor } from './cluster/supervisor.ts'
import { createLab, destroyLab, makeRunFolder, pause } from './fleet.ts'
import { logTail, MAIN } from './homeostat.ts'
import { ENVIRONMENTS, type EnvironmentName, type LabLayout } from './layout.ts'
import { renderRules } from './rules.ts'
import { consoleClient, type Homeostat, type Stage, whyNotReady } from './stage.ts'

const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--disable-warning=TimeoutNegativeWarning']
const CLICKHOUSE = join(import.meta.dirname, 'cluster', 'clickhouse.ts')
const READY_DEADLINE_MS = 90_000 // Nine processes start at once; on a busy machine of two cores that takes a while.
const SETTLE_DEADLINE_MS = 90_000 // Every process answers within seconds where the machine lets it; how soon a takeover is over test:crash measures.
const SETTLE_POLL_MS = 1_000 // A probe asks the brokers for every group: not more often than anybody's probes would.
const CLOSE_DEADLINE_MS = 8_000 // Roles close in order while broker and ClickHouse still answer.
const COMMAND_TIMEOUT_MS = 60_000
const POLL_MS = 100
const BROKER_HEAP_MB = 512

export interface Cluster extends Stage {
  plan: ClusterPlan
  broker: KafkaBroker
  /** Homeostat's processes and ClickHouse by name; the broker is `broker`. */
  supervised: ReadonlyMap<string, Supervised>
  /** Why a process is not ready, or undefined. */
  unready(name: string): Promise<string | undefined>
}

export interface ClusterOptions {
  environments?: readonly EnvironmentName[]
  client?: KafkaClientName
}

/** Makes folder, fleets, keys and configurations and starts the broker. Homeostat is started by `homeostat.start`. */
export async function openCluster(seed: number, { environments = ENVIRONMENTS, client = 'kafkajs' }: ClusterOptions = {}): Promise<Cluster> {
  const folder = makeRunFolder()
  const broker = await startKafka({ heapMb: BROKER_HEAP_MB, settings: BACK_SOON })
  const plan = await planCluster({ folder, client, environments, brokers: broker.brokers })
  const fleets: LabLayout[] = []
  for (const environment of environments)
    fleets.push(await createLab(seed, { folder: join(folder, environment), environment, otlp: plan.otlp, consolePort: plan.consolePort }))
  renderRules(folder, fleets)
  writeKeys(plan)
  const supervisor = openSupervisor(join(folder, 'supervisor'))
  addClickHouse(supervisor, plan)
  for (const { name, role, config } of clusterConfigs(plan, fleets)) addRole(supervisor, plan, name, role, config)
  const homeostat = clusterHomeostat(supervisor, plan)
  let ended: Promise<void> | undefined
  return {
    folder,
    homeostat,
    fleets,
    plan,
    broker,
    supervised: supervisor.processes,
    processes: () => [{ name: 'broker', role: 'broker', pid: broker.pid }, ...supervisor.list()],
    unready: name => unready(plan, supervisor, name),
    failures: () => clusterFailures(plan, supervisor, broker),
    end(keep) {
      ended ??= end(folder, supervisor, broker, keep)
      return ended
    }
  }
}

function writeKeys({ signingKeyFile, verificationKeyFile }: ClusterPlan): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  writeFileSync(signingKeyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  writeFileSync(verificationKeyFile, publicKey.export({ type: 'spki', format: 'pem' }))
}

function addClickHouse(supervisor: Supervisor, { folder, clickHousePort }: ClusterPlan): void {
  supervisor.add({
    name: 'clickhouse',
    role: 'clickhouse',
    argv: [process.execPath, ...NODE_FLAGS, CLICKHOUSE, folder, String(clickHousePort), String(process.pid)],
    logFile: join(folder, 'clickhouse.log')
  })
}

function addRole(supervisor: Supervisor, { folder }: ClusterPlan, name: string, role: string, config: object): void {
  const configFile = join(folder, `${name}.yaml`)
  // JSON is YAML; a run's configuration is written by no person and read by those who look for a failure.
  writeFileSync(configFile, JSON.stringify(config, null, 2))
  const argv = [process.execPath, ...NODE_FLAGS, MAIN, 'start', '--role', role, '--config', configFile]
  supervisor.add({ name, role, argv, logFile: join(folder, `${name}.log`) })
}

function clusterHomeostat(supervisor: Supervisor, plan: ClusterPlan): Homeostat {
  const address = (): string => `http://127.0.0.1:${plan.consolePort}`
  const roles = (): string[] => [...supervisor.processes.keys()]
  return {
    address,
    async start() {
      const begunMs = Date.now()
      supervisor.resume()
      await supervisor.start('clickhouse')
      await homeostatCommand(plan, ['topics', 'apply'])
      // Together, as a cluster manager does: each waits for what it needs.
      await Promise.all(roles().map(name => supervisor.start(name)))
      while (Date.now() - begunMs < READY_DEADLINE_MS) {
        const waiting = await Promise.all(roles().map(name => unready(plan, supervisor, name)))
        if (waiting.every(reason => reason === undefined)) return Date.now() - begunMs
        await pause(POLL_MS)
      }
      const waiting = (await Promise.all(roles().map(name => unready(plan, supervisor, name)))).filter(reason => reason !== undefined)
      throw new Error(`Homeostat is not ready after ${READY_DEADLINE_MS} ms: ${waiting.join('\n')}`)
    },
    async kill() {
      supervisor.hold()
      await Promise.all(roles().map(name => supervisor.processes.get(name)!.kill()))
    },
    ...consoleClient(address, () => {
      const running = supervisor.processes.get('console')?.pid() !== undefined
      return running ? '' : `, the console does not run:\n${logTail(join(plan.folder, 'console.log'))}`
    })
  }
}

/** A command of the program itself, as an operator runs it. @throws Error with what it printed */
async function homeostatCommand({ folder }: ClusterPlan, command: readonly string[]): Promise<void> {
  const argv = [...NODE_FLAGS, MAIN, ...command, '--config', join(folder, 'control-1.yaml')]
  await promisify(execFile)(process.execPath, argv, { timeout: COMMAND_TIMEOUT_MS }).catch((cause: Error & { stdout?: string; stderr?: string }) => {
    throw new Error(`homeostat ${command.join(' ')} failed: ${cause.stdout ?? ''}${cause.stderr ?? cause.message}`, { cause })
  })
}

async function unready(plan: ClusterPlan, supervisor: Supervisor, name: string): Promise<string | undefined> {
  const found = supervisor.processes.get(name)!
  const tail = (): string => logTail(join(plan.folder, `${name}.log`))
  if (found.pid() === undefined) return `${name} does not run:\n${tail()}`
  const port = plan.healthPorts.get(name)
  if (port === undefined) return undefined // ClickHouse: whoever needs it waits for it.
  const reason = await whyNotReady(`http://127.0.0.1:${port}`)
  return reason && `${name} is not ready, ${reason}:\n${tail()}`
}

/** Looked at again for a while: on a busy machine a probe may come too late, and a group may be sharing anew. */
async function clusterFailures(plan: ClusterPlan, supervisor: Supervisor, broker: KafkaBroker): Promise<string[]> {
  const deadlineMs = Date.now() + SETTLE_DEADLINE_MS
  for (;;) {
    const failures = await failuresNow(plan, supervisor, broker)
    if (failures.length === 0 || Date.now() > deadlineMs) return failures
    await pause(SETTLE_POLL_MS)
  }
}

async function failuresNow(plan: ClusterPlan, supervisor: Supervisor, broker: KafkaBroker): Promise<string[]> {
  const down: (string | undefined)[] = []
  // One after the other: each asks the broker for every group, and all at once were late together.
  for (const name of supervisor.processes.keys()) down.push(await unready(plan, supervisor, name))
  const restarted = [...supervisor.processes.values()].filter(({ restarts }) => restarts() > 0).map(({ name, restarts }) => `${name} ended ${restarts()} times`)
  return [...down.filter(reason => reason !== undefined), ...restarted, ...(await ownershipFailures(broker.brokers, plan.environments))]
}

/** Roles first, while what they stand on still answers; then everything else. */
async function end(folder: string, supervisor: Supervisor, broker: KafkaBroker, keep: boolean): Promise<void> {
  supervisor.hold()
  const roles = [...supervisor.processes.values()].filter(({ role }) => role !== 'clickhouse')
  const running = roles.flatMap(found => found.end() ?? [])
  const deadlineMs = Date.now() + CLOSE_DEADLINE_MS
  while (running.some(sameProcess) && Date.now() < deadlineMs) await pause(POLL_MS)
  await destroyLab({ folder }, keep)
  await broker.stop()
}
