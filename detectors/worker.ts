// The detect role: reads metrics, spans and logs, publishes anomalies, derived series and the service graph.
//
//   batch ─► [outbox empty?] ─► shard.take (state, outputs) ─► outbox ─► log ─► checkpoint (state + positions) ─► commit
//                  └ no: retry later, state untouched
//
// Promise after a crash: outputs are durable before the checkpoint that includes their causes, and positions are committed after
// it; what is read again repeats the same ids and the same derived points, which their readers drop. Single-threaded: state
// changes only between awaits. Runs in its own worker thread; the tick (TICK_MS) closes windows of senders that fell
// silent, judges absence and writes checkpoints.

import { anomalyRecord } from '../schemas/anomaly.ts'
import type { Config } from '../schemas/config.ts'
import { encodeRecord } from '../schemas/envelope.ts'
import { AppError } from '../schemas/errors.ts'
import type { EncodeDerived, OpenReader } from '../schemas/otlp.ts'
import type { Batch, BatchFate, CheckpointStore, Clock, Log, Logger, Meter, Position, Subscription, TopicPartition } from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import { edgeRecord } from '../schemas/topology.ts'
import { openOutbox } from './outbox.ts'
import { type LiveShard, restoreShard, saveSnapshot, snapshot } from './checkpoint.ts'
import { explainSeries, type SeriesExplanation } from './score/explain.ts'
import type { LearnedDetector } from './score/model-hook.ts'
import type { SeriesBudget } from './score/series-table.ts'
import { settingsFrom } from './settings.ts'
import type { ShardOptions } from './shard.ts'

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
/** A tick that comes this late means that the machine slept or was starved: nobody could have been heard. */
const STALL_MS = 3_000
const RETRY_MS = 250

export function detectWorker(options: DetectOptions): DetectWorker {
  const { log, checkpoints, clock, config, logger, meter } = options
  const budget: SeriesBudget = { left: config.seriesMax, refused: 0 }
  const shardOptions: ShardOptions = {
    settings: settingsFrom(config),
    budget,
    openReader: options.openReader,
    environment: options.environment,
    nowMs: () => clock.nowMs(),
    models: options.models ?? (() => [])
  }
  const shards = new Map<string, LiveShard>()
  const outbox = openOutbox(log, meter)
  const reported = new Map<string, number>()
  const stop = new AbortController()
  let subscription: Subscription | undefined
  let ticking: Promise<void> = Promise.resolve()
  let checkpointing: Promise<void> = Promise.resolve()
  let fail: (cause: unknown) => void = () => {}
  const finished = new Promise<void>((_resolve, reject) => {
    fail = reject
  })
  finished.catch(() => {}) // Whoever starts the worker looks at it; nobody looking is not a reason to end the process.

  const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`

  async function onAssigned(partitions: readonly TopicPartition[]): Promise<readonly Position[]> {
    const positions: Position[] = []
    for (const at of partitions) {
      const { live, position } = await restoreShard(at, shardOptions, { checkpoints, log, logger })
      shards.set(nameOf(at), live)
      if (position) positions.push(position)
    }
    logger.info({ partitions: partitions.length, series: seriesCount() }, 'detection took over partitions')
    return positions
  }

  async function onRevoked(partitions: readonly TopicPartition[]): Promise<void> {
    await checkpoint()
    for (const at of partitions) {
      const live = shards.get(nameOf(at))
      if (live?.shard.scorer) budget.left += live.shard.scorer.table.count
      shards.delete(nameOf(at))
    }
  }

  async function onBatch(batch: Batch): Promise<BatchFate> {
    // What came out of earlier records goes first: state must not run ahead of outputs that the log does not take.
    if (!(await outbox.flush())) return { kind: 'retry', afterMs: RETRY_MS, reason: 'the log does not take what was detected' }
    const live = shards.get(nameOf(batch))
    if (live === undefined) return { kind: 'done' }
    live.generation = batch.generation
    const deadLetters: { offset: number; reason: string; message: string }[] = []
    for (const record of batch.records) {
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
      live.arrivalMs = record.appendedAtMs
      live.shard.advance(record.appendedAtMs, undefined)
    }
    collect(live)
    await outbox.flush()
    return deadLetters.length > 0 ? { kind: 'done', deadLetters } : { kind: 'done' }
  }

  /** Moves what a shard found into the outbox, encoded. */
  function collect(live: LiveShard): void {
    const { anomalies, derived, edges } = live.shard.outputs()
    if (anomalies.length + derived.length + edges.length === 0) return
    live.isChanged = true
    for (const anomaly of anomalies) outbox.put(TOPICS.anomalies.name, encodeRecord(anomalyRecord, anomaly))
    for (const edge of edges) outbox.put(TOPICS.topology.name, encodeRecord(edgeRecord, edge))
    for (const { entity, request } of options.encodeDerived(derived)) outbox.put(TOPICS.metrics.name, { key: entity, value: request })
  }

  /** Saves every changed shard and commits what was saved. One at a time; a failure is told and tried again later. */
  function checkpoint(): Promise<void> {
    checkpointing = checkpointing.then(async () => {
      try {
        for (const live of shards.values()) await checkpointShard(live)
      } catch (error) {
        if (!(error instanceof AppError) || !error.retriable) throw error
        meter.count('homeostat.detect.checkpoint_failures')
        logger.warn({ error }, 'checkpoint could not be written, will try again')
      }
    })
    return checkpointing
  }

  async function checkpointShard(live: LiveShard): Promise<void> {
    if (!(await outbox.flush()) || outbox.length > 0) return
    // From here to the snapshot nothing is awaited: state, position and an empty outbox belong together.
    const saved = snapshot(live)
    if (saved === undefined) return
    const { generation } = live
    await saveSnapshot(live, saved, checkpoints)
    await subscription?.commit(saved.positions.map(position => ({ ...position, generation })))
  }

  async function tickOnce(): Promise<void> {
    const ends = new Map<string, number>()
    for (const topic of [TOPICS.metrics.name, TOPICS.spans.name, TOPICS.logs.name]) {
      for (const { partition, end } of await log.offsets(topic)) ends.set(nameOf({ topic, partition }), end)
    }
    const nowMs = clock.nowMs()
    for (const [name, live] of shards) {
      const end = ends.get(name) ?? 0
      const isCaughtUp = live.isPositioned ? live.next >= end : end === 0
      const isBacklog = !isCaughtUp && nowMs - live.arrivalMs > BACKLOG_MS
      if (isBacklog) live.listeningSinceMs = undefined
      else live.listeningSinceMs ??= nowMs
      if (isBacklog) continue
      live.shard.advance(isCaughtUp ? Math.max(nowMs, live.arrivalMs) : live.arrivalMs, live.listeningSinceMs)
      collect(live)
    }
    await outbox.flush()
    report()
  }

  async function tick(): Promise<void> {
    let lastTickMs = clock.monotonicMs()
    let checkpointedMs = lastTickMs
    while (!stop.signal.aborted) {
      await clock.sleep(TICK_MS, stop.signal)
      if (stop.signal.aborted) return
      const nowMs = clock.monotonicMs()
      if (nowMs - lastTickMs > STALL_MS) for (const live of shards.values()) live.listeningSinceMs = undefined
      lastTickMs = nowMs
      try {
        await tickOnce()
        if (nowMs - checkpointedMs >= config.checkpointInterval) {
          checkpointedMs = nowMs
          await checkpoint()
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
    for (const { shard } of shards.values()) {
      for (const [name, count] of Object.entries(shard.counts())) {
        const key = `${shard.topic}/${shard.partition}/${name}`
        const difference = count - (reported.get(key) ?? 0)
        reported.set(key, count)
        if (difference > 0) meter.count(`homeostat.detect.${name}`, difference)
      }
    }
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
        await checkpoint()
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
