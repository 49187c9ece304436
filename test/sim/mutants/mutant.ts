// A planted bug: what it replaces of the ports and settings of a world. Product code has no switch for it.

import type { UnsignedCommand } from '../../../actuators/decide/command.ts'
import type { PolicySet } from '../../../actuators/decide/policy-file.ts'
import type { CommandVerifier } from '../../../actuators/execute/signer.ts'
import type { CheckpointStore, Clock, Driver, LedgerStore, Log, Signals } from '../../../schemas/ports.ts'
import type { SimProcess } from '../process.ts'
import type { Timeline } from '../timeline.ts'

export interface Mutant {
  name: string
  /** The log itself is broken. */
  brokenLog?(log: Log): Log
  /** The process makes wrong use of the log. */
  log?: ((log: Log, of: { process: SimProcess; timeline: Timeline }) => Log) | undefined
  checkpoints?(store: CheckpointStore): CheckpointStore
  policies?(set: PolicySet): PolicySet
  actClock?(clock: Clock): Clock
  ledger?(store: LedgerStore, of: { process: SimProcess }): LedgerStore
  driver?(driver: Driver): Driver
  verifier?(verifier: CommandVerifier): CommandVerifier
  /** What decide signs. */
  unsigned?(command: UnsignedCommand): UnsignedCommand
  signals?(signals: Signals, clock: Clock): Signals
  /** False: the targets take every order. */
  comparesFence?: boolean
}

export const NO_MUTANT: Mutant = { name: 'none' }
