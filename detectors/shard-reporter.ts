// Counters of shards as counters of the worker: what was added since the last report, whichever shards came and went.

import type { Meter } from '../schemas/ports.ts'
import type { LiveShard } from './checkpoint.ts'

/** @returns reports what the shards have counted since the call before */
export function shardReporter(meter: Meter): (shards: ReadonlyMap<string, LiveShard>) => void {
  const reported = new Map<string, { live: LiveShard; counts: Readonly<Record<string, number>> }>()
  return shards => {
    for (const [name, live] of shards) {
      const counts = live.shard.counts()
      const before = reported.get(name)
      // A shard that came back counts from zero.
      const told = before?.live === live ? before.counts : {}
      for (const [counter, count] of Object.entries(counts)) {
        const added = count - (told[counter] ?? 0)
        if (added > 0) meter.count(`homeostat.detect.${counter}`, added)
      }
      reported.set(name, { live, counts })
    }
    for (const name of reported.keys()) if (!shards.has(name)) reported.delete(name)
  }
}
