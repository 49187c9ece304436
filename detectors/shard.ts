// A shard: the state of one input partition, the only unit that is restored, replayed, checkpointed and moved.
//
// Flow: worker -> shard.take(record) -> outputs (anomalies, derived points, edges) -> worker publishes them. A metrics shard is a
// Scorer, a spans or logs shard derives series. Since telemetry is keyed by entity (spans by trace), an entity's series live
// in exactly one metrics shard, so partitions can move between workers with nothing but their checkpoint.

import type { Anomaly } from '../schemas/anomaly.ts'
import { AppError } from '../schemas/errors.ts'
import { derivedId } from '../schemas/ids.ts'
import type { DerivedPoint, OpenReader, ReadResult } from '../schemas/otlp.ts'
import type { LogRecord, TopicPartition } from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import type { Edge } from '../schemas/topology.ts'
import { LogDeriver } from './derive/logs.ts'
import { SpanDeriver } from './derive/spans.ts'
import type { LearnedDetector } from './score/model-hook.ts'
import { Scorer } from './score/scorer.ts'
import type { ScorerSettings } from './score/scorer-settings.ts'
import type { SeriesBudget } from './score/series-table.ts'

export interface Outputs {
  anomalies: Anomaly[]
  derived: DerivedPoint[]
  edges: Edge[]
}

export interface Shard {
  readonly topic: string
  readonly partition: number
  /** Present in metrics shards: what can be asked about series. */
  readonly scorer: Scorer | undefined
  /** Takes one record of the partition. @throws AppError `malformed_otlp` for a poison record */
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
  environment: string
  nowMs: () => number
  models: () => readonly LearnedDetector[]
}

/** Intake names every record's entity; only records written by other tools can lack it. */
const NAMELESS_ENTITY = 'unknown'

/**
 * The shard of a partition, from its checkpoint's parts when there are some.
 * @throws AppError `checkpoint_invalid`
 */
export function openShard({ topic, partition }: TopicPartition, options: ShardOptions, parts?: ReadonlyMap<string, Uint8Array>): Shard {
  const seed = seedOf(parts) ?? newSeed(topic, partition, options.nowMs())
  const reader = options.openReader({ fallback: { entity: NAMELESS_ENTITY, environment: options.environment }, seed })
  const { windowMs, latenessMs } = options.settings
  const windows = { windowMs, latenessMs, shard: partition }
  let isSeedSaved = parts !== undefined
  const withSeed = (dirty: Map<string, Uint8Array>): Map<string, Uint8Array> => {
    if (!isSeedSaved) dirty.set('shard', new TextEncoder().encode(JSON.stringify({ seed })))
    isSeedSaved = true
    return dirty
  }

  if (topic === TOPICS.metrics.name) {
    const scorer = new Scorer(options.settings, { budget: options.budget, nowMs: options.nowMs, models: options.models, ...(parts ? { parts } : {}) })
    return {
      topic,
      partition,
      scorer,
      take(record) {
        scorer.begin(record.appendedAtMs)
        return reader.readMetrics(payload(record), scorer)
      },
      advance: (nowMs, listeningSinceMs) => scorer.advance(nowMs, listeningSinceMs),
      outputs: () => ({ ...scorer.take(), edges: [] }),
      takeDirty: () => withSeed(scorer.takeDirty()),
      counts: () => ({ ...scorer.stats })
    }
  }
  if (topic === TOPICS.spans.name) {
    const deriver = new SpanDeriver(windows, parts)
    let derived: DerivedPoint[] = []
    let edges: Edge[] = []
    return {
      topic,
      partition,
      scorer: undefined,
      take(record) {
        deriver.begin(record.appendedAtMs)
        return reader.readSpans(payload(record), deriver)
      },
      advance: nowMs => deriver.advance(nowMs, derived, edges),
      outputs() {
        const taken = { anomalies: [], derived, edges }
        derived = []
        edges = []
        return taken
      },
      takeDirty: () => withSeed(deriver.parts()),
      counts: () => ({ ...deriver.stats })
    }
  }
  const deriver = new LogDeriver(windows, parts)
  let derived: DerivedPoint[] = []
  return {
    topic,
    partition,
    scorer: undefined,
    take(record) {
      deriver.begin(record.appendedAtMs)
      return reader.readLogs(payload(record), deriver)
    },
    advance: nowMs => deriver.advance(nowMs, derived),
    outputs() {
      const taken = { anomalies: [], derived, edges: [] }
      derived = []
      return taken
    },
    takeDirty: () => withSeed(deriver.parts()),
    counts: () => ({ ...deriver.stats })
  }
}

function payload(record: LogRecord): Uint8Array {
  if (record.value === null) throw new AppError('malformed_otlp', 'a telemetry record has no value')
  return record.value
}

/** The key seed travels with the keys. It only has to be unknown to senders, so the moment of the first start serves. */
function newSeed(topic: string, partition: number, nowMs: number): number {
  return Number.parseInt(derivedId('series-key-seed', topic, partition, nowMs).slice(0, 8), 16)
}

function seedOf(parts: ReadonlyMap<string, Uint8Array> | undefined): number | undefined {
  const part = parts?.get('shard')
  if (part === undefined) return undefined
  return (JSON.parse(new TextDecoder().decode(part)) as { seed: number }).seed
}
