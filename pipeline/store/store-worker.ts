// The store role: every topic into ClickHouse, each record once, a batch at a time.
//
//   log -> onBatch: decode, buffer -> flush (enough rows, or batchInterval after the first, sooner with a record of the audit chain):
//   journal, inserts by table, commit
//
// Rows of all partitions share a flush: fifteen partitions flushed each for itself would make forty small parts a second, and ClickHouse
// pays for parts (5 ms and a merge each), not rows. From append to readable: batchInterval + the insert (about 50 ms for 5000 rows).
// After kill -9, and when partitions move while this process is frozen: see flush-journal.ts. Full buffer: onBatch waits, so the log keeps
// what ClickHouse cannot take yet. Several of these share the partitions; each flushes its own.

import { randomUUID } from 'node:crypto'
import type { Config } from '../../schemas/config.ts'
import type { AssignedPartition, Batch, BatchFate, Clock, Log, Logger, Meter, Position, Subscription } from '../../schemas/ports.ts'
import { auditedTopics, commandsTopic, TOPICS } from '../../schemas/topics.ts'
import { beginFlush, commitOffsets, stillNeeded } from './flush-confirmation.ts'
import { type Flush, type FlushJournal, flushJournal, type JournalStore } from './flush-journal.ts'
import { type FlushWriter, flushWriter, GROUP } from './flush-writer.ts'
import { addBatch, dropPartitions, emptyPending, type PendingRows, pendingPositions } from './pending-rows.ts'
import { recoverPositions } from './store-recovery.ts'

export interface StoreWorkerOptions {
  log: Log
  store: JournalStore
  config: Pick<Config['store'], 'batchRowsMax' | 'batchInterval'>
  clock: Clock
  logger: Logger
  meter: Meter
  /** Environments whose commands are stored; the first is that of telemetry which names none. */
  environments: readonly string[]
}

export interface StoreWorker {
  start(): Promise<void>
  /** Resolves after `close`; rejects with the bug that stopped the worker. */
  readonly finished: Promise<void>
  /** Stores what is buffered (one attempt), then leaves the group. Safe to call twice, and without start. */
  close(): Promise<void>
}

const BUFFERED_FLUSHES_MAX = 2 // Rows that may wait while a flush runs, in flushes; then reading stops.
const BUFFERED_BYTES_MAX = 2 * 2 ** 20 // OTLP bytes, 40,000 points; as row objects and JSON forty times that.
/** A decision, command or outcome is readable well within a second whatever the interval is: it takes what is buffered along. */
const AUDIT_WITHIN_MS = 100
/** A rebalance is over by then; who has the partitions after it tells. */
const TELL_TRIES_MAX = 30
const BATCH_RECORDS_MAX = 500
const BATCH_BYTES_MAX = 2 ** 19 // One decode: 10,000 points, about 50 ms of the thread.

interface Worker extends StoreWorkerOptions {
  journal: FlushJournal
  writer: FlushWriter
  /** Topics whose records are in the audit chain. */
  audited: ReadonlySet<string>
  pending: PendingRows
  subscription: Subscription | undefined
  /** The flush or the recovery that is under way: one at a time. */
  flushing: Promise<unknown> | undefined
  /** The last flush whose inserts and commit succeeded. */
  complete: Flush | undefined
  /** What stopped the worker. From then on nothing is flushed: a later flush would say that the failed one is complete. */
  failure: unknown
  closing: AbortController
  /** Ends the wait for the interval: enough rows, or closing. */
  due: AbortController
  /** The flush that was called for sooner than its interval. */
  hurried: AbortController | undefined
  wake: () => void
  /** Positions of partitions that were taken over, by `topic/partition`, which the group does not know yet. */
  untold: Map<string, { position: Position & { generation: number }; tries: number }>
  /** How often each partition was assigned, by `topic/partition`: a batch of an earlier time is not added to what comes again. */
  assignments: Map<string, number>
  /** Handlers that wait for room in the buffer. */
  waiting: (() => void)[]
}

export function storeWorker(options: StoreWorkerOptions): StoreWorker {
  const closing = new AbortController()
  const idle = (): void => {}
  const worker: Worker = {
    ...options,
    journal: flushJournal({ ...options, writer: randomUUID() }),
    writer: flushWriter({ ...options, closing: closing.signal }),
    audited: new Set(auditedTopics(options.environments)),
    pending: emptyPending(),
    subscription: undefined,
    flushing: undefined,
    complete: undefined,
    failure: undefined,
    closing,
    due: new AbortController(),
    hurried: undefined,
    wake: idle,
    untold: new Map(),
    assignments: new Map(),
    waiting: []
  }
  const finished = Promise.withResolvers<void>()
  finished.promise.catch(idle) // Whoever cares listens; an unwatched bug is in the log already.
  let loop: Promise<void> | undefined
  let closed: Promise<void> | undefined
  return {
    finished: finished.promise,
    async start() {
      worker.subscription = await options.log.subscribe({
        group: GROUP,
        topics: storedTopics(options.environments),
        from: 'earliest',
        autoCommit: false,
        batchRecordsMax: BATCH_RECORDS_MAX,
        batchBytesMax: BATCH_BYTES_MAX,
        onAssigned: partitions => recoverAlone(worker, partitions),
        onRevoked: partitions => {
          for (const { topic, partition } of partitions) worker.untold.delete(`${topic}/${partition}`)
          return handOver(worker)
        },
        onBatch: batch => take(worker, batch)
      })
      loop = flushLoop(worker)
      loop.catch(error => closing.signal.aborted || options.logger.error({ error }, 'the store worker stopped'))
      Promise.all([loop, worker.subscription.finished]).then(() => finished.resolve(), finished.reject)
    },
    close() {
      closed ??= closeWorker(worker, () => loop).then(() => finished.resolve())
      return closed
    }
  }
}

/** Every topic that has tables; checkpoints are bytes for their owners only, and what a canary was judged by is in its own record. */
function storedTopics(environments: readonly string[]): string[] {
  const { checkpoints: _checkpoints, commands: _commands, executions: _executions, versions: _versions, ...stored } = TOPICS
  return [...Object.values(stored).map(spec => spec.name), ...environments.map(commandsTopic)]
}

async function take(worker: Worker, batch: Batch): Promise<BatchFate> {
  const name = `${batch.topic}/${batch.partition}`
  const assignment = worker.assignments.get(name)
  while (isFull(worker) && worker.failure === undefined && !worker.closing.signal.aborted) {
    const room = Promise.withResolvers<void>()
    worker.waiting.push(room.resolve)
    await room.promise
  }
  if (worker.failure !== undefined && !worker.closing.signal.aborted) throw worker.failure
  if (worker.closing.signal.aborted) return { kind: 'retry', afterMs: 1_000, reason: 'the store worker closes' }
  if (worker.assignments.get(name) !== assignment) return { kind: 'retry', afterMs: 0, reason: 'the partition left and came back meanwhile' }
  const isFirst = worker.untold.delete(name) // Its own flush tells.
  const deadLetters = addBatch(worker.pending, batch, worker.environments[0]!)
  if (deadLetters.length > 0) worker.meter.count('homeostat.store.dead_letters', deadLetters.length, { topic: batch.topic, reason: 'unreadable' })
  worker.meter.gauge('homeostat.store.pending_rows', worker.pending.rowsCount)
  worker.wake()
  if (isFirst || worker.audited.has(batch.topic)) hurry(worker)
  if (worker.pending.rowsCount >= worker.config.batchRowsMax || worker.pending.sizeBytes >= BUFFERED_BYTES_MAX / 2) worker.due.abort()
  return { kind: 'done', deadLetters }
}

/** Ends the wait for the interval soon; what comes meanwhile goes along. */
function hurry(worker: Worker): void {
  const { due, clock } = worker
  if (worker.hurried === due) return
  worker.hurried = due
  void clock.sleep(AUDIT_WITHIN_MS, due.signal).then(() => due.abort())
}

function isFull({ pending, config }: Worker): boolean {
  return pending.rowsCount >= config.batchRowsMax * BUFFERED_FLUSHES_MAX || pending.sizeBytes >= BUFFERED_BYTES_MAX
}

/** Waits for something, then for the interval or enough of it, then flushes; until closing. */
async function flushLoop(worker: Worker): Promise<void> {
  const closing = worker.closing.signal
  while (!closing.aborted) {
    if (worker.pending.ranges.size === 0 && worker.untold.size === 0) {
      const something = Promise.withResolvers<void>()
      worker.wake = something.resolve
      await something.promise
      continue
    }
    await tellTakenOver(worker)
    await worker.clock.sleep(worker.config.batchInterval, worker.due.signal)
    if (closing.aborted) return
    await flush(worker)
  }
}

/**
 * Commits where taken-over partitions stand by the journal: whoever was replaced may have stored and not committed, and where no record
 * follows, no flush would tell the group that nothing waits there. Refused: not given to us yet, or not any more; asked again a few times.
 */
async function tellTakenOver(worker: Worker): Promise<void> {
  const untold = [...worker.untold]
  if (untold.length === 0 || worker.failure !== undefined) return
  const isTold = await commitOffsets(
    worker,
    untold.map(([, { position }]) => position)
  )
  for (const [name, each] of untold) if ((isTold || ++each.tries >= TELL_TRIES_MAX) && worker.untold.get(name) === each) worker.untold.delete(name)
}

/** Stores and commits what is buffered now. One at a time; who comes meanwhile waits for the next one too. */
async function flush(worker: Worker): Promise<void> {
  while (worker.flushing) await worker.flushing.catch(() => {})
  if (worker.pending.ranges.size === 0 || worker.failure !== undefined) return
  const pending = worker.pending
  worker.pending = emptyPending()
  worker.due = new AbortController()
  worker.flushing = store(worker, pending)
  try {
    await worker.flushing
  } catch (error) {
    worker.failure = error
    throw error
  } finally {
    worker.flushing = undefined
    makeRoom(worker)
  }
}

function makeRoom(worker: Worker): void {
  for (const wake of worker.waiting.splice(0)) wake()
}

async function store(worker: Worker, pending: PendingRows): Promise<void> {
  const { clock, meter, logger, writer } = worker
  const begunMs = clock.monotonicMs()
  const confirmed = await beginFlush(worker, pending)
  if (confirmed === undefined) return
  const begun = confirmed.flush
  await writer.write(begun.id, pending, stillNeeded(worker, confirmed, pending))
  // Refused only when the partition has a new owner, who did this flush again under the same tokens.
  if (!(await commitOffsets(worker, pendingPositions(pending, 'next')))) logger.info({ flush: begun.id }, 'offsets not committed, their partitions moved away')
  worker.complete = begun
  meter.count('homeostat.store.flushes')
  if (pending.unusable > 0) meter.count('homeostat.store.unusable', pending.unusable)
  meter.gauge('homeostat.store.flush_ms', clock.monotonicMs() - begunMs)
  meter.gauge('homeostat.store.latency_ms', Math.max(0, clock.nowMs() - pending.oldestAtMs))
}

/** Nothing is flushed meanwhile: an intent of our own that the log is about to refuse must not count as a position. */
async function recoverAlone(worker: Worker, partitions: readonly AssignedPartition[]): Promise<Position[]> {
  while (worker.flushing) await worker.flushing.catch(() => {})
  dropPartitions(worker.pending, partitions) // From before; they come again.
  const generations = new Map(partitions.map(({ topic, partition, generation }) => [`${topic}/${partition}`, generation]))
  for (const name of generations.keys()) {
    worker.untold.delete(name)
    worker.assignments.set(name, (worker.assignments.get(name) ?? 0) + 1)
  }
  const recovering = recoverPositions(worker, partitions)
  worker.flushing = recovering
  try {
    const positions = await recovering
    for (const position of positions) {
      const name = `${position.topic}/${position.partition}`
      const generation = generations.get(name)
      if (generation !== undefined) worker.untold.set(name, { position: { ...position, generation }, tries: 0 })
    }
    return positions
  } finally {
    worker.flushing = undefined
    makeRoom(worker)
    worker.wake()
  }
}

async function handOver(worker: Worker): Promise<void> {
  await flush(worker)
  const { complete } = worker
  if (complete && worker.failure === undefined) await worker.writer.persist('flush journal', () => worker.journal.record(complete, 'done'))
}

async function closeWorker(worker: Worker, loop: () => Promise<void> | undefined): Promise<void> {
  worker.closing.abort()
  worker.due.abort()
  worker.wake()
  makeRoom(worker)
  await loop()?.catch(() => {})
  try {
    if (worker.subscription) await handOver(worker)
  } catch (error) {
    worker.logger.warn({ error, rows: worker.pending.rowsCount }, 'closed without storing what was buffered: it is read from the log again at the next start')
  }
  await worker.subscription?.close()
}
