// A shard: the state of one input partition, the only unit that is restored, replayed, checkpointed and moved.
//
// Flow: worker -> shard.take(record) -> outputs (anomalies, derived points, edges, new instances) -> worker publishes them. A metrics shard is a
// Scorer, a spans or logs shard derives series. Since telemetry is keyed by entity (spans by trace), an entity's series live
// in exactly one metrics shard, so partitions can move between workers with nothing but their checkpoint.

import type { Anomaly } from '../schemas/anomaly.ts'
import { AppError } from '../schemas/errors.ts'
import { derivedId } from '../schemas/ids.ts'
import type { DerivedPoint, EncodeDerived, OpenReader, ReadResult } from '../schemas/otlp.ts'
import type { LogRecord, TopicPartition } from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import type { Edge, Instance } from '../schemas/topology.ts'
import type { VersionWindow } from '../schemas/version-window.ts'
import { LogDeriver } from './derive/logs.ts'
import { SpanDeriver } from './derive/spans.ts'
import { clockStep } from './derive/window.ts'
import { derivedMerge } from './merge.ts'
import { isBirth } from './rules/birth.ts'
import type { LearnedDetector } from './score/model-hook.ts'
import { Scorer } from './score/scorer.ts'
import type { ScorerSettings } from './score/scorer-settings.ts'
import type { SeriesBudget } from './score/budget.ts'

export interface Outputs {
  anomalies: Anomaly[]
  derived: DerivedPoint[]
  edges: Edge[]
  instances: Instance[]
  versions: VersionWindow[]
}

/** Small things that are saved with every checkpoint. */
export interface ShardNotes {
  /** Seed of the series keys: it travels with them. */
  seed: number
  /** The newest time at which the log took a record of ours, epoch ms. */
  arrivalMs: number
  /** When the log took our first record: senders that were there before look new until a while after it. */
  knownSinceMs?: number
  /** How far the log's clock has come here: what was due by then is closed. A multiple of CLOCK_STEP_MS. */
  clockMs: number
  /** Silence before this says nothing; undefined: nobody has listened yet. */
  listeningSinceMs?: number
  /** Until when it is known that senders could be heard. */
  listenedThroughMs?: number
  /** The owner saved this as its last: it told nothing afterwards. */
  isLeft?: boolean
}

export interface Shard {
  readonly topic: string
  readonly partition: number
  readonly notes: ShardNotes
  /** Present in metrics shards: what can be asked about series. */
  readonly scorer: Scorer | undefined
  /** Takes one record of the partition, after what is due by the time that the log took it is closed. @throws AppError `malformed_otlp` for a poison record */
  take(record: LogRecord): ReadResult
  /** Closes what is complete at `nowMs`; judges absence when `listeningSinceMs` is given. */
  advance(nowMs: number, listeningSinceMs: number | undefined): void
  /** What came out since the last call. */
  outputs(): Outputs
  /** Changed state parts since the last call. */
  takeDirty(): Map<string, Uint8Array>
  /** Counters since the beginning, by name. */
  counts(): Readonly<Record<string, number>>
}

export interface ShardOptions {
  settings: ScorerSettings
  budget: SeriesBudget
  openReader: OpenReader
  encodeDerived: EncodeDerived
  environment: string
  nowMs: () => number
  models: () => readonly LearnedDetector[]
  /** Names of the shards that derive points: all partitions of spans and logs. */
  sources: () => readonly string[]
}

const NOTES = 'shard'
const MERGE = 'merge'
/** Intake names every record's entity; only records written by other tools can lack it. */
const NAMELESS_ENTITY = 'unknown'

/**
 * The shard of a partition, from its checkpoint's parts when there are some.
 * @throws AppError `checkpoint_invalid`
 */
export function openShard({ topic, partition }: TopicPartition, options: ShardOptions, parts?: ReadonlyMap<string, Uint8Array>): Shard {
  const notes = notesOf(parts) ?? { seed: newSeed(topic, partition, options.nowMs()), arrivalMs: 0, clockMs: 0 }
  const wasLeft = notes.isLeft === true
  delete notes.isLeft
  const reader = options.openReader({ fallback: { entity: NAMELESS_ENTITY, environment: options.environment }, seed: notes.seed })
  const { windowMs, latenessMs } = options.settings
  const windows = { windowMs, latenessMs, shard: partition }
  const withNotes = (dirty: Map<string, Uint8Array>): Map<string, Uint8Array> => dirty.set(NOTES, new TextEncoder().encode(JSON.stringify(notes)))
  /** Moves the log's clock on. @returns whether it came to another step: then what is due is to be closed */
  const isDue = (nowMs: number): boolean => {
    const stepMs = clockStep(nowMs)
    if (stepMs <= notes.clockMs) return false
    notes.clockMs = stepMs
    return true
  }
  const arrive = (record: LogRecord): boolean => {
    // Never before what was closed already: a record that the log dates back belongs to what comes next.
    notes.arrivalMs = Math.max(notes.arrivalMs, notes.clockMs, record.appendedAtMs)
    notes.knownSinceMs ??= notes.arrivalMs
    return isDue(notes.arrivalMs)
  }

  if (topic === TOPICS.metrics.name) {
    const scorer = new Scorer(options.settings, { budget: options.budget, nowMs: options.nowMs, models: options.models, ...(parts ? { parts } : {}) })
    const merge = derivedMerge(options.sources, parts?.get(MERGE))
    let rejected = 0
    if (parts !== undefined && !wasLeft) scorer.succeed(notes.listenedThroughMs ?? notes.arrivalMs)
    let ratios: DerivedPoint[] = []
    const deliver = (request: Uint8Array, dueMs: number): void => {
      scorer.beginDerived(dueMs)
      rejected += reader.readMetrics(request, scorer).rejected
    }
    /** What follows from closed windows is judged here and now: on its way through the log it would come late in a backlog. */
    const close = (asOfMs: number): void => {
      scorer.close(notes.clockMs, notes.clockMs - asOfMs)
      const made = scorer.takeDerived()
      for (const { request } of options.encodeDerived(made)) deliver(request, asOfMs)
      ratios.push(...made)
    }
    const closeDue = (): void => close(merge.release(notes.clockMs, deliver, close))
    return {
      topic,
      partition,
      notes,
      scorer,
      take(record) {
        if (arrive(record)) closeDue()
        if (merge.take(record)) return { accepted: 0, rejected: 0, reason: '' }
        scorer.begin(notes.arrivalMs)
        return reader.readMetrics(payload(record), scorer)
      },
      advance(nowMs, listeningSinceMs) {
        if (isDue(nowMs)) closeDue()
        if (listeningSinceMs !== undefined) scorer.judgeAbsence(nowMs, listeningSinceMs, notes.clockMs - merge.mergedMs)
      },
      outputs() {
        const { knownSinceMs = Number.POSITIVE_INFINITY } = notes
        const instances = scorer.takeInstances().filter(instance => isBirth(instance, knownSinceMs))
        const taken = { anomalies: scorer.take(), derived: ratios, edges: [], instances, versions: [] }
        ratios = []
        return taken
      },
      takeDirty: () => withNotes(scorer.takeDirty().set(MERGE, merge.toBytes())),
      counts: () => ({ ...scorer.stats, ...merge.stats, rejected })
    }
  }
  if (topic === TOPICS.spans.name) {
    const deriver = new SpanDeriver(windows, parts)
    let derived: DerivedPoint[] = []
    let edges: Edge[] = []
    let versions: VersionWindow[] = []
    return {
      topic,
      partition,
      notes,
      scorer: undefined,
      take(record) {
        if (arrive(record)) deriver.advance(notes.clockMs, derived, edges, versions)
        deriver.begin(notes.arrivalMs)
        return reader.readSpans(payload(record), deriver)
      },
      advance(nowMs) {
        if (isDue(nowMs)) deriver.advance(notes.clockMs, derived, edges, versions)
      },
      outputs() {
        const taken = { anomalies: [], derived, edges, instances: [], versions }
        derived = []
        edges = []
        versions = []
        return taken
      },
      takeDirty: () => withNotes(deriver.parts()),
      counts: () => ({ ...deriver.stats })
    }
  }
  const deriver = new LogDeriver(windows, parts)
  let derived: DerivedPoint[] = []
  return {
    topic,
    partition,
    notes,
    scorer: undefined,
    take(record) {
      if (arrive(record)) deriver.advance(notes.clockMs, derived)
      deriver.begin(notes.arrivalMs)
      return reader.readLogs(payload(record), deriver)
    },
    advance(nowMs) {
      if (isDue(nowMs)) deriver.advance(notes.clockMs, derived)
    },
    outputs() {
      const taken = { anomalies: [], derived, edges: [], instances: [], versions: [] }
      derived = []
      return taken
    },
    takeDirty: () => withNotes(deriver.parts()),
    counts: () => ({ ...deriver.stats })
  }
}

function payload(record: LogRecord): Uint8Array {
  if (record.value === null) throw new AppError('malformed_otlp', 'a telemetry record has no value')
  return record.value
}

/** It only has to be unknown to senders, so the moment of the first start serves. */
function newSeed(topic: string, partition: number, nowMs: number): number {
  return Number.parseInt(derivedId('series-key-seed', topic, partition, nowMs).slice(0, 8), 16)
}

/** @throws AppError `checkpoint_invalid` */
function notesOf(parts: ReadonlyMap<string, Uint8Array> | undefined): ShardNotes | undefined {
  const part = parts?.get(NOTES)
  if (part === undefined) return undefined
  try {
    // An earlier release saved the seed alone.
    return { arrivalMs: 0, clockMs: 0, ...(JSON.parse(new TextDecoder().decode(part)) as Pick<ShardNotes, 'seed'>) }
  } catch (cause) {
    throw new AppError('checkpoint_invalid', 'the notes of a shard in a checkpoint cannot be read', { cause })
  }
}
