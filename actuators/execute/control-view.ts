// What people said on the control topic, as far as the actuator obeys it: the kill switch, released targets, maintenance, and
// what others change.
//
// Read without a consumer group from the start of the (compacted) topic, so that a restart knows a switch that was set
// last week, and read to the end again right before every act: a word that is durable in the log stops the next act.

import { controlRecord } from '../../schemas/control.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import type { Log, LogRecord, Logger } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { noteHold } from '../decide/controls.ts'
import type { DecideState } from '../decide/state.ts'
import { topicTail } from './topic-tail.ts'

const SCOPES_MAX = 10_000 // Scopes that are switched on at once; more cannot be meant, and each further one is then `global`.

export interface ControlView {
  /** Reads on to the end of the topic. @throws AppError `log_unavailable` when it cannot be read: then nobody may act */
  refresh(): Promise<void>
  /** The scope whose kill switch stops this command, or undefined. */
  killedBy(environment: string, policy: string): { scope: string; by: string; reason: string } | undefined
  /** Announced maintenance, and what others did to targets. */
  readonly holds: Pick<DecideState, 'maintenance' | 'changes'>
}

/** @param options.onRelease called for every release_target record, old ones too, in order */
export function controlView(options: { log: Log; logger: Logger; onRelease: (target: string, atMs: number) => void }): ControlView {
  const switches = new Map<string, { by: string; reason: string }>()
  const holds: ControlView['holds'] = { maintenance: {}, changes: {} }

  function take(record: LogRecord): void {
    const decoded = decodeRecord(controlRecord, record)
    if (!decoded.ok) {
      // A tombstone or a newer kind of record; the store role reports what nobody can read.
      options.logger.debug({ reason: decoded.reason }, 'a control record is not for the actuator')
      return
    }
    const control = decoded.record
    noteHold(holds, control)
    if (control.kind === 'release_target') options.onRelease(control.target, control.atMs)
    if (control.kind !== 'kill_switch') return
    const scope = switches.size < SCOPES_MAX || switches.has(control.scope) ? control.scope : 'global'
    if (control.on) switches.set(scope, { by: control.by, reason: control.reason })
    else switches.delete(control.scope)
  }

  return {
    refresh: topicTail(options.log, TOPICS.control.name, take),
    killedBy(environment, policy) {
      for (const scope of ['global', `environment/${environment}`, `policy/${policy}`]) {
        const set = switches.get(scope)
        if (set) return { scope, ...set }
      }
      return undefined
    },
    holds
  }
}
