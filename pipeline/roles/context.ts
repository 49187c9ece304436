// What every role's opener gets, and what it gives back. app.ts makes the one and keeps the other.

import type { Config } from '../../schemas/config.ts'
import type { Clock, Log, Logger, Random } from '../../schemas/ports.ts'
import type { RoleHost, RoleOptions } from '../hosting/role-host.ts'
import type { Probes } from '../self/health-routes.ts'
import type { SelfMeter } from '../self/meter.ts'
import type { DetectorReports } from './detectors.ts'
import type { Role, RoleSet } from './select.ts'
import type { StoreReads } from './hosted-reads.ts'

export interface RoleContext {
  config: Config
  /** Those of this process. */
  roles: RoleSet
  /** The process environment, where secrets are named. */
  environment: Readonly<Record<string, string | undefined>>
  log: Log
  clock: Clock
  random: Random
  meter: SelfMeter
  /** Lines that carry the role. */
  logger(role: Role): Logger
  /** Reads of ClickHouse: through the store role of this process, else from the server. */
  reads: StoreReads
  /** What the detectors know, wherever they run. */
  openDetectors(): Promise<DetectorReports>
  /** Runs `<role>-role.ts` beside the main thread; with `restart: false` for one call, and the caller closes it. */
  host(role: Role, kind: RoleOptions['kind'], extra?: Partial<RoleOptions>): Promise<RoleHost>
  probes: Probes
  /** Aborted when what is being opened is to be given up. */
  stop: AbortSignal | undefined
  /** Says on the health of this process what people should mend though the work goes on; undefined: it is mended. */
  warn(what: string, detail: string | undefined): void
}

export interface OpenRole {
  /** Doors of the role, by their name for people, as URLs. */
  addresses?: Readonly<Record<string, string>>
  /** Doors of the role as addresses.json has them for programs. */
  published?: Readonly<Record<string, string>>
  /** Rejects with the bug that stopped the role: the process ends, and whoever supervises it starts it again. */
  finished?: Promise<unknown>
  close(): Promise<void>
}

/** What a hosted role gets as its data. */
export interface RoleData {
  config: Config
  /** Its name among the hosted roles of this process: the role, or `detect-2`. */
  name: string
  pretty: boolean
}
