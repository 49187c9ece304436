// What shards found, on its way to the topics: encoded, in the order in which it was due, and how far the shards have come.
//
// Flow: worker (batch, tick) -> publisher -> outbox -> log. Points of one due time go out together; the clocks of our shards of
// spans and logs follow what was due until then into every metrics partition (merge.ts).

import { anomalyRecord } from '../schemas/anomaly.ts'
import { encodeRecord } from '../schemas/envelope.ts'
import type { EncodeDerived } from '../schemas/otlp.ts'
import type { Log } from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import { edgeRecord, instanceRecord } from '../schemas/topology.ts'
import { versionWindowRecord } from '../schemas/version-window.ts'
import type { LiveShard } from './checkpoint.ts'
import { clocksRecord, derivedRecord, ownRecord } from './merge.ts'
import type { Outbox } from './outbox.ts'
import { shardName } from './shard-table.ts'

/** Derived points wait for the clocks of all shards: a quarter of a window at most, so that they wait little, within this bound. */
const CLOCKS_EVERY_MS_MAX = 2_000
const CLOCKS_PER_WINDOW = 4
const CLOCKS = 'clocks' // In the outbox; of no shard.

export interface Publisher {
  /** Moves what a shard found into the outbox. */
  collect(live: LiveShard): void
  /** Tells every metrics partition how far these shards have come, when it is time. Everything that they found must be collected. */
  tellClocks(shards: Iterable<LiveShard>, nowMs: number): void
}

export function publisher(options: { log: Log; outbox: Outbox; encodeDerived: EncodeDerived; windowMs: number }): Publisher {
  const { log, outbox, encodeDerived } = options
  const everyMs = Math.min(CLOCKS_EVERY_MS_MAX, options.windowMs / CLOCKS_PER_WINDOW)
  let toldMs = Number.NEGATIVE_INFINITY
  return {
    collect(live) {
      const { anomalies, derived, edges, instances, versions } = live.shard.outputs()
      if (anomalies.length + derived.length + edges.length + instances.length + versions.length === 0) return
      live.isChanged = true
      const name = shardName(live.shard)
      for (const instance of instances) outbox.put(TOPICS.topology.name, encodeRecord(instanceRecord, instance), name)
      for (const anomaly of anomalies) outbox.put(TOPICS.anomalies.name, encodeRecord(anomalyRecord, anomaly), name)
      for (const edge of edges) outbox.put(TOPICS.topology.name, encodeRecord(edgeRecord, edge), name)
      for (const window of versions) outbox.put(TOPICS.versions.name, encodeRecord(versionWindowRecord, window), name)
      derived.sort((a, b) => (a.dueMs ?? 0) - (b.dueMs ?? 0))
      for (const [dueMs, due] of Map.groupBy(derived, point => point.dueMs)) {
        for (const [environment, points] of Map.groupBy(due, point => point.entity.environment)) {
          for (const { entity, request } of encodeDerived(points)) {
            const record = dueMs === undefined ? ownRecord(entity, request, name) : derivedRecord(entity, environment, request, name, dueMs)
            outbox.put(TOPICS.metrics.name, record, name)
          }
        }
      }
    },
    tellClocks(shards, nowMs) {
      if (nowMs - toldMs < everyMs) return
      toldMs = nowMs
      const clocks: Record<string, number> = {}
      for (const { shard } of shards) if (shard.scorer === undefined) clocks[shardName(shard)] = shard.notes.clockMs
      if (Object.keys(clocks).length === 0) return
      for (let partition = 0; partition < log.partitions(TOPICS.metrics.name); partition++) {
        outbox.put(TOPICS.metrics.name, clocksRecord(partition, clocks), CLOCKS)
      }
    }
  }
}
