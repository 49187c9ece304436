// Several detect workers, as processes that can be killed, stopped and replaced, on one memory log and one clock; and what
// they found, as its readers see it: repeats dropped, without the moment of detection.

import { DETECT_GROUP, type DetectWorker, detectWorker } from '../../../detectors/worker.ts'
import { checkpointStore } from '../../../pipeline/log/checkpoint-store.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import type { PointSink } from '../../../schemas/otlp.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { type Stoppable, stoppable } from '../../support/stoppable.ts'
import { detectConfig } from './builders.ts'
import type { Rig } from './worker-rig.ts'

const SILENT = { debug() {}, info() {}, warn() {}, error() {}, child: () => SILENT }

export interface Member {
  process: Stoppable
  worker: DetectWorker
}

export interface Fleet {
  /** Members of the group, in the order of joining. */
  readonly members: readonly Member[]
  join(): Promise<void>
  /** Leaves as a process that is told to end. */
  leave(index: number): Promise<void>
  kill(index: number): void
  stop(index: number): void
  /** The group gives up the member, whose session timed out. @returns its coming back, for one that is only stopped */
  expire(index: number): Promise<() => Promise<void>>
  close(): Promise<void>
}

export function aFleet(rig: Rig, config: Record<string, unknown>): Fleet {
  const members: Member[] = []
  const gone: Member[] = []
  return {
    members,
    async join() {
      const process = stoppable(rig)
      const { clock, log } = process
      const worker = detectWorker({
        ...{ log, clock, openReader, encodeDerived, logger: SILENT, meter: rig.meter },
        checkpoints: checkpointStore(log),
        config: detectConfig(config),
        environment: 'lab'
      })
      await worker.start()
      members.push({ process, worker })
    },
    async leave(index) {
      const [member] = members.splice(index, 1)
      await member!.worker.close()
    },
    kill: index => members[index]!.process.kill(),
    stop: index => members[index]!.process.stop(),
    async expire(index) {
      const [member] = members.splice(index, 1)
      gone.push(member!)
      const back = await rig.log.expel(DETECT_GROUP, index)
      return async () => {
        member!.process.resume()
        await turns()
        await back()
        gone.splice(gone.indexOf(member!), 1)
        members.push(member!)
      }
    },
    async close() {
      for (const { worker } of members) await worker.close()
    }
  }
}

/** Lets what is under way settle. */
export async function turns(count = 30): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(resolve => setImmediate(resolve))
}

/** Anomalies by id and status, all but when they were detected; of absence also how long it had lasted by then. */
export function anomaliesOf(rig: Rig): Record<string, unknown>[] {
  const distinct = new Map<string, Record<string, unknown>>()
  for (const { detectedAtMs: _detectedAtMs, ...anomaly } of rig.anomalies()) {
    const { observedAtMs: _observedAtMs, score: _score, reason: _reason, samples: _samples, ...absent } = anomaly
    distinct.set(`${anomaly.id} ${anomaly.status}`, anomaly.detector === 'absence' ? absent : anomaly)
  }
  return [...distinct.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, anomaly]) => anomaly)
}

/** Derived points: shard, series and time, and their values. */
export function derivedOf(rig: Rig): string[] {
  const reader = openReader({ fallback: { entity: '', environment: '' }, seed: 1 })
  const points = new Set<string>()
  const sink: PointSink = {
    point(view) {
      if (!view.name().startsWith('homeostat.')) return
      const series = JSON.stringify([view.resource.entity, view.name(), Object.entries(view.attributes()).sort()])
      points.add(`${series} ${view.startMs}..${view.timeMs} ${view.value} ${view.count} ${view.sum}`)
    }
  }
  for (const record of rig.log.records(TOPICS.metrics.name)) if (record.value !== null) reader.readMetrics(record.value, sink)
  return [...points].sort()
}
