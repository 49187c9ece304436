// The detect role: reads metrics, spans and logs, publishes anomalies, derived series and the service graph.
//
//   batch ─► [outbox empty?] ─► shard.take (state, outputs) ─► outbox ─► log ─► checkpoint (state + positions) ─► commit
//                  └ no: retry later, state untouched
//
// Promise after a crash: outputs are durable before the checkpoint that includes their causes, and positions are committed after
// it; what is read again repeats the same ids and the same derived points, which their readers drop. The same holds when a
// partition moves to another worker (shard-table.ts). Single-threaded: state changes only between awaits. Runs in its own worker
// thread; the tick (TICK_MS) closes windows of senders that fell silent, judges absence and writes checkpoints.

import type { Config } from '../schemas/config.ts'
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
  Meter,
  Position,
  Subscription,
  TopicPartition
} from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import type { LiveShard } from './checkpoint.ts'
import { listening } from './listening.ts'
import { publisher } from './publisher.ts'
import { recordTaker } from './record-taker.ts'
import { openOutbox } from './outbox.ts'
import { type DetectorsOverview, type EntityExplanation, explainEntities, explainSeries, overviewOf, type SeriesExplanation } from './score/explain.ts'
import type { LearnedDetector } from './score/model-hook.ts'
import { type SeriesBudget, budgetOf } from './score/budget.ts'
import { settingsFrom } from './settings.ts'
import type { ShardOptions } from './shard.ts'
import { coverageReporter, shardReporter } from './shard-reporter.ts'
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
  /** Buffers of all tiers, bytes. */
  stateBytes: number
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
  /** What runs on the series of an entity (baseline, band, state, samples), and how it is listened to. */
  explain(entity: string): { series: SeriesExplanation[]; entities: EntityExplanation[] }
  overview(): DetectorsOverview
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
const RETRY_MS = 250
export function detectWorker(options: DetectOptions): DetectWorker {
  const { log, checkpoints, clock, config, logger, meter } = options
  const budget: SeriesBudget = budgetOf(config.memoryMax)
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
  const found = publisher({ log, outbox, encodeDerived: options.encodeDerived, windowMs: config.window })
  const taker = recordTaker({ table, publisher: found, heard, log, clock, meter })
  const report = shardReporter(meter)
  const reportCoverage = coverageReporter(meter)
  const stop = new AbortController()
  let subscription: Subscription | undefined
  let ticking: Promise<void> = Promise.resolve()
  let checkpointing: Promise<void> = Promise.resolve()
  let awakeMs = clock.monotonicMs()
  let checkpointedMs = clock.monotonicMs()
  let waking: Promise<void> = Promise.resolve()
  let fail: (cause: unknown) => void = () => {}
  const finished = new Promise<void>((_resolve, reject) => {
    fail = reject
  })
  finished.catch(() => {}) // Whoever starts the worker looks at it; nobody looking is not a reason to end the process.

  async function onAssigned(partitions: readonly AssignedPartition[]): Promise<readonly Position[]> {
    for (const at of partitions) taker.forget(shardName(at))
    const { positions, refused } = await table.adopt(partitions)
    checkpointedMs = clock.monotonicMs() - config.checkpointInterval + FIRST_CHECKPOINT_MS
    logger.info({ partitions: partitions.length, series: seriesCount(), refused: refused.length }, 'detection took over partitions')
    return positions
  }

  async function onRevoked(partitions: readonly TopicPartition[]): Promise<void> {
    const names = partitions.map(shardName)
    await checkpoint(names, true)
    table.release(names)
    for (const name of names) taker.forget(name)
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
    const live = shards.get(shardName(batch)) ?? (await taker.rescue(batch))
    if (live === undefined) return { kind: 'retry', afterMs: RETRY_MS, reason: 'another detector owns the partition' }
    live.generation = batch.generation
    const deadLetters = taker.take(live, batch.records)
    await outbox.flush()
    return deadLetters.length > 0 ? { kind: 'done', deadLetters } : { kind: 'done' }
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
      live.shard.advance(isCaughtUp ? Math.max(nowMs - SETTLE_MS, arrivalMs) : arrivalMs, heard.silenceSince(live.shard.notes, nowMs, isWhole))
      found.collect(live)
    }
    found.tellClocks(shards.values(), clock.monotonicMs())
    await outbox.flush()
    report(shards)
    meter.gauge('homeostat.detect.series', seriesCount())
    meter.gauge('homeostat.detect.series_refused', budget.refused)
    reportCoverage(scorers(), clock.monotonicMs())
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

  const scorers = () => [...shards.values()].flatMap(live => live.shard.scorer ?? [])
  const seriesCount = (): number => sum(live => live.shard.scorer?.table.count ?? 0)
  const sum = (of: (live: LiveShard) => number): number => [...shards.values()].reduce((total, live) => total + of(live), 0)

  function counts(): Record<string, number> {
    const totals: Record<string, number> = {}
    for (const { shard } of shards.values()) for (const [name, count] of Object.entries(shard.counts())) totals[name] = (totals[name] ?? 0) + count
    return totals
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
      stateBytes: sum(live => live.shard.scorer?.bytes ?? 0),
      entities: sum(live => live.shard.scorer?.entities.all.length ?? 0),
      shards: shards.size,
      counts: counts(),
      outboxRecords: outbox.length
    }),
    explain: entity => ({
      series: scorers().flatMap(scorer => explainSeries(scorer, entity)),
      entities: scorers().flatMap(scorer => explainEntities(scorer, entity))
    }),
    overview: () => overviewOf(scorers(), { memoryMax: config.memoryMax, seriesRefused: budget.refused })
  }
}
