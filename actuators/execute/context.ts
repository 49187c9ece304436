// What every part of the executor works with: ports, the ledger and the settings of this actuator.

import type { Command } from '../../schemas/command.ts'
import type { CheckResult } from '../../schemas/outcome.ts'
import type { Clock, Driver, Logger, Meter, Signals } from '../../schemas/ports.ts'
import type { CheckPorts, HttpProbe, TcpProbe } from '../verify/checks.ts'
import type { Conditions } from '../verify/conditions.ts'
import type { ControlView } from './control-view.ts'
import type { IncidentView } from './incident-view.ts'
import type { CommandLedger } from './ledger.ts'

/**
 * Checks of neighbours and dependents of what was acted on: harm done elsewhere.
 * @param sinceMs when the act began
 */
export type Collateral = (command: Command, sinceMs: number) => Promise<readonly CheckResult[]>

export interface ExecuteContext {
  ledger: CommandLedger
  drivers: ReadonlyMap<string, Driver>
  signals: Signals
  control: ControlView
  incidents: IncidentView
  probe: HttpProbe
  tcpProbe: TcpProbe
  conditions: Conditions
  collateral: Collateral
  environment: string
  clock: Clock
  logger: Logger
  meter: Meter
  /** Channel that failed commands page; absent when none is configured. */
  pageChannel: string | undefined
  /** Aborts waits when the worker closes; the ledger's open rows carry on next time. */
  stopping: AbortSignal
}

export const checkPorts = (context: ExecuteContext): CheckPorts => context
