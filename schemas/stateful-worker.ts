// The shell around a pure reducer that lives on the log: diagnose and decide are two of these (neither may import the other,
// so what they share lives here). It knows nothing of what it carries; time, log and checkpoints come through ports.
//
//   records ─► reduce(state, event, now) ─► checkpoint {state, positions, effects not yet delivered} ─► deliver ─► commit
//
// After a crash: before the checkpoint nothing was delivered, so the records are reduced again; after it the state already
// holds them (redelivered records are skipped by position) and its pending effects are delivered again. Effects must
// therefore be repeatable: records carry derived ids. One event at a time; the tick and the batches take turns.
// One instance owns all of its topics' partitions (an exclusive group); the others hold no state and follow when it goes. The
// owner is who claimed the checkpoint last: one that was stopped and replaced is refused at its next save, before it
// delivers anything, drops its state and waits for an assignment. That is no bug and stops nothing.
// Longer than 300 lines because owning, reducing and delivering share one state that only turns change.

import { AppError } from './errors.ts'
import { turns } from './turns.ts'
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
} from './ports.ts'

export type DecodedEvent<Event> = { ok: true; event: Event } | { ok: false; reason: string }

/** A state that was made from what lies in the log. */
export interface Rebuilt<State> {
  state: State
  /**
   * Of the input topics that it holds as a whole, where it goes on. From any other topic it is given what the group has not settled:
   * where that is known to the state, reducing it once more must do no harm.
   */
  positions: readonly Position[]
}

/** What a stateful worker works with. */
export interface StatefulPorts {
  log: Log
  checkpoints: CheckpointStore
  clock: Clock
  logger: Logger
  meter: Meter
}

export interface StatefulWorkerOptions<State, Event, Effect> extends StatefulPorts {
  /** Name of the checkpoint, and of the worker in logs and metrics. */
  name: string
  group: string
  topics: readonly string[]
  /** Of the snapshot's format; a checkpoint of another version is not read. */
  version: number
  tickMs: number
  /** State from a snapshot's JSON value. */
  restore(saved: unknown): State
  /** State when there is no checkpoint to read: from what was published before. */
  rebuild(): Promise<Rebuilt<State>>
  /** JSON value of the state. */
  snapshot(state: State): unknown
  decode(record: LogRecord): DecodedEvent<Event>
  tick: Event
  /** Says that the wall clock was set, by so many ms (negative: back), since the event before. Only what the process sees itself. */
  stepped?(byMs: number): Event
  /** May change `state` in place. JSON-valued effects. A throw is a bug and stops the worker. */
  reduce(state: State, event: Event, nowMs: number): readonly Effect[]
  /** Leaves out effects that later ones of the same batch replace. Default: keeps all. */
  coalesce?(effects: readonly Effect[]): Effect[]
  /** Publishes effects in order; may see them again after a crash. @throws AppError; a retriable one is tried again */
  deliver(effects: readonly Effect[]): Promise<void>
}

/** A worker as its role sees it. */
export interface RunningWorker {
  start(): Promise<void>
  /** Rejects with the bug that stopped it; resolves after `close`. */
  finished(): Promise<void>
  /** Stops after the running event and saves. Safe to call twice. */
  close(): Promise<void>
}

export interface StatefulWorker<State, Event> extends RunningWorker {
  /**
   * Reduces an event that does not come from the log.
   * @throws AppError `standby` (retriable) when another instance owns the state: what concerns that one travels by a topic; and after
   * a bug, since what the state is by then must not be saved
   */
  submit(event: Event): Promise<void>
  /** The state between events; for reading only. Undefined while another instance owns it, and before `start`. */
  state(): State | undefined
}

const PART = 'state'
/** Less is drift, which both clocks of a machine have in common, or a correction that no limit of ours would notice. */
const STEP_MIN_MS = 1_000
const RETRY_MS = 500 // The log or the disk is in the way; half a second is soon enough and no storm.
const BATCH_RECORDS_MAX = 500 // One checkpoint a batch: larger batches save less often, smaller ones react sooner.
/** After so long without a look whether another has taken over there must be one: far below any log's session timeout. */
const OWNED_MS = 3_000
/**
 * A later generation holds the state, yet the log goes on giving us its records: the group was forgotten and counts anew. No
 * process that was replaced is given records for so long.
 */
const FORCE_AFTER_MS = 20_000
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** @returns a worker that does nothing until it is started */
export function statefulWorker<State, Event, Effect>(options: StatefulWorkerOptions<State, Event, Effect>): StatefulWorker<State, Event> {
  const { name, log, checkpoints, clock, logger, meter } = options
  /** Partition by which the group says who owns the state: were they ever split, its holder would be the one. */
  const lead = placeOf({ topic: options.topics[0]!, partition: 0 })
  const stop = new AbortController()
  /** Generations of the partitions that are ours. */
  const held = new Map<string, number>()
  const positions = new Map<string, Position>()
  /** Partitions whose delivery is not at the position of the state: it was loaded between two assignments. */
  const unsought = new Set<string>()
  /** The group does not know yet how far the state is that came with an assignment. */
  let isUntold = false
  const inTurn = turns()
  let state: State | undefined
  let owner = ''
  let ownedAtMs = 0
  let refusedSinceMs: number | undefined
  let pending: Effect[] = []
  let dirty = false
  let failure: unknown
  let subscription: Subscription | undefined
  let ticking: Promise<void> = Promise.resolve()
  /** The clocks at the last event. */
  let last: { wallMs: number; monotonicMs: number } | undefined

  async function load(): Promise<State> {
    const saved = await checkpoints.load(name)
    const bytes = saved?.parts.get(PART)
    if (saved === undefined || bytes === undefined || saved.version !== options.version) {
      if (saved !== undefined) logger.warn({ found: saved.version, wanted: options.version }, 'checkpoint of another format, state is rebuilt from the log')
      const rebuilt = await options.rebuild()
      for (const position of rebuilt.positions) positions.set(placeOf(position), position)
      return rebuilt.state
    }
    for (const position of saved.positions) positions.set(placeOf(position), position)
    const { inner, effects } = JSON.parse(decoder.decode(bytes)) as { inner: unknown; effects: Effect[] }
    pending = effects
    return options.restore(inner)
  }

  /** Becomes the owner: whoever was it saves no more. @returns false when a later assignment's owner stands against it */
  async function takeOver(): Promise<boolean> {
    const nowMs = clock.monotonicMs()
    const force = refusedSinceMs !== undefined && nowMs - refusedSinceMs >= FORCE_AFTER_MS
    const claimed = await checkpoints.claim([{ name, generation: held.get(lead)! }], { force })
    if (claimed.refused.length > 0) {
      if (refusedSinceMs === undefined) logger.warn({ generation: held.get(lead) }, `${name} is owned by a later assignment, this instance stands by`)
      refusedSinceMs ??= nowMs
      return false
    }
    drop()
    const loaded = await load()
    owner = claimed.owner
    ownedAtMs = nowMs
    refusedSinceMs = undefined
    state = loaded
    logger.info({ effects: pending.length }, `${name} is owned by this instance`)
    await settle()
    return true
  }

  function drop(): void {
    state = undefined
    pending = []
    dirty = false
    positions.clear()
    unsought.clear()
    last = undefined
  }

  async function onAssigned(partitions: readonly AssignedPartition[]): Promise<readonly Position[]> {
    for (const partition of partitions) held.set(placeOf(partition), partition.generation ?? 0)
    refusedSinceMs = undefined
    await inTurn(async () => {
      if (state === undefined && held.has(lead)) await takeOver()
    })
    isUntold = true
    return partitions.flatMap(partition => positions.get(placeOf(partition)) ?? [])
  }

  async function onRevoked(partitions: readonly TopicPartition[]): Promise<void> {
    for (const partition of partitions) held.delete(placeOf(partition))
    await inTurn(leave)
  }

  /** Saves once more, since the saved outbox still names what was delivered, and forgets. What cannot be saved is reduced again by the next owner. */
  async function leave(): Promise<void> {
    if (state === undefined || failure !== undefined) return
    dirty = true
    await settle()
    drop()
  }

  async function save(): Promise<void> {
    pending = options.coalesce?.(pending) ?? pending
    const bytes = encoder.encode(JSON.stringify({ inner: options.snapshot(state!), effects: pending }))
    const startedMs = clock.monotonicMs()
    await checkpoints.save(name, { version: options.version, positions: [...positions.values()], parts: new Map([[PART, bytes]]) }, owner)
    ownedAtMs = startedMs
    dirty = false
  }

  /** Saves, then delivers. @returns why it has to be tried again, or undefined */
  async function settle(): Promise<string | undefined> {
    try {
      if (dirty) await save()
      if (pending.length > 0) {
        if (clock.monotonicMs() - ownedAtMs > OWNED_MS && !(await checkpoints.owns(name, owner)))
          throw new AppError('fenced', `${name} has another owner by now`)
        await options.deliver(pending)
      }
      pending = []
      return undefined
    } catch (error) {
      return obstacle(error)
    }
  }

  /**
   * Commits what was taken over, with the first tick after it: whoever was replaced may have saved and not committed, and where no
   * record follows, no batch would tell the group that nothing waits there.
   */
  async function commitTakenOver(): Promise<void> {
    if (!isUntold || subscription === undefined) return
    const known = [...positions.values()].flatMap(position => {
      const place = placeOf(position)
      const generation = held.get(place)
      return generation === undefined || unsought.has(place) ? [] : [{ ...position, generation }]
    })
    try {
      // Refused while the group rebalances: the next tick tells, or another owner.
      isUntold = known.length > 0 && !(await subscription.commit(known))
    } catch (error) {
      obstacle(error)
    }
  }

  /** What stands in the way of the owner, or that it is no longer the owner. @throws bugs */
  function obstacle(error: unknown): string {
    if (!(error instanceof AppError) || (error.code !== 'fenced' && !error.retriable)) throw error
    if (error.code === 'fenced') {
      drop()
      meter.count(`homeostat.${name}.fenced`)
      logger.warn({ reason: error.message }, `${name} was taken over by another instance, this one stands by`)
    } else {
      meter.count(`homeostat.${name}.retries`, 1, { code: error.code })
      logger.warn({ code: error.code, reason: error.message }, 'what was decided cannot be written now, it is tried again')
    }
    return error.message
  }

  /** After a stop of the process another may own the state: then nothing more is reduced here, nor shown. */
  async function isStillOurs(): Promise<boolean> {
    try {
      if (await checkpoints.owns(name, owner)) return true
      obstacle(fenced())
    } catch (error) {
      obstacle(error)
    }
    return false
  }

  const fenced = (): AppError => new AppError('fenced', `${name} has another owner by now`)

  function take(event: Event): void {
    const step = options.stepped && stepMs()
    if (step !== undefined) reduce(options.stepped!(step))
    reduce(event)
  }

  function reduce(event: Event): void {
    const effects = options.reduce(state!, event, clock.nowMs())
    if (effects.length > 0) {
      pending.push(...effects)
      dirty = true
    }
  }

  /** By how much the wall clock was set since the last event. */
  function stepMs(): number | undefined {
    const now = { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() }
    const byMs = last === undefined ? 0 : Math.round(now.wallMs - last.wallMs - (now.monotonicMs - last.monotonicMs))
    last = now
    if (Math.abs(byMs) < STEP_MIN_MS) return undefined
    logger.warn({ byMs }, 'the clock of this machine was set')
    dirty = true
    return byMs
  }

  /** Reduces records that the state does not hold yet. @returns those that cannot be read */
  function takeRecords(records: readonly LogRecord[]): { offset: number; reason: string; message: string }[] {
    const unreadable: { offset: number; reason: string; message: string }[] = []
    for (const record of records) {
      const place = placeOf(record)
      if (record.offset < (positions.get(place)?.offset ?? 0)) continue
      positions.set(place, { topic: record.topic, partition: record.partition, offset: record.offset + 1 })
      dirty = true
      if (record.value === null) continue // A tombstone of a compacted topic.
      const decoded = options.decode(record)
      if (decoded.ok) take(decoded.event)
      else unreadable.push({ offset: record.offset, reason: 'unreadable', message: decoded.reason })
    }
    return unreadable
  }

  /** The log gives records to the owner only: an instance without state that gets some takes over, and reads what lies before them. */
  async function catchUp({ topic, partition, records }: Batch): Promise<boolean> {
    if (state === undefined) {
      if (!held.has(lead) || !(await takeOver())) return false
      for (const place of held.keys()) unsought.add(place)
    }
    const place = placeOf({ topic, partition })
    if (state === undefined || !unsought.has(place)) return state !== undefined
    const from = positions.get(place)?.offset
    for (let offset = from ?? records[0]!.offset; offset < records[0]!.offset; ) {
      const missed = await log.read({ topic, partition, offset }, BATCH_RECORDS_MAX)
      takeRecords(missed.filter(record => record.offset < records[0]!.offset))
      if (missed.length === 0) break
      offset = missed.at(-1)!.offset + 1
    }
    unsought.delete(place)
    return true
  }

  async function onBatch(batch: Batch): Promise<BatchFate> {
    if (failure !== undefined) throw failure
    return inTurn(async () => {
      try {
        if (!(await catchUp(batch))) return { kind: 'retry', afterMs: RETRY_MS, reason: `another instance owns ${name}` }
      } catch (error) {
        if (!(error instanceof AppError) || !error.retriable) throw error
        return { kind: 'retry', afterMs: RETRY_MS, reason: error.message }
      }
      const deadLetters = takeRecords(batch.records)
      const obstacle = await settle()
      meter.count(`homeostat.${name}.records`, batch.records.length)
      return obstacle === undefined ? { kind: 'done', deadLetters } : { kind: 'retry', afterMs: RETRY_MS, reason: obstacle }
    })
  }

  async function tickLoop(): Promise<void> {
    for (let lastMs = clock.monotonicMs(); !stop.signal.aborted; ) {
      await clock.sleep(options.tickMs, stop.signal)
      if (stop.signal.aborted) return
      const isLate = clock.monotonicMs() - lastMs - options.tickMs > OWNED_MS
      lastMs = clock.monotonicMs()
      await inTurn(async () => {
        if (state === undefined) return
        if (isLate && !(await isStillOurs())) {
          lastMs = Number.NEGATIVE_INFINITY // If it could not be found out, the next tick asks again.
          return
        }
        // What is pending must be out before more is decided: that bounds it.
        if (pending.length === 0) take(options.tick)
        if ((await settle()) === undefined) await commitTakenOver()
      }).catch(fail)
    }
  }

  function fail(error: unknown): void {
    failure = error
    stop.abort()
    logger.error({ reason: error instanceof Error ? error.message : String(error) }, `${name} stopped by a bug`)
  }

  async function submit(event: Event): Promise<void> {
    if (failure !== undefined) throw new AppError('standby', `${name} was stopped by a bug: it goes on where it saved last, at the next start`)
    if (state === undefined) throw new AppError('standby', `another instance owns ${name} now: it acts on what comes by the topics`)
    take(event)
    dirty = true
    await settle()
  }

  return {
    async start() {
      subscription = await log.subscribe({
        group: options.group,
        topics: options.topics,
        from: 'earliest',
        exclusive: true,
        batchRecordsMax: BATCH_RECORDS_MAX,
        onAssigned,
        onRevoked,
        onBatch
      })
      ticking = tickLoop()
    },
    submit: event =>
      inTurn(() => submit(event)).catch(error => {
        if (!(error instanceof AppError && error.code === 'standby')) fail(error)
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
      await inTurn(leave)
    }
  }
}

function placeOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}
