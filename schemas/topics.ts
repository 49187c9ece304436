// Every topic in one table: who writes, who reads, what the key orders, how long it is kept.

const DAY_MS = 86_400_000

export interface TopicSpec {
  /** `{environment}` in the name is replaced; commands are separate per environment. */
  name: string
  key: string
  codec: 'otlp' | 'cloudevent-json' | 'bytes'
  /** Partitions on the embedded log; a cluster overrides them by configuration. */
  partitions: number
  cleanup: 'delete' | 'compact'
  /** Oldest records are dropped beyond either limit; compacted topics keep the last record a key instead. */
  retentionMs: number
  retentionBytes: number
  writer: string
  readers: string
}

const GIB = 2 ** 30
const telemetry = { codec: 'otlp', cleanup: 'delete', retentionMs: 2 * DAY_MS, retentionBytes: 2 * GIB } as const
const control = { codec: 'cloudevent-json', partitions: 1, cleanup: 'delete', retentionMs: 30 * DAY_MS, retentionBytes: GIB } as const
const compacted = { ...control, cleanup: 'compact' } as const

export const TOPICS = {
  metrics: { ...telemetry, name: 'homeostat.metrics.v1', key: 'entity', partitions: 4, writer: 'intake, detect', readers: 'detect, store' },
  spans: { ...telemetry, name: 'homeostat.spans.v1', key: 'trace id', partitions: 4, writer: 'intake', readers: 'detect, store' },
  logs: { ...telemetry, name: 'homeostat.logs.v1', key: 'entity', partitions: 4, writer: 'intake', readers: 'detect, store' },
  topology: { ...compacted, name: 'homeostat.topology.v1', key: 'source>target', writer: 'detect', readers: 'control, console' },
  anomalies: { ...control, name: 'homeostat.anomalies.v1', key: 'environment', writer: 'detect', readers: 'control, store' },
  incidents: { ...compacted, name: 'homeostat.incidents.v1', key: 'incident', writer: 'control', readers: 'control, store, console' },
  decisions: { ...control, name: 'homeostat.decisions.v1', key: 'incident', writer: 'control', readers: 'store, console' },
  commands: { ...control, name: 'homeostat.commands.{environment}.v1', key: 'target', writer: 'control', readers: 'act, store' },
  outcomes: { ...control, name: 'homeostat.outcomes.v1', key: 'target', writer: 'act', readers: 'control, store' },
  models: { ...compacted, name: 'homeostat.models.v1', key: 'model', writer: 'train', readers: 'detect, control' },
  control: { ...compacted, name: 'homeostat.control.v1', key: 'kind/subject', writer: 'console, cli', readers: 'control, act, store' },
  checkpoints: {
    ...compacted,
    name: 'homeostat.checkpoints.v1',
    key: 'owner/part/slot',
    partitions: 2, // Manifests on the first, parts on the others: finding the newest manifest reads no part.
    codec: 'bytes',
    writer: 'detect, control',
    readers: 'detect, control',
    retentionBytes: 4 * GIB
  }
} as const satisfies Record<string, TopicSpec>

export type TopicId = keyof typeof TOPICS

/** Name of the commands topic of one environment: an actuator reads no other. */
export function commandsTopic(environment: string): string {
  return TOPICS.commands.name.replace('{environment}', environment)
}

/** Name of the dead-letter topic beside `topic`. */
export function deadLetterTopic(topic: string): string {
  return `${topic}.dlq`
}

/**
 * The spec that governs a concrete topic name, dead-letter topics and any environment's commands included.
 * @returns undefined when the name is no topic of ours
 */
export function topicSpec(name: string): TopicSpec | undefined {
  if (name.endsWith('.dlq')) {
    const base = topicSpec(name.slice(0, -4))
    return base && { ...base, name, partitions: 1, cleanup: 'delete', codec: 'bytes', retentionMs: 30 * DAY_MS, retentionBytes: GIB / 4 }
  }
  for (const spec of Object.values(TOPICS)) {
    if (spec.name === name) return spec
    const [head, tail] = spec.name.split('{environment}')
    if (tail !== undefined && name.startsWith(head!) && name.endsWith(tail)) return { ...spec, name }
  }
  return undefined
}
