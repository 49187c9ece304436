// The ports: everything the domain folders need from the outside world, as interfaces with their promises.
//
// Domain code (detectors, models, actuators) receives these as arguments and reaches clock, chance, disk and
// network through nothing else, so the same code runs embedded, on a Kafka cluster and on a virtual clock.

import type { Command, CommandStep } from './command.ts'

/** Wall and monotonic time. A test passes a virtual one. */
export interface Clock {
  /** Epoch milliseconds. May step backwards when the machine's clock is set. */
  nowMs(): number
  /** Milliseconds since an arbitrary origin, never steps back. For durations and deadlines. */
  monotonicMs(): number
  /** Resolves after `ms`, or early (without throwing) when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** Chance and identity, seeded in tests. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** A new unique id (UUID form). */
  uuid(): string
}

/** Structured log: a fixed sentence and fields, as pino takes them. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Logger
}

/** Counters and gauges of Homeostat itself. Names dotted, units last, attributes of low cardinality. */
export interface Meter {
  /** Adds `value` (>= 0) to the counter. */
  count(name: string, value?: number, attributes?: Readonly<Record<string, string>>): void
  /** Sets the gauge. */
  gauge(name: string, value: number, attributes?: Readonly<Record<string, string>>): void
}

// ── Log ──────────────────────────────────────────────────────────────────────────────────────────────────────

export interface LogRecordInput {
  /** Unit of ordering. `null` only together with an explicit partition. Compacted topics keep the last value a key. */
  key: string | null
  /** `null` is a tombstone on a compacted topic. */
  value: Uint8Array | null
  headers?: Readonly<Record<string, string>>
  /** Chosen from the key's hash when absent. */
  partition?: number
}

export interface LogRecord {
  topic: string
  partition: number
  /** Dense and monotone within (topic, partition) at the time of the append; compaction and retention leave holes. */
  offset: number
  key: string | null
  value: Uint8Array | null
  headers: Readonly<Record<string, string>>
  /** When the log took it, epoch ms. */
  appendedAtMs: number
}

export interface TopicPartition {
  topic: string
  partition: number
}
/** A partition that was just given to a member. */
export interface AssignedPartition extends TopicPartition {
  /** The one that batches of this assignment carry; absent where the log cannot tell it yet. */
  generation?: number
}
export interface Position extends TopicPartition {
  offset: number
}

export interface Batch extends TopicPartition {
  /** Grows with every assignment of this partition; results of an older generation must be refused. */
  generation: number
  records: readonly LogRecord[]
  /** Offset after the last record that exists now: `endOffset - records.at(-1).offset - 1` is the lag. */
  endOffset: number
}

/** What became of a batch. A handler throws only for bugs, and a bug stops the subscription (`failed`). */
export type BatchFate =
  /** Every record is settled. With `autoCommit` the log commits the offset after the last one. */
  | { kind: 'done'; deadLetters?: readonly { offset: number; reason: string; message: string }[] }
  /** Infrastructure is in the way: the same batch comes again after `afterMs`. Never for a poison record. */
  | { kind: 'retry'; afterMs: number; reason: string }

export interface SubscribeOptions {
  /** Consumer group: its members share the partitions, its offsets are kept by the log. */
  group: string
  topics: readonly string[]
  /** Where a partition without a committed offset starts. */
  from: 'earliest' | 'latest'
  /** Default true: `done` commits. False when the owner commits with its checkpoint through `Subscription.commit`. */
  autoCommit?: boolean
  /** One member owns all partitions of all topics, the others stand by: for state that spans them. Default false: partitions are shared. */
  exclusive?: boolean
  batchRecordsMax?: number
  batchBytesMax?: number
  /** Called before the first batch of newly owned partitions: restore state here; the returned positions are sought. */
  onAssigned?(partitions: readonly AssignedPartition[]): Promise<readonly Position[]>
  /** Called after the last batch of partitions that move away. */
  onRevoked?(partitions: readonly TopicPartition[]): Promise<void>
  /** Batches of one partition come one after another, in order. Dead letters are written to `<topic>.dlq` before the commit. */
  onBatch(batch: Batch): Promise<BatchFate>
}

/** How far a consumer group is with one partition. */
export interface GroupPosition extends TopicPartition {
  group: string
  committed: number
  end: number
}

export interface Subscription {
  /** `offset` = first record not yet settled. Refused (false) when the generation is no longer the owner's. */
  commit(positions: readonly (Position & { generation: number })[]): Promise<boolean>
  /** Records between the committed offsets and the ends, summed. */
  lag(): Promise<number>
  /** Settles when the subscription stopped: resolves after `close`, rejects with the bug that stopped it. */
  readonly finished: Promise<void>
  /** Waits for the running batch, then leaves the group. Safe to call twice. */
  close(): Promise<void>
}

/**
 * A partitioned, durable, replayable log: SQLite embedded, Kafka distributed. test/contract/log.ts states the promises.
 */
export interface Log {
  /**
   * Appends all records of one call atomically per partition and in order; resolves once they are durable.
   * @throws AppError `log_unavailable` | `log_full` (retriable), `record_too_large` | `unknown_topic` (permanent)
   */
  append(topic: string, records: readonly LogRecordInput[]): Promise<readonly Position[]>
  subscribe(options: SubscribeOptions): Promise<Subscription>
  /** Reads forward without a group, at most `recordsMax`. Empty at the end. */
  read(from: Position, recordsMax: number): Promise<readonly LogRecord[]>
  /** Offset of the next append and of the oldest kept record, per partition. */
  offsets(topic: string): Promise<readonly { partition: number; start: number; end: number }[]>
  partitions(topic: string): number
  /** Positions of all consumer groups of ours, for their lag. */
  groups(): Promise<readonly GroupPosition[]>
  /** Flushes what was accepted. Safe to call twice. */
  close(): Promise<void>
}

/**
 * Named state that survives its owner: parts of bytes and the input positions they reflect, replaced as one.
 * A name has one owner at a time, the last that claimed it, in the order of the log: a process that was stopped, replaced and
 * wakes up again can neither overwrite nor void what its successor saves, whatever it still believes.
 */
export interface CheckpointStore {
  /**
   * Takes names over: whoever owned one is refused from now on, and `load` gives what it saved last.
   * @param claims `generation` of the assignment that the caller owns the name by; 0 when the log does not say
   * @param options.force take them even from a later generation: the log's consumer group was forgotten and began anew
   * @returns the mark of the owner, for `save` and `owns`, and the names that a later generation holds
   * @throws AppError `log_unavailable` | `log_full`
   */
  claim(claims: readonly { name: string; generation: number }[], options?: { force?: boolean }): Promise<{ owner: string; refused: readonly string[] }>
  /** Whether nobody has taken the name over since. */
  owns(name: string, owner: string): Promise<boolean>
  /**
   * Writes the parts that changed; parts not named stay. All or nothing; durable when it resolves.
   * @param owner of `claim`; without one the name must never have been claimed
   * @throws AppError `fenced` when another has taken the name over: nothing of this save counts, or the other has taken it in
   */
  save(name: string, checkpoint: Checkpoint, owner?: string): Promise<void>
  /** `undefined` when there is none. */
  load(name: string): Promise<Checkpoint | undefined>
}
export interface Checkpoint {
  version: number
  positions: readonly Position[]
  parts: ReadonlyMap<string, Uint8Array>
}

// ── Store ────────────────────────────────────────────────────────────────────────────────────────────────────

/** ClickHouse, embedded (chdb) or a server. */
export interface Store {
  /**
   * Inserts rows (PascalCase columns) into `table`. The same `token` twice inserts once.
   * @throws AppError `store_unavailable` (retriable), `store_refused` (permanent)
   */
  insert(table: string, rows: readonly Readonly<Record<string, unknown>>[], options: { token: string }): Promise<void>
  /** Runs one SELECT; `{name:Type}` parameters are bound by the server. 64-bit integers come as numbers when safe. */
  query<Row = Record<string, unknown>>(sql: string, parameters?: Readonly<Record<string, unknown>>): Promise<Row[]>
  close(): Promise<void>
}

/** Raw signals for verification and evidence, read from what was measured and never from an alert. */
export interface Signals {
  /**
   * Values of one metric of one entity over [fromMs, toMs], time-ordered. An entity without an instance (`shop/orders`)
   * means all of its instances. Empty means no data, which is never healthy.
   */
  series(query: SignalQuery): Promise<readonly { atMs: number; value: number }[]>
  logs(entity: string, fromMs: number, toMs: number, rowsMax: number, environment?: string): Promise<readonly LogLine[]>
  spans(entity: string, fromMs: number, toMs: number, rowsMax: number, environment?: string): Promise<readonly SpanLine[]>
}
export interface SignalQuery {
  entity: string
  /** The same entity may live in several: only telemetry of this one, or that names none. Absent: of any. */
  environment?: string
  metric: string
  attributes?: Readonly<Record<string, string>>
  fromMs: number
  toMs: number
}
export interface LogLine {
  atMs: number
  severity: string
  body: string
}
export interface SpanLine {
  atMs: number
  name: string
  kind: string
  durationMs: number
  status: string
  message: string
}

// ── Drivers ──────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * What the driver promises about an apply that may or may not have happened (crash in between):
 * convergent: apply again, the effect is the same; detectable: the target can be asked; opaque: neither, never repeat.
 */
export type DriverClass = 'convergent' | 'detectable' | 'opaque'

/** What a target looks like now. */
export interface Observation {
  state: 'running' | 'stopped' | 'failed' | 'unknown'
  /** Facts for preconditions and evidence: pid, startedAtMs, restarts, … JSON values only. */
  facts: Readonly<Record<string, string | number | boolean>>
}

export interface DriverOrder {
  /** Same key, same effect: at most one. */
  idempotencyKey: string
  target: string
  verb: string
  args: Readonly<Record<string, unknown>>
  /** The target refuses an older fence. */
  fence: number
  deadlineMs: number
}

export interface Driver {
  readonly name: string
  /** Verb → its class. A verb that is not listed is refused before anything happens. */
  readonly verbs: Readonly<Record<string, DriverClass>>
  /** Throws AppError `step_refused` when verb, target or args are outside the allow-list. No effect. */
  check(order: Pick<DriverOrder, 'target' | 'verb' | 'args'>): void
  observe(target: string): Promise<Observation>
  /** @throws AppError `driver_failed` (did not happen) | `driver_unknown` (may have happened) */
  apply(order: DriverOrder, signal: AbortSignal): Promise<{ detail: string }>
  /** For detectable verbs: was the order with this key applied? */
  wasApplied?(order: DriverOrder): Promise<'yes' | 'no' | 'unknown'>
}

export type { Escalation, Page } from './page.ts'

/** The durable table of the command protocol; one implementation on SQLite (`pipeline/ledger.ts`), fsynced per call. */
export interface LedgerStore {
  /** Runs `work` as one durable transaction: all of its puts or none. */
  transaction<T>(work: (rows: LedgerRows) => T): T
  close(): void
}
export interface LedgerRows {
  get(kind: LedgerKind, key: string): Readonly<Record<string, unknown>> | undefined
  put(kind: LedgerKind, key: string, row: Readonly<Record<string, unknown>>): void
  /** Rows of a kind whose `open` field is true: work to resume after a crash. Bounded by `rowsMax`. */
  open(kind: LedgerKind, rowsMax: number): readonly Readonly<Record<string, unknown>>[]
  /** How many rows of a kind are open. */
  openCount(kind: LedgerKind): number
}
export type LedgerKind = 'command' | 'step' | 'nonce' | 'fence' | 'outbox' | 'ledger'

export type { Command, CommandStep }
