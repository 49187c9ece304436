// bench takeover: a detector takes over 200 partitions of 1,000 series each, as after the death of the only other one. In seconds.
//
// Checkpoints lie in the embedded log on disk; each round another worker claims all of them, loads them and restores the shards. Told
// beside it is the same with a broker's round trip put before every call of the log. Before measuring, what came back is compared
// with what was saved. A takeover has 15 s, most of which the session timeout takes.

import { budgetOf } from '../../detectors/score/budget.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { listening } from '../../detectors/listening.ts'
import { openOutbox } from '../../detectors/outbox.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { shardName, type ShardTable, shardTable } from '../../detectors/shard-table.ts'
import { checkpointStore } from '../../pipeline/log/checkpoint-store.ts'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { openReader } from '../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../pipeline/otlp/writer.ts'
import { systemClock } from '../../pipeline/system.ts'
import { configSchema } from '../../schemas/config.ts'
import { assert } from '../../schemas/errors.ts'
import type { Log } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { encodeOtlp } from '../support/otlp.ts'
import { type BenchOptions, type BenchResult, figure, median, say } from './harness.ts'
import { deaf, quiet } from '../support/quiet.ts'

const PARTITIONS = 200
const ENTITIES = 50
const METRICS = 20 // An entity's, so 1,000 series a partition.
const ROUND_TRIP_MS = 5 // Of a broker in the same region, disk included.
const LOG_BYTES_MAX = 4 * 2 ** 30
const QUIET_MS = 3_000
const RESTORE_GOAL_MS = 5_000
const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: TOPICS.metrics.name, partition }))

export async function takeoverBench({ rounds }: BenchOptions): Promise<BenchResult> {
  const dir = mkdtempSync(join(tmpdir(), 'homeostat-takeover-'))
  const log = await EmbeddedLog.open({ dir, clock: systemClock, logger: quiet, meter: deaf, bytesMax: LOG_BYTES_MAX, groupCommitMs: 0 })
  try {
    let generation = 0
    const adopted = async (over: Log): Promise<{ table: ShardTable; ms: number }> => {
      const table = openTable(over)
      const begun = performance.now()
      generation++
      const { refused } = await table.adopt(partitions.map(at => ({ ...at, generation })))
      assert(refused.length === 0, 'a partition was refused')
      return { table, ms: performance.now() - begun }
    }
    const { table: owner } = await adopted(log)
    for (const { partition } of partitions) fill(owner, partition)
    const savedBegun = performance.now()
    const saved = await owner.save(owner.live.keys())
    const saveMs = performance.now() - savedBegun
    assert(saved.length === PARTITIONS, 'a checkpoint was not saved')
    const near: number[] = []
    const far: number[] = []
    for (let round = 0; round < rounds; round++) {
      const first = await adopted(log)
      if (round === 0) compare(owner, first.table)
      near.push(first.ms)
      far.push((await adopted(withRoundTrip(log))).ms)
    }
    const [restoreMs, restoreFarMs] = [median(near), median(far)]
    say(`\n  ${PARTITIONS} partitions x ${ENTITIES * METRICS} series, load ${loadavg()[0]!.toFixed(1)}`)
    say(`  restore              ${(restoreMs / 1_000).toFixed(2)} s (median of ${rounds}; goal ${RESTORE_GOAL_MS / 1_000} s)`)
    say(`  with ${ROUND_TRIP_MS} ms a call     ${(restoreFarMs / 1_000).toFixed(2)} s`)
    say(`  save all             ${(saveMs / 1_000).toFixed(2)} s, once`)
    return {
      partitions: PARTITIONS,
      series: PARTITIONS * ENTITIES * METRICS,
      restoreMs: figure(restoreMs),
      restoreFarMs: figure(restoreFarMs),
      saveMs: figure(saveMs)
    }
  } finally {
    await log.close()
    rmSync(dir, { recursive: true, force: true })
  }
}

function openTable(log: Log): ShardTable {
  const config = configSchema.shape.detect.parse({})
  return shardTable({
    shard: {
      ...{ settings: settingsFrom(config), budget: budgetOf(config.memoryMax), openReader, encodeDerived, environment: 'bench' },
      ...{ nowMs: () => systemClock.nowMs(), models: () => [], sources: () => [] }
    },
    ...{ checkpoints: checkpointStore(log), outbox: openOutbox(log, deaf), listening: listening(QUIET_MS), log, logger: quiet, meter: deaf }
  })
}

/** One point of each series. */
function fill(table: ShardTable, partition: number): void {
  const live = table.live.get(shardName({ topic: TOPICS.metrics.name, partition }))!
  const timeUnixNano = `${BigInt(Math.round(systemClock.nowMs())) * 1_000_000n}`
  const text = (key: string, value: string): object => ({ key, value: { stringValue: value } })
  for (let entity = 0; entity < ENTITIES; entity++) {
    const attributes = [text('service.name', `service-${partition}-${entity}`), text('service.instance.id', `instance-${entity}`)]
    const metrics = Array.from({ length: METRICS }, (_, metric) => ({
      ...{ name: `metric.${metric}`, unit: '1', gauge: { dataPoints: [{ timeUnixNano, asDouble: metric }] } }
    }))
    const value = encodeOtlp('metrics', { resourceMetrics: [{ resource: { attributes }, scopeMetrics: [{ metrics }] }] })
    live.shard.take({ topic: TOPICS.metrics.name, partition, offset: entity, key: 'entity', value, headers: {}, appendedAtMs: systemClock.nowMs() })
    live.next = entity + 1
  }
  live.isPositioned = true
  live.isChanged = true
}

function compare(before: ShardTable, after: ShardTable): void {
  for (const [name, { shard, next }] of before.live) {
    const restored = after.live.get(name)!
    assert(restored.next === next, `${name} came back at another position`)
    assert(restored.shard.scorer!.table.count === ENTITIES * METRICS, `${name} came back with other series`)
    for (const [part, page] of shard.scorer!.table.pages.entries()) {
      const other = restored.shard.scorer!.table.pages[part]!
      assert(Buffer.compare(new Uint8Array(page.buffer), new Uint8Array(other.buffer)) === 0, `a page of ${name} came back changed`)
    }
  }
}

function withRoundTrip(log: Log): Log {
  return Object.assign(Object.create(log) as Log, {
    async append(...parameters: Parameters<Log['append']>) {
      await sleep(ROUND_TRIP_MS)
      return log.append(...parameters)
    },
    async read(...parameters: Parameters<Log['read']>) {
      await sleep(ROUND_TRIP_MS)
      return log.read(...parameters)
    },
    offsets: (topic: string) => log.offsets(topic),
    partitions: (topic: string) => log.partitions(topic)
  })
}
