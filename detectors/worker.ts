// The detect role: reads metrics, spans and logs, publishes anomalies, derived series and the service graph.
//
//   batch ─► [outbox empty?] ─► shard.take (state, outputs) ─► outbox ─► log ─► checkpoint (state + positions) ─► commit
//                  └ no: retry later, state untouched
//
// Promise after a crash: outputs are durable before the checkpoint that includes their causes, and positions are committed after
// it; what is read again repeats the same ids and the same derived points, which their readers drop. The same holds when a
// partition moves to another worker (shard-table.ts). Single-threaded: state changes only between awaits. Runs in its own worker
// thread; the tick (TICK_MS) closes windows of senders that fell silent, judges absence and writes checkpoints.

import { anomalyRecord } from '../schemas/anomaly.ts'
import type { Config } from '../schemas/config.ts'
import { encodeRecord } from '../schemas/envelope.ts'
import { AppError } from '../schemas/errors.ts'
import type { EncodeDerived, OpenReader } from '../schemas/otlp.ts'
import type {
  AssignedPartition,
  Batch,
  BatchFate,
  CheckpointStore,
  Clock,
  Log,
  Logger,
  LogRecord,
  Meter,
  Position,
  Subscription,
  TopicPartition
} from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import { edgeRecord } from '../schemas/topology.ts'
import type { LiveShard } from './checkpoint.ts'
import { listening } from './listening.ts'
import { clocksRecord, derivedRecord, isDerived, ownRecord } from './merge.ts'
import { openOutbox } from './outbox.ts'
import { explainSeries, type SeriesExplanation } from './score/explain.ts'
import type { LearnedDetector } from './score/model-hook.ts'
import type { SeriesBudget } from './score/series-table.ts'
import { settingsFrom } from './settings.ts'
import type { ShardOptions } from './shard.ts'
import { shardName, shardTable } from './shard-table.ts'

export interface DetectOptions {
  log: Log
  checkpoints: CheckpointStore
  openReader: OpenReader
  encodeDerived: EncodeDerived
  config: Config['detect']
  /** Environment of telemetry that does not say. */
  environment: string
  clock: Clock
  logger: Logger
  meter: Meter
  /** Learned detectors that are live now; read once per entity window, so a hot-loaded one is used from the next on. */
  models?: () => readonly LearnedDetector[]
}

export interface DetectStats {
  series: number
  seriesRefused: number
  /** Buffers of the series tables, bytes. */
  seriesBytes: number
  entities: number
  shards: number
  /** By name, summed over shards: points, scored, late, duplicate, spans, logs, anomalies, … */
  counts: Readonly<Record<string, number>>
  /** Records read but whose outputs are not durable yet. */
  outboxRecords: number
}

export interface DetectWorker {
  start(): Promise<void>
  /** Writes a last checkpoint, then leaves the group. Safe to call twice. */
  close(): Promise<void>
  stats(): DetectStats
  /** What runs on the series of an entity: baseline, band, state, samples. */
  explain(entity: string): SeriesExplanation[]
  /** Rejects with the bug that stopped the worker; the host restarts it from its checkpoint. */
  readonly finished: Promise<void>
}

export const DETECT_GROUP = 'homeostat-detect'
/** Bound on how late a silent sender's window closes or its absence is noticed. */
const TICK_MS = 250
/** A partition that lags by more than this is a backlog: silence in it says nothing about senders now. */
const BACKLOG_MS = 5_000
/**
 * A tick that comes this late means that the process was stopped or starved: nobody could have been heard, unless the log shows
 * that others were, and another worker may own our partitions by now.
 */
const STALL_MS = 3_000
/** Share of `absenceMin` for which a log without records says nothing against those who are silent in it. */
const QUIET_SHARE = 1 / 5
/** What the log took may show this late (its clock is another machine's, and it syncs): until then nothing is closed by our clock. */
const SETTLE_MS = 250
/** After a takeover, so that another one soon afterwards begins where this one came to, and knows that there was one. */
const FIRST_CHECKPOINT_MS = 1_000
/** For so long a partition that was taken over waits for the others' records to say whether senders were heard meanwhile. */
const EVIDENCE_WAIT_MS = 60_000
const RETRY_MS = 250
/**
 * A later generation holds a partition whose records the log goes on giving us: its group was forgotten and counts anew. No
 * process that was replaced is given records for so long.
 */
const FORCE_AFTER_MS = 20_000
const READ_RECORDS_MAX = 500
/** Derived points wait for the clocks of all shards: a quarter of a window at most, so that they wait little, within these bounds. */
const CLOCKS_EVERY_MS_MAX = 2_000
const CLOCKS_PER_WINDOW = 4
const CLOCKS = 'clocks' // In the outbox; of no shard.

export function detectWorker(options: DetectOptions): DetectWorker {
  const { log, checkpoints, clock, config, logger, meter } = options
  const budget: SeriesBudget = { left: config.seriesMax, refused: 0 }
  const sources = [TOPICS.spans.name, TOPICS.logs.name].flatMap(topic =>
    Array.from({ length: log.partitions(topic) }, (_, partition) => shardName({ topic, partition }))
  )
  const shardOptions: ShardOptions = {
    settings: settingsFrom(config),
    budget,
    openReader: options.openReader,
    encodeDerived: options.encodeDerived,
    environment: options.environment,
    nowMs: () => clock.nowMs(),
    models: options.models ?? (() => []),
    sources: () => sources
  }
  const outbox = openOutbox(log, meter)
  const heard = listening(Math.max(STALL_MS, config.absenceMin * QUIET_SHARE))
  const table = shardTable({ shard: shardOptions, checkpoints, outbox, listening: heard, log, logger, meter })
  const { live: shards } = table
  /** Partitions that a later generation holds, since when, monotonic ms. */
  const refusedSince = new Map<string, number>()
  const reported = new Map<string, { shard: LiveShard; counts: Readonly<Record<string, number>> }>()
  const stop = new AbortController()
  let subscription: Subscription | undefined
  let ticking: Promise<void> = Promise.resolve()
  let checkpointing: Promise<void> = Promise.resolve()
  let awakeMs = clock.monotonicMs()
  let checkpointedMs = clock.monotonicMs()
  let clocksToldMs = Number.NEGATIVE_INFINITY
  const clocksEveryMs = Math.min(CLOCKS_EVERY_MS_MAX, config.window / CLOCKS_PER_WINDOW)
  let waking: Promise<void> = Promise.resolve()
  let fail: (cause: unknown) => void = () => {}
  const finished = new Promise<void>((_resolve, reject) => {
    fail = reject
  })
  finished.catch(() => {}) // Whoever starts the worker looks at it; nobody looking is not a reason to end the process.

  async function onAssigned(partitions: readonly AssignedPartition[]): Promise<readonly Position[]> {
    for (const at of partitions) refusedSince.delete(shardName(at))
    const { positions, refused } = await table.adopt(partitions)
    checkpointedMs = clock.monotonicMs() - config.checkpointInterval + FIRST_CHECKPOINT_MS
    logger.info({ partitions: partitions.length, series: seriesCount(), refused: refused.length }, 'detection took over partitions')
    return positions
  }

  async function onRevoked(partitions: readonly TopicPartition[]): Promise<void> {
    const names = partitions.map(shardName)
    await checkpoint(names, true)
    table.release(names)
    for (const name of names) refusedSince.delete(name)
  }

  async function onBatch(batch: Batch): Promise<BatchFate> {
    try {
      return await takeBatch(batch)
    } catch (error) {
      if (!(error instanceof AppError) || !error.retriable) throw error
      return { kind: 'retry', afterMs: RETRY_MS, reason: error.message }
    }
  }

  async function takeBatch(batch: Batch): Promise<BatchFate> {
    await wake()
    // What came out of earlier records goes first: state must not run ahead of outputs that the log does not take.
    if (!(await outbox.flush())) return { kind: 'retry', afterMs: RETRY_MS, reason: 'the log does not take what was detected' }
    const live = shards.get(shardName(batch)) ?? (await rescue(batch))
    if (live === undefined) return { kind: 'retry', afterMs: RETRY_MS, reason: 'another detector owns the partition' }
    live.generation = batch.generation
    const deadLetters = takeRecords(live, batch.records)
    await outbox.flush()
    return deadLetters.length > 0 ? { kind: 'done', deadLetters } : { kind: 'done' }
  }

  function takeRecords(live: LiveShard, records: readonly LogRecord[]): { offset: number; reason: string; message: string }[] {
    const deadLetters: { offset: number; reason: string; message: string }[] = []
    for (const record of records) {
      if (live.isPositioned && record.offset < live.next) continue
      try {
        const { rejected, reason } = live.shard.take(record)
        if (rejected > 0) meter.count('homeostat.detect.rejected', rejected, { reason })
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'malformed_otlp') throw error
        deadLetters.push({ offset: record.offset, reason: error.code, message: error.message })
      }
      live.next = record.offset + 1
      live.isPositioned = true
      live.isChanged = true
      if (!isDerived(record)) heard.mark(record.appendedAtMs)
    }
    collect(live)
    return deadLetters
  }

  /**
   * The log gives records to the owner only: a shard that was lost to a worker which was replaced meanwhile is taken back, and
   * what lies between its checkpoint and the batch is read first. What is unreadable there was told by whoever read it before.
   */
  async function rescue(batch: Batch): Promise<LiveShard | undefined> {
    const name = shardName(batch)
    const nowMs = clock.monotonicMs()
    const sinceMs = refusedSince.get(name)
    const { refused } = await table.adopt([batch], { force: sinceMs !== undefined && nowMs - sinceMs >= FORCE_AFTER_MS })
    if (refused.length > 0) {
      if (sinceMs === undefined) refusedSince.set(name, nowMs)
      return undefined
    }
    refusedSince.delete(name)
    const live = shards.get(name)!
    try {
      await readUpTo(live, batch.records[0]!.offset)
    } catch (error) {
      table.release([name]) // Half way up it would pass over the rest.
      throw error
    }
    return live
  }

  async function readUpTo(live: LiveShard, first: number): Promise<void> {
    const { topic, partition } = live.shard
    while (live.isPositioned && live.next < first) {
      const missed = await log.read({ topic, partition, offset: live.next }, READ_RECORDS_MAX)
      takeRecords(
        live,
        missed.filter(record => record.offset < first)
      )
      if (missed.length === 0 || missed.at(-1)!.offset >= first) return
    }
  }

  /** After a stop of this process another may own what it did: that is looked up before anything is published. */
  async function wake(): Promise<void> {
    const nowMs = clock.monotonicMs()
    if (nowMs - awakeMs > STALL_MS) {
      waking = table.verify().catch(error => {
        awakeMs = Number.NEGATIVE_INFINITY // Whoever comes next looks again.
        throw error
      })
      waking.catch(() => {}) // Those who wait for it are told.
    }
    awakeMs = nowMs
    await waking
  }

  /** Moves what a shard found into the outbox, encoded. */
  function collect(live: LiveShard): void {
    const { anomalies, derived, edges } = live.shard.outputs()
    derived.sort((a, b) => (a.dueMs ?? 0) - (b.dueMs ?? 0))
    if (anomalies.length + derived.length + edges.length === 0) return
    live.isChanged = true
    const name = shardName(live.shard)
    for (const anomaly of anomalies) outbox.put(TOPICS.anomalies.name, encodeRecord(anomalyRecord, anomaly), name)
    for (const edge of edges) outbox.put(TOPICS.topology.name, encodeRecord(edgeRecord, edge), name)
    for (const [dueMs, due] of Map.groupBy(derived, point => point.dueMs)) {
      for (const [environment, points] of Map.groupBy(due, point => point.entity.environment)) {
        for (const { entity, request } of options.encodeDerived(points)) {
          const record = dueMs === undefined ? ownRecord(entity, request, name) : derivedRecord(entity, environment, request, name, dueMs)
          outbox.put(TOPICS.metrics.name, record, name)
        }
      }
    }
  }

  /** Tells every metrics partition how far our shards of spans and logs have come: all that is due until then lies before it. */
  function tellClocks(): void {
    const clocks = Object.fromEntries([...shards].flatMap(([name, { shard }]) => (shard.scorer === undefined ? [[name, shard.notes.clockMs]] : [])))
    if (Object.keys(clocks).length === 0) return
    for (let partition = 0; partition < log.partitions(TOPICS.metrics.name); partition++)
      outbox.put(TOPICS.metrics.name, clocksRecord(partition, clocks), CLOCKS)
  }

  /** Saves changed shards and commits what was saved. One at a time; a failure is told and tried again later. */
  function checkpoint(names: Iterable<string>, isLast = false): Promise<void> {
    checkpointing = checkpointing.then(async () => {
      try {
        const saved = await table.save(names, { isLast })
        if (saved.length > 0) await subscription?.commit(saved)
      } catch (error) {
        if (!(error instanceof AppError) || !error.retriable) throw error
        meter.count('homeostat.detect.checkpoint_failures')
        logger.warn({ error }, 'checkpoint could not be written, will try again')
      }
    })
    return checkpointing
  }

  async function tickOnce(): Promise<void> {
    await wake()
    // Before the ends are read: what the log took until now, but for SETTLE_MS, is behind them.
    const nowMs = clock.nowMs()
    const ends = new Map<string, number>()
    for (const topic of [TOPICS.metrics.name, TOPICS.spans.name, TOPICS.logs.name]) {
      for (const { partition, end } of await log.offsets(topic)) ends.set(shardName({ topic, partition }), end)
    }
    const places = [...shards].map(([name, live]) => {
      const end = ends.get(name) ?? 0
      const isCaughtUp = live.isPositioned ? live.next >= end : end === 0
      return { live, isCaughtUp, isBacklog: !isCaughtUp && nowMs - live.shard.notes.arrivalMs > BACKLOG_MS }
    })
    const isWhole = places.every(({ isBacklog }) => !isBacklog)
    for (const { live, isCaughtUp, isBacklog } of places) {
      if (isBacklog || live.shard.notes.isLeft) continue // Read on first; or given up: nothing is told after its last checkpoint.
      const { arrivalMs } = live.shard.notes
      live.shard.advance(isCaughtUp ? Math.max(nowMs - SETTLE_MS, arrivalMs) : arrivalMs, listen(live, nowMs, isWhole))
      collect(live)
    }
    const elapsedMs = clock.monotonicMs()
    if (elapsedMs - clocksToldMs >= clocksEveryMs) {
      clocksToldMs = elapsedMs
      tellClocks()
    }
    await outbox.flush()
    report()
  }

  /**
   * Since when silence in a partition counts: from now on, if there is a stretch of which nobody knows whether senders could be
   * heard; undefined while what others were heard saying is still being read.
   */
  function listen({ shard: { notes } }: LiveShard, nowMs: number, isWhole: boolean): number | undefined {
    const { listeningSinceMs, listenedThroughMs = Number.NEGATIVE_INFINITY } = notes
    const isKnown = listeningSinceMs !== undefined && heard.isGapless(listenedThroughMs, nowMs)
    if (!isKnown && !isWhole && nowMs - listenedThroughMs < EVIDENCE_WAIT_MS) return undefined
    notes.listenedThroughMs = nowMs
    notes.listeningSinceMs = isKnown ? listeningSinceMs : nowMs
    return notes.listeningSinceMs
  }

  async function tick(): Promise<void> {
    while (!stop.signal.aborted) {
      await clock.sleep(TICK_MS, stop.signal)
      if (stop.signal.aborted) return
      try {
        await tickOnce()
        const nowMs = clock.monotonicMs()
        if (nowMs - checkpointedMs >= config.checkpointInterval) {
          checkpointedMs = nowMs
          await checkpoint(shards.keys())
        }
      } catch (error) {
        if (!(error instanceof AppError) || !error.retriable) {
          fail(error)
          throw error
        }
        logger.warn({ error }, 'the log does not answer detection, trying again')
      }
    }
  }

  const seriesCount = (): number => sum(live => live.shard.scorer?.table.count ?? 0)
  const sum = (of: (live: LiveShard) => number): number => [...shards.values()].reduce((total, live) => total + of(live), 0)

  function counts(): Record<string, number> {
    const totals: Record<string, number> = {}
    for (const { shard } of shards.values()) for (const [name, count] of Object.entries(shard.counts())) totals[name] = (totals[name] ?? 0) + count
    return totals
  }

  function report(): void {
    for (const [name, live] of shards) {
      const counts = live.shard.counts()
      const before = reported.get(name)
      // A shard that came back counts from zero.
      const told = before?.shard === live ? before.counts : {}
      for (const [counter, count] of Object.entries(counts))
        if (count > (told[counter] ?? 0)) meter.count(`homeostat.detect.${counter}`, count - (told[counter] ?? 0))
      reported.set(name, { shard: live, counts })
    }
    for (const name of reported.keys()) if (!shards.has(name)) reported.delete(name)
    meter.gauge('homeostat.detect.series', seriesCount())
    meter.gauge('homeostat.detect.series_refused', budget.refused)
  }

  return {
    finished,
    async start() {
      subscription = await log.subscribe({
        group: DETECT_GROUP,
        topics: [TOPICS.metrics.name, TOPICS.spans.name, TOPICS.logs.name],
        from: 'earliest',
        autoCommit: false,
        onAssigned,
        onRevoked,
        onBatch
      })
      subscription.finished.catch(fail)
      ticking = tick()
      ticking.catch(() => {}) // Told through `finished`.
    },
    async close() {
      stop.abort()
      await ticking.catch(() => {})
      if (subscription) {
        await checkpoint(shards.keys()) // The log takes them over from here: little is left to save when they are revoked.
        await subscription.close()
      }
    },
    stats: () => ({
      series: seriesCount(),
      seriesRefused: budget.refused,
      seriesBytes: sum(live => live.shard.scorer?.table.bytes ?? 0),
      entities: sum(live => live.shard.scorer?.entities.all.length ?? 0),
      shards: shards.size,
      counts: counts(),
      outboxRecords: outbox.length
    }),
    explain: entity =>
      [...shards.values()].flatMap(live =>
        live.shard.scorer ? explainSeries(live.shard.scorer.table, live.shard.scorer.entities, entity, shardOptions.settings) : []
      )
  }
}
