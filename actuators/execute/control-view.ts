// What people said on the control topic, as far as the actuator obeys it: the kill switch and released targets.
//
// Read without a consumer group from the start of the (compacted) topic, so that a restart knows a switch that was set
// last week, and read to the end again right before every act: a switch that is durable in the log stops the next act.

import { controlRecord } from '../../schemas/control.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import type { Log, Logger } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

const RECORDS_PER_READ = 500 // One page of the log; control records are few.
const SCOPES_MAX = 10_000 // Scopes that are switched on at once; more cannot be meant, and each further one is then `global`.

export interface ControlView {
  /** Reads on to the end of the topic. @throws AppError `log_unavailable` when it cannot be read: then nobody may act */
  refresh(): Promise<void>
  /** The scope whose kill switch stops this command, or undefined. */
  killedBy(environment: string, policy: string): { scope: string; by: string; reason: string } | undefined
}

/** @param options.onRelease called for every release_target record, old ones too, in order */
export function controlView(options: { log: Log; logger: Logger; onRelease: (target: string, atMs: number) => void }): ControlView {
  const topic = TOPICS.control.name
  const next = new Map<number, number>()
  const switches = new Map<string, { by: string; reason: string }>()
  let reading: Promise<void> | undefined

  async function readOn(): Promise<void> {
    for (let partition = 0; partition < options.log.partitions(topic); partition++) {
      if (!next.has(partition)) {
        const bounds = (await options.log.offsets(topic)).find(offsets => offsets.partition === partition)
        next.set(partition, bounds?.start ?? 0)
      }
      for (;;) {
        const records = await options.log.read({ topic, partition, offset: next.get(partition)! }, RECORDS_PER_READ)
        if (records.length === 0) break
        for (const record of records) take(record)
        next.set(partition, records.at(-1)!.offset + 1)
      }
    }
  }

  function take(record: Parameters<typeof decodeRecord>[1]): void {
    const decoded = decodeRecord(controlRecord, record)
    if (!decoded.ok) {
      // A tombstone or a newer kind of record; the store role reports what nobody can read.
      options.logger.debug({ reason: decoded.reason }, 'a control record is not for the actuator')
      return
    }
    const control = decoded.record
    if (control.kind === 'release_target') options.onRelease(control.target, control.atMs)
    if (control.kind !== 'kill_switch') return
    const scope = switches.size < SCOPES_MAX || switches.has(control.scope) ? control.scope : 'global'
    if (control.on) switches.set(scope, { by: control.by, reason: control.reason })
    else switches.delete(control.scope)
  }

  return {
    refresh() {
      // One reader at a time; whoever asks meanwhile needs a read that began after they asked.
      const turn = (reading ?? Promise.resolve()).catch(() => undefined).then(readOn)
      reading = turn
      return turn
    },
    killedBy(environment, policy) {
      for (const scope of ['global', `environment/${environment}`, `policy/${policy}`]) {
        const set = switches.get(scope)
        if (set) return { scope, ...set }
      }
      return undefined
    }
  }
}
