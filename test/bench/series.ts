// bench series: what a million series cost in memory, and how long it takes until they are back after a restart.
//
// One scorer takes a million gauge series of 2,000 entities with five attributes each (method, route, status, region: shared
// texts; pod: one value per four series), three points a series. Bytes are the growth of the process's array buffers, which
// is everything outside the JS heap, divided by the series; the table's own account must agree. Restore is timed twice:
// from parts in memory, and from a checkpoint on disk, embedded log and all, which is the figure reported. Before that
// the restored scorer must know each series and give the same verdict on the next point as the one that was never stopped.
//
//   npm run -s bench -- series [--json]                    the above
//   npm run -s bench -- series [--json] -- attributes      bytes a series by the kind of its attributes
//   npm run -s bench -- series [--json] -- attack [KEYS]   memory while KEYS (10 million) new series come, default budget

import { baseBudget } from '../../detectors/score/budget.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Scorer } from '../../detectors/score/scorer.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { checkpointStore } from '../../pipeline/log/checkpoint-store.ts'
import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { configSchema } from '../../schemas/config.ts'
import { type BenchOptions, type BenchResult, figure, median, say } from './harness.ts'
import { ENTITIES, keyOf, SERIES, START_MS, type SeriesFleet, seriesFleet } from './series-fleet.ts'
import { cardinalityAttack } from './series/attack.ts'
import { attributeCosts } from './series/attributes.ts'
import { deaf, quiet } from '../support/quiet.ts'

const POINTS_PER_SERIES = 3
const BYTES_GOAL = 256
const RESTORE_GOAL_MS = 1_000
const MIB = 2 ** 20
const ATTACK_KEYS = 10_000_000
const ATTACK_REPORT_KEYS = 1_000_000

export async function seriesBench({ rounds, args }: BenchOptions): Promise<BenchResult> {
  const [task, keys] = args
  if (task === 'attributes') return attributeCosts()
  if (task === 'attack') return attack(keys === undefined ? ATTACK_KEYS : Number(keys))
  if (task !== undefined) throw new Error(`series knows no ${task}; it knows attributes, attack`)
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const before = process.memoryUsage()
  const settings = settingsFrom(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect)
  const budget = () => baseBudget(SERIES)
  const scorer = new Scorer(settings, { budget: budget(), nowMs: () => START_MS })
  const fleet = seriesFleet()

  const begun = performance.now()
  fleet.feed(scorer, 0)
  const admitMs = performance.now() - begun
  const updating = performance.now()
  for (let step = 1; step < POINTS_PER_SERIES; step++) fleet.feed(scorer, step)
  const updateMs = performance.now() - updating
  if (scorer.table.count !== SERIES) throw new Error(`${scorer.table.count} series where ${SERIES} were sent`)

  collect()
  const after = process.memoryUsage()
  const outside = after.arrayBuffers - before.arrayBuffers
  const heap = after.heapUsed - before.heapUsed
  const rssMb = after.rss / MIB
  const snapshotting = performance.now()
  const parts = scorer.takeDirty()
  const snapshotMs = performance.now() - snapshotting

  const memoryMs: number[] = []
  for (let round = 0; round < rounds; round++) {
    // As a store hands parts over: buffers of their own.
    const loaded = new Map([...parts].map(([name, bytes]) => [name, Uint8Array.from(bytes)]))
    const restoring = performance.now()
    const restored = new Scorer(settings, { budget: budget(), nowMs: () => START_MS, parts: loaded })
    memoryMs.push(performance.now() - restoring)
    if (round === 0) compare(fleet, scorer, restored)
  }
  const diskMs = await restoreFromDisk(parts, rounds, loaded => new Scorer(settings, { budget: budget(), nowMs: () => START_MS, parts: loaded }))

  const bytesPerSeries = outside / SERIES
  const restoreMs = median(diskMs)
  say(`1,000,000 series of ${ENTITIES} entities, five attributes each, ${POINTS_PER_SERIES} points`)
  say(
    `  outside the JS heap  ${bytesPerSeries.toFixed(1)} bytes a series (goal ${BYTES_GOAL}); the tables account for ${(scorer.table.bytes / SERIES).toFixed(1)}`
  )
  say(`  JS heap              ${(heap / SERIES).toFixed(1)} bytes a series;  RSS ${rssMb.toFixed(0)} MiB`)
  say(`  new series           ${Math.round(SERIES / (admitMs / 1e3)).toLocaleString('en')}/s`)
  say(`  points               ${Math.round((SERIES * (POINTS_PER_SERIES - 1)) / (updateMs / 1e3)).toLocaleString('en')}/s (find, judge, learn; one core)`)
  say(`  snapshot             ${snapshotMs.toFixed(0)} ms of the loop for ${(size(parts) / MIB).toFixed(0)} MiB`)
  say(
    `  restore              ${median(memoryMs).toFixed(0)} ms from memory, ${restoreMs.toFixed(0)} ms from disk (median of ${rounds}, best ${Math.min(...diskMs).toFixed(0)}; goal ${RESTORE_GOAL_MS}); load ${loadavg()[0]!.toFixed(1)}`
  )
  return {
    bytesPerSeries: figure(bytesPerSeries),
    rssMb: figure(rssMb),
    restoreMs: figure(restoreMs),
    restoreBestMs: figure(Math.min(...diskMs)),
    restoreFromMemoryMs: figure(median(memoryMs)),
    heapBytesPerSeries: figure(heap / SERIES),
    snapshotMs: figure(snapshotMs),
    pointsPerS: figure((SERIES * (POINTS_PER_SERIES - 1)) / (updateMs / 1e3))
  }
}

/** Prints what the process takes every million keys. */
function attack(keys: number): BenchResult {
  const memoryMax = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect.memoryMax
  const rssMb: number[] = []
  say(`cardinality attack, detect.memoryMax ${(memoryMax / MIB).toFixed(0)} MiB`)
  say(`${'keys'.padStart(12)}${'admitted'.padStart(12)}${'refused'.padStart(12)}${'state MiB'.padStart(12)}${'RSS MiB'.padStart(10)}`)
  const report = cardinalityAttack(memoryMax, keys, ({ keys: sent, admitted, refused, bytes }) => {
    if (sent % Math.min(ATTACK_REPORT_KEYS, keys / 4) !== 0) return
    rssMb.push(process.memoryUsage.rss() / MIB)
    const cells = [sent, admitted, refused, Math.round(bytes / MIB)].map(one => one.toLocaleString('en').padStart(12)).join('')
    say(`${cells}${rssMb.at(-1)!.toFixed(0).padStart(10)}`)
  })
  const { group, slotsOfKey, slotsOfOrdinaryBefore, slotsOfOrdinary, slotsOfLateBefore, slotsOfLate, newKeyAdmitted, refusedPerS } = report
  say(`slots of the rich tier, of ${group} series each, half-way -> at the end (the late ones became anomalous in between):`)
  say(
    `  key, from before ${slotsOfKey} at the end; ordinary, from before ${slotsOfOrdinaryBefore} -> ${slotsOfOrdinary}; late ${slotsOfLateBefore} -> ${slotsOfLate}`
  )
  say(`key series that appeared when the base tier was full: ${newKeyAdmitted} of ${group} admitted`)
  say(`${Math.round(refusedPerS).toLocaleString('en')} points/s refused a CPU second, load ${loadavg()[0]!.toFixed(1)}`)
  return {
    ...{ admitted: report.admitted, refused: report.refused, stateMb: figure(report.bytes / MIB), rssMb: figure(rssMb.at(-1)!) },
    ...{ slotsOfKey, slotsOfOrdinaryBefore, slotsOfOrdinary, slotsOfLateBefore, slotsOfLate, newKeyAdmitted, refusedPerS: figure(refusedPerS) }
  }
}

/** Writes the parts through the embedded log, reopens it each time, and times load and restore together. */
async function restoreFromDisk(
  parts: ReadonlyMap<string, Uint8Array>,
  rounds: number,
  open: (parts: ReadonlyMap<string, Uint8Array>) => Scorer
): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-bench-'))
  const openLog = () => EmbeddedLog.open({ dir: folder, clock: systemClock, logger: quiet, meter: deaf, bytesMax: 2 ** 32, groupCommitMs: 2 })
  try {
    const log = await openLog()
    await checkpointStore(log).save('detect:bench', { version: 1, positions: [], parts })
    await log.close()
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      const reopened = await openLog()
      const begun = performance.now()
      const saved = await checkpointStore(reopened).load('detect:bench')
      if (saved === undefined) throw new Error('the checkpoint is not on disk')
      const restored = open(saved.parts)
      times.push(performance.now() - begun)
      if (restored.table.count !== SERIES) throw new Error(`${restored.table.count} series came back`)
      await reopened.close()
    }
    return times
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Throws unless both know the same series and take the next point the same way. */
function compare(fleet: SeriesFleet, running: Scorer, restored: Scorer): void {
  for (let index = 0; index < SERIES; index += 1) {
    const found = restored.table.find(...keyOf(index))
    if (found !== running.table.find(...keyOf(index)) || found < 0) throw new Error(`series ${index} was not restored`)
  }
  const sample = 999_983
  if (JSON.stringify(running.table.attributesOf(sample)) !== JSON.stringify(restored.table.attributesOf(sample))) throw new Error('attributes differ')
  for (const scorer of [running, restored]) {
    scorer.begin(START_MS + POINTS_PER_SERIES * 10_000)
    fleet.point(scorer, sample, POINTS_PER_SERIES)
  }
  const record = (scorer: Scorer) => {
    const found = scorer.table.find(...keyOf(sample))
    return Buffer.from(scorer.table.page(found).buffer, 64 + scorer.table.row(found) * 128, 128)
  }
  if (!record(running).equals(record(restored))) throw new Error('a restored series judges differently')
}

function size(parts: ReadonlyMap<string, Uint8Array>): number {
  let bytes = 0
  for (const part of parts.values()) bytes += part.byteLength
  return bytes
}
