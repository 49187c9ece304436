// Where everything of one lab run stands: one folder with a file that names ports, seed and endpoints.
//
// Written once by the lab before anything starts and read by every process of the fleet (`node fleet/orders.ts FOLDER`),
// so a restarted service finds its port, its configuration and its state where the one before left them.
//
//   FOLDER/lab.json                 this layout
//   FOLDER/witness.jsonl            what really happened to the services (see witness.ts)
//   FOLDER/ground-truth.jsonl       what the fault injector did
//   FOLDER/<service>/config.json    read at start and again when it changes;  config.good.json is the last good one
//   FOLDER/<service>/cache.json     read at start, the service dies on a broken one;  cache.good.json is the last good one

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** In the order in which they are started: callees before callers. */
export const SERVICES = ['store', 'worker', 'payments', 'orders', 'gateway'] as const
export type ServiceName = (typeof SERVICES)[number]

/** Namespace of the fleets' telemetry. */
export const NAMESPACE = 'lab'

/** Of the fleets' telemetry: one fleet on a single Homeostat, two with services of the same names on a cluster of roles. */
export const ENVIRONMENTS = ['lab', 'lab-west'] as const
export type EnvironmentName = (typeof ENVIRONMENTS)[number]

/** Every order comes from one of these; a bad configuration breaks some of them. */
export const COUNTRIES = ['DE', 'FR', 'IT', 'ES', 'NL'] as const

export interface LabLayout {
  folder: string
  environment: EnvironmentName
  seed: number
  /** The lab's own process: the fleet ends itself when it is gone. */
  labPid: number
  ports: Readonly<Record<ServiceName, number>>
  /** The store speaks its own protocol; its health is asked over HTTP here. */
  storeHealthPort: number
  /** Where telemetry goes: host:port of OTLP over gRPC and over HTTP. */
  otlp: { grpc: string; http: string }
  /** Of Homeostat: the same after a restart. */
  consolePort: number
}

export function readLayout(folder: string): LabLayout {
  return JSON.parse(readFileSync(join(folder, 'lab.json'), 'utf8')) as LabLayout
}

/** The stable identity under which a service's telemetry appears in every environment: `lab/orders@orders-1`. */
export function entityOf(service: ServiceName): string {
  return `${NAMESPACE}/${service}@${service}-1`
}

/** The service of an entity or of a bare service name; undefined when it is none of the fleet. */
export function serviceOf(entity: string): ServiceName | undefined {
  const name = entity.replace(/^.*\//, '').replace(/@.*$/, '')
  return SERVICES.find(service => service === name)
}
