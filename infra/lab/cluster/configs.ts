// A configuration for every process of a cluster run: what they share, and what tells them apart.

import { join } from 'node:path'
import type { Config, ConfigInput } from '../../../schemas/config.ts'
import type { EnvironmentName, LabLayout } from '../layout.ts'
import { freePorts } from '../ports.ts'
import { actSettings, fastSettings, listenAt } from '../settings.ts'

/** Names of the processes and their roles, in the order of the data's way. An actuator is added for each environment. */
const ROLES = {
  intake: 'intake',
  'detect-1': 'detect',
  'detect-2': 'detect',
  'control-1': 'control',
  'control-2': 'control',
  store: 'store',
  console: 'console'
}
/** A member that is silent for this long loses its partitions: the lab heals within seconds, and so does it. */
export const SESSION_TIMEOUT_MS = 6_000

export type KafkaClientName = Config['kafka']['client']

export interface ClusterPlan {
  folder: string
  /** The library that the processes speak to the broker with. */
  client: KafkaClientName
  environments: readonly EnvironmentName[]
  brokers: readonly string[]
  otlp: LabLayout['otlp']
  consolePort: number
  clickHousePort: number
  /** Where each process answers /readyz, by its name. */
  healthPorts: ReadonlyMap<string, number>
  signingKeyFile: string
  verificationKeyFile: string
}

/** Chooses every port of the run; they stay the same over restarts. */
export async function planCluster({
  folder,
  client,
  environments,
  brokers
}: Pick<ClusterPlan, 'folder' | 'client' | 'environments' | 'brokers'>): Promise<ClusterPlan> {
  const names = [...Object.keys(ROLES), ...environments.map(actuatorOf)]
  const [grpc, http, clickHousePort, consolePort, ...free] = (await freePorts(names.length + 4)) as [number, number, number, number, ...number[]]
  return {
    ...{ folder, client, environments, brokers },
    otlp: { grpc: `127.0.0.1:${grpc}`, http: `127.0.0.1:${http}` },
    consolePort,
    clickHousePort,
    // The console answers probes on its own port.
    healthPorts: new Map(names.map((name, index) => [name, name === 'console' ? consolePort : free[index]!])),
    signingKeyFile: join(folder, 'signing.pem'),
    verificationKeyFile: join(folder, 'verification.pem')
  }
}

function actuatorOf(environment: EnvironmentName): string {
  return `act-${environment}`
}

/** One configuration a process. The actuator of a fleet keeps its data where the fleet's process table is. */
export function clusterConfigs(plan: ClusterPlan, fleets: readonly LabLayout[]): { name: string; role: string; config: ConfigInput }[] {
  const roles = Object.entries(ROLES).map(([name, role]) => ({ name, role, config: { ...shared(plan, name), ...ofRole(plan, role) } }))
  const actuators = fleets.map(layout => {
    const name = actuatorOf(layout.environment)
    const act = { ...actSettings(layout), verificationKeyFiles: [plan.verificationKeyFile] }
    return { name, role: 'act', config: { ...shared(plan, name), environment: layout.environment, dataDir: join(layout.folder, 'homeostat'), act } }
  })
  return [...roles, ...actuators]
}

function shared(plan: ClusterPlan, name: string): ConfigInput {
  const { folder, client, environments, brokers, healthPorts, clickHousePort, otlp } = plan
  const [environment, ...others] = environments
  const fast = fastSettings(folder)
  return {
    ...fast,
    environment: environment!,
    environments: others,
    dataDir: join(folder, 'data', name),
    log: { kind: 'kafka' },
    kafka: {
      client,
      brokers: [...brokers],
      instance: name,
      sessionTimeout: `${SESSION_TIMEOUT_MS}ms`,
      topics: { replication: 1, minInsyncReplicas: 1 }
    },
    store: { ...fast.store, url: `http://127.0.0.1:${clickHousePort}` },
    health: { listen: { port: healthPorts.get(name)! } },
    self: { endpoint: `http://${otlp.grpc}`, interval: '5s', hostMetrics: name === 'intake' }
  }
}

function ofRole({ folder, otlp, consolePort, signingKeyFile }: ClusterPlan, role: string): Partial<ConfigInput> {
  if (role === 'intake') return { intake: { grpc: listenAt(otlp.grpc), http: listenAt(otlp.http) } }
  if (role === 'control') return { decide: { ...fastSettings(folder).decide, signingKeyFile } }
  if (role === 'console') return { console: { listen: { port: consolePort } } }
  return {}
}
