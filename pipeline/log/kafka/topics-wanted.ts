// The table of topics (schemas/topics.ts) as settings of a Kafka cluster: what `homeostat topics plan|apply` wants to find there.
//
// A pure function of the configuration. Limits of the table are for a whole topic, Kafka's retention.bytes for one partition:
// they are divided here. Foreign topics (the Collectors') are listed for completeness and made only when asked for.

import type { Config } from '../../../schemas/config.ts'
import { AppError } from '../../../schemas/errors.ts'
import { commandsTopic, deadLetterTopic, isForeignTopic, TOPICS, type TopicSpec, topicSpec } from '../../../schemas/topics.ts'

const MIB = 2 ** 20
const HOUR_MS = 3_600_000
/** A record may hold 64 MiB (as on the embedded log); key, headers and the batch around it need less than the rest. */
const MESSAGE_BYTES_MAX = 65 * MIB
/** A segment must hold the largest message; beyond that, small ones give space back sooner, since only whole closed ones are removed. */
const SEGMENT_BYTES_MIN = 128 * MIB
const SEGMENT_BYTES_MAX = 1_024 * MIB // Kafka's default.
const SEGMENTS_PER_PARTITION = 4 // So that retention is kept to a quarter.
/** Superseded records go within an hour: who reads a compacted topic from its start does not read a day of changes. */
const COMPACTION_LAG_MAX_MS = HOUR_MS
/** And stay a minute: who has just read where a checkpoint's parts lie still finds them. */
const COMPACTION_LAG_MIN_MS = 60_000
const TOMBSTONES_KEPT_MS = 24 * HOUR_MS // A reader that starts over within a day sees what was deleted.

export interface WantedTopic {
  name: string
  /** `foreign`: made by Collectors or the cluster's owner. We make a missing one only when asked to, and change none. */
  kind: 'ours' | 'foreign'
  partitions: number
  replication: number
  /** Kafka's own names and values for a topic of so many partitions. */
  configs(partitions: number): Readonly<Record<string, string>>
}

export interface WantedOptions {
  /** Environments that have commands, at least that of the configuration. */
  environments: readonly string[]
  /** List the Collectors' topics although `intake.topics` is not enabled. */
  collectors: boolean
}

/**
 * Every topic that the configuration needs on the cluster, in the order of the table: each with its dead letters after it.
 * @throws AppError `config_invalid` when settings contradict each other
 */
export function wantedTopics(config: Pick<Config, 'kafka' | 'intake'>, { environments, collectors }: WantedOptions): WantedTopic[] {
  const { replication, minInsyncReplicas } = config.kafka.topics
  if (minInsyncReplicas > replication) {
    throw new AppError(
      'config_invalid',
      `kafka.topics.minInsyncReplicas is ${minInsyncReplicas}, but kafka.topics.replication only ${replication}: no append could ever succeed; lower the first or raise the second`
    )
  }
  const names = Object.values(TOPICS).flatMap(({ name }) => (name === TOPICS.commands.name ? environments.map(commandsTopic) : [name]))
  const { metrics, spans, logs, enabled } = config.intake.topics
  const foreign = enabled || collectors ? [metrics.topic, spans.topic, logs.topic] : []
  const topics = [
    // Checkpoints are read by position, never consumed: nothing of them can become a dead letter.
    ...names.flatMap(name => (name === TOPICS.checkpoints.name ? [name] : [name, deadLetterTopic(name)])),
    ...foreign.flatMap(name => [name, deadLetterTopic(name)])
  ]
  refuseUnknown(config.kafka.topics, topics)
  return topics.map(name => wanted(name, config.kafka.topics))
}

/** A misspelt name would otherwise be ignored without a word. */
function refuseUnknown({ partitions, retention }: Config['kafka']['topics'], topics: readonly string[]): void {
  for (const [key, names] of Object.entries({ partitions, retention }).map(([key, record]) => [key, Object.keys(record)] as const)) {
    const unknown = names.find(name => !topics.includes(name) && (isForeignTopic(name) || topicSpec(name) === undefined))
    if (unknown !== undefined) throw new AppError('config_invalid', `kafka.topics.${key} names ${unknown}, which is no topic of ours: see infra/docs/topics.md`)
  }
}

function wanted(name: string, settings: Config['kafka']['topics']): WantedTopic {
  const spec = topicSpec(name)!
  return {
    name,
    kind: spec.foreign ? 'foreign' : 'ours',
    partitions: settings.partitions[name] ?? spec.partitions,
    replication: settings.replication,
    configs: partitions => configs(spec, settings, partitions)
  }
}

function configs(spec: TopicSpec, settings: Config['kafka']['topics'], partitions: number): Record<string, string> {
  const all = {
    'cleanup.policy': spec.cleanup,
    'min.insync.replicas': String(settings.minInsyncReplicas),
    'unclean.leader.election.enable': 'false', // A replica that was behind must not lead: it would forget what was acknowledged.
    'max.message.bytes': String(MESSAGE_BYTES_MAX),
    'compression.type': 'producer', // As it came: the brokers do not compress again.
    // When the log took it, by the brokers' clock: retention does not depend on the clocks of senders.
    'message.timestamp.type': 'LogAppendTime'
  }
  if (spec.cleanup === 'compact') {
    return {
      ...all,
      'segment.bytes': String(SEGMENT_BYTES_MIN),
      'min.compaction.lag.ms': String(COMPACTION_LAG_MIN_MS),
      'max.compaction.lag.ms': String(COMPACTION_LAG_MAX_MS),
      'delete.retention.ms': String(TOMBSTONES_KEPT_MS)
    }
  }
  const { time = spec.retentionMs, bytes = spec.retentionBytes } = settings.retention[spec.name] ?? {}
  const bytesPerPartition = Math.ceil(bytes / partitions)
  const segmentBytes = Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, Math.ceil(bytesPerPartition / SEGMENTS_PER_PARTITION)))
  return { ...all, 'retention.ms': String(time), 'retention.bytes': String(bytesPerPartition), 'segment.bytes': String(segmentBytes) }
}

/** Every config that a wanted topic may set: what to ask the cluster for. */
export const CONFIG_NAMES: readonly string[] = [
  'cleanup.policy',
  'retention.ms',
  'retention.bytes',
  'segment.bytes',
  'min.compaction.lag.ms',
  'max.compaction.lag.ms',
  'delete.retention.ms',
  'min.insync.replicas',
  'unclean.leader.election.enable',
  'max.message.bytes',
  'compression.type',
  'message.timestamp.type'
]
