// Counters of shards as counters of the worker: what was added since the last report, whichever shards came and went.

import type { Meter } from '../schemas/ports.ts'
import type { LiveShard } from './checkpoint.ts'
import { addCoverage, type Coverage } from './score/coverage.ts'
import type { Scorer } from './score/scorer.ts'

/** Coverage is O(series), so seldom. */
const COVERAGE_MS = 10_000

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

/** @returns reports how much of what is watched is heard, and how long telemetry is on its way: what no health endpoint on the way can tell */
export function coverageReporter(meter: Meter): (scorers: readonly Scorer[], monotonicMs: number) => void {
  let reportedMs = Number.NEGATIVE_INFINITY
  return (scorers, monotonicMs) => {
    if (monotonicMs - reportedMs < COVERAGE_MS) return
    reportedMs = monotonicMs
    const coverage: Coverage = { series: 0, heard: 0, entities: 0, entitiesAbsent: 0 }
    for (const scorer of scorers) {
      addCoverage(coverage, scorer)
      for (const [sender, delayMs] of scorer.canaries) meter.gauge('homeostat.canary.delay', delayMs / 1_000, { sender })
    }
    meter.gauge('homeostat.detect.entities_absent', coverage.entitiesAbsent)
    if (coverage.series > 0) meter.gauge('homeostat.detect.coverage', coverage.heard / coverage.series)
  }
}
