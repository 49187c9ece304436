// The shell around a pure reducer that lives on the log: diagnose and decide are two of these (neither may import the other,
// so what they share lives here). It knows nothing of what it carries; time, log and checkpoints come through ports.
//
//   records ─► reduce(state, event, now) ─► checkpoint {state, positions, effects not yet delivered} ─► deliver ─► commit
//
// After a crash: before the checkpoint nothing was delivered, so the records are reduced again; after it the state already
// holds them (redelivered records are skipped by position) and its pending effects are delivered again. Effects must
// therefore be repeatable: records carry derived ids. One event at a time; the tick and the batches take turns.
// One instance owns all of its topics' partitions; two would each hold half of the state.

import { AppError } from './errors.ts'
import type { Batch, BatchFate, CheckpointStore, Clock, Log, Logger, LogRecord, Meter, Position, Subscription } from './ports.ts'

export type DecodedEvent<Event> = { ok: true; event: Event } | { ok: false; reason: string }

export interface StatefulWorkerOptions<State, Event, Effect> {
  /** Name of the checkpoint, and of the worker in logs and metrics. */
  name: string
  group: string
  topics: readonly string[]
  /** Of the snapshot's format; a checkpoint of another version is not read. */
  version: number
  tickMs: number
  log: Log
  checkpoints: CheckpointStore
  clock: Clock
  logger: Logger
  meter: Meter
  /** State from a snapshot's JSON value. */
  restore(saved: unknown): State
  /** State when there is no checkpoint to read: from what was published before. */
  rebuild(): Promise<State>
  /** JSON value of the state. */
  snapshot(state: State): unknown
  decode(record: LogRecord): DecodedEvent<Event>
  tick: Event
  /** May change `state` in place. JSON-valued effects. A throw is a bug and stops the worker. */
  reduce(state: State, event: Event, nowMs: number): readonly Effect[]
  /** Leaves out effects that later ones of the same batch replace. Default: keeps all. */
  coalesce?(effects: readonly Effect[]): Effect[]
  /** Publishes effects in order; may see them again after a crash. @throws AppError; a retriable one is tried again */
  deliver(effects: readonly Effect[]): Promise<void>
}

export interface StatefulWorker<State, Event> {
  start(): Promise<void>
  /** Reduces an event that does not come from the log. */
  submit(event: Event): Promise<void>
  /** The state between events; for reading only. Undefined before `start`. */
  state(): State | undefined
  /** Rejects with the bug that stopped it; resolves after `close`. */
  finished(): Promise<void>
  /** Stops after the running event and saves. Safe to call twice. */
  close(): Promise<void>
}

const PART = 'state'
const RETRY_MS = 500 // The log or the disk is in the way; half a second is soon enough and no storm.
const BATCH_RECORDS_MAX = 500 // One checkpoint a batch: larger batches save less often, smaller ones react sooner.
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** @returns a worker that does nothing until it is started */
export function statefulWorker<State, Event, Effect>(options: StatefulWorkerOptions<State, Event, Effect>): StatefulWorker<State, Event> {
  const { name, log, checkpoints, clock, logger, meter } = options
  const stop = new AbortController()
  const positions = new Map<string, Position>()
  const inTurn = turns()
  let state: State | undefined
  let pending: Effect[] = []
  let dirty = false
  let failure: unknown
  let subscription: Subscription | undefined
  let ticking: Promise<void> = Promise.resolve()

  async function load(): Promise<State> {
    const saved = await checkpoints.load(name)
    const bytes = saved?.parts.get(PART)
    if (saved === undefined || bytes === undefined || saved.version !== options.version) {
      if (saved !== undefined) logger.warn({ found: saved.version, wanted: options.version }, 'checkpoint of another format, state is rebuilt from the log')
      return options.rebuild()
    }
    for (const position of saved.positions) positions.set(placeOf(position), position)
    const { inner, effects } = JSON.parse(decoder.decode(bytes)) as { inner: unknown; effects: Effect[] }
    pending = effects
    return options.restore(inner)
  }

  /** Saves, then delivers. @returns why it has to be tried again, or undefined */
  async function settle(): Promise<string | undefined> {
    try {
      if (dirty) {
        pending = options.coalesce?.(pending) ?? pending
        const bytes = encoder.encode(JSON.stringify({ inner: options.snapshot(state!), effects: pending }))
        await checkpoints.save(name, { version: options.version, positions: [...positions.values()], parts: new Map([[PART, bytes]]) })
        dirty = false
      }
      if (pending.length > 0) await options.deliver(pending)
      pending = []
      return undefined
    } catch (error) {
      if (!(error instanceof AppError) || !error.retriable) throw error
      meter.count(`homeostat.${name}.retries`, 1, { code: error.code })
      logger.warn({ code: error.code, reason: error.message }, 'what was decided cannot be written now, it is tried again')
      return error.message
    }
  }

  function take(event: Event): void {
    const effects = options.reduce(state!, event, clock.nowMs())
    if (effects.length > 0) {
      pending.push(...effects)
      dirty = true
    }
  }

  async function onBatch(batch: Batch): Promise<BatchFate> {
    if (failure !== undefined) throw failure
    const deadLetters: { offset: number; reason: string; message: string }[] = []
    const obstacle = await inTurn(async () => {
      for (const record of batch.records) {
        if (record.offset < (positions.get(placeOf(batch))?.offset ?? 0)) continue
        positions.set(placeOf(batch), { topic: batch.topic, partition: batch.partition, offset: record.offset + 1 })
        dirty = true
        if (record.value === null) continue // A tombstone of a compacted topic.
        const decoded = options.decode(record)
        if (decoded.ok) take(decoded.event)
        else deadLetters.push({ offset: record.offset, reason: 'unreadable', message: decoded.reason })
      }
      return settle()
    })
    meter.count(`homeostat.${name}.records`, batch.records.length)
    if (obstacle !== undefined) return { kind: 'retry', afterMs: RETRY_MS, reason: obstacle }
    return { kind: 'done', deadLetters }
  }

  async function tickLoop(): Promise<void> {
    while (!stop.signal.aborted) {
      await clock.sleep(options.tickMs, stop.signal)
      if (stop.signal.aborted) return
      await inTurn(async () => {
        // What is pending must be out before more is decided: that bounds it.
        if (pending.length === 0) take(options.tick)
        await settle()
      }).catch(fail)
    }
  }

  function fail(error: unknown): void {
    failure = error
    stop.abort()
    logger.error({ reason: error instanceof Error ? error.message : String(error) }, `${name} stopped by a bug`)
  }

  return {
    async start() {
      state = await load()
      await settle()
      subscription = await log.subscribe({
        group: options.group,
        topics: options.topics,
        from: 'earliest',
        batchRecordsMax: BATCH_RECORDS_MAX,
        onAssigned: async partitions => partitions.flatMap(partition => positions.get(placeOf(partition)) ?? []),
        onBatch
      })
      ticking = tickLoop()
    },
    submit: event =>
      inTurn(async () => {
        take(event)
        dirty = true
        await settle()
      }).catch(error => {
        fail(error)
        throw error
      }),
    state: () => state,
    async finished() {
      await subscription?.finished
      await ticking
      if (failure !== undefined) throw failure
    },
    async close() {
      stop.abort()
      await subscription?.close()
      await ticking
      if (state === undefined || failure !== undefined) return
      dirty = true // The saved outbox still names what was delivered since.
      await inTurn(settle)
      state = undefined
    }
  }
}

/** Runs asynchronous work one after another. */
function turns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const result = last.then(work, work)
    last = result.catch(() => undefined)
    return result
  }
}

function placeOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}

/** Every record of a topic from its oldest on, for rebuilding. Calls `take` in the order of each partition. */
export async function readWholeTopic(log: Log, topic: string, take: (record: LogRecord) => void): Promise<void> {
  for (const { partition, start, end } of await log.offsets(topic)) {
    for (let offset = start; offset < end; ) {
      const records = await log.read({ topic, partition, offset }, BATCH_RECORDS_MAX)
      if (records.length === 0) break
      for (const record of records) if (record.value !== null) take(record)
      offset = records.at(-1)!.offset + 1
    }
  }
}
