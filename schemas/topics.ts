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
  /** Somebody else's topic: we read it, and write to it only to put a dead letter of it back. */
  foreign?: true
}

const GIB = 2 ** 30
const telemetry = { codec: 'otlp', cleanup: 'delete', retentionMs: 2 * DAY_MS, retentionBytes: 2 * GIB } as const
const control = { codec: 'cloudevent-json', partitions: 1, cleanup: 'delete', retentionMs: 30 * DAY_MS, retentionBytes: GIB } as const
const compacted = { ...control, cleanup: 'compact' } as const

export const TOPICS = {
  metrics: { ...telemetry, name: 'homeostat.metrics.v1', key: 'entity', partitions: 4, writer: 'intake, detect', readers: 'detect, store' },
  spans: { ...telemetry, name: 'homeostat.spans.v1', key: 'trace id', partitions: 4, writer: 'intake', readers: 'detect, store' },
  logs: { ...telemetry, name: 'homeostat.logs.v1', key: 'entity', partitions: 4, writer: 'intake', readers: 'detect, store' },
  topology: { ...compacted, name: 'homeostat.topology.v1', key: 'source>target, service', writer: 'detect', readers: 'control, store, console' },
  anomalies: { ...control, name: 'homeostat.anomalies.v1', key: 'environment', writer: 'detect, control, intake', readers: 'control, store, console' },
  versions: {
    ...control,
    name: 'homeostat.versions.v1',
    key: 'environment/service',
    retentionMs: 2 * DAY_MS, // A canary takes hours; what it found is in its own record.
    writer: 'detect',
    readers: 'control'
  },
  canaries: { ...compacted, name: 'homeostat.canaries.v1', key: 'canary', writer: 'control', readers: 'control, store, console' },
  incidents: { ...compacted, name: 'homeostat.incidents.v1', key: 'incident', writer: 'control', readers: 'control, act, store, console' },
  decisions: { ...control, name: 'homeostat.decisions.v1', key: 'incident', writer: 'control', readers: 'control, store, console' },
  commands: { ...control, name: 'homeostat.commands.{environment}.v1', key: 'target', writer: 'control', readers: 'control, act, store' },
  executions: { ...control, name: 'homeostat.executions.v1', key: 'command', writer: 'act', readers: 'act' },
  outcomes: { ...control, name: 'homeostat.outcomes.v1', key: 'target', writer: 'act', readers: 'control, store, console' },
  anchors: { ...compacted, name: 'homeostat.anchors.v1', key: 'audit chain', writer: 'control', readers: 'store, cli' },
  models: { ...compacted, name: 'homeostat.models.v1', key: 'model', writer: 'train', readers: 'detect, store, console' },
  control: { ...compacted, name: 'homeostat.control.v1', key: 'kind/subject', writer: 'console, cli', readers: 'control, act, store, console' },
  checkpoints: {
    ...compacted,
    name: 'homeostat.checkpoints.v1',
    key: 'owner/part/slot',
    partitions: 2, // Manifests on the first, parts on the others: finding the newest manifest reads no part.
    codec: 'bytes',
    writer: 'detect, control',
    readers: 'detect, control, console', // The console explains a series by what its detector saved.
    retentionBytes: 4 * GIB
  }
} as const satisfies Record<string, TopicSpec>

export type TopicId = keyof typeof TOPICS

const collector = {
  key: 'any or none',
  codec: 'otlp',
  partitions: 4,
  cleanup: 'delete',
  retentionMs: DAY_MS, // Read within seconds; the rest is for an outage of ours.
  retentionBytes: 2 * GIB,
  writer: 'Collectors',
  readers: 'intake',
  foreign: true
} as const

/** What the Collector's `kafka` exporter writes, by its default names (`intake.topics` has others). The Collector or the cluster's owner makes them. */
export const COLLECTOR_TOPICS = {
  metrics: { ...collector, name: 'otlp_metrics' },
  spans: { ...collector, name: 'otlp_spans' },
  logs: { ...collector, name: 'otlp_logs' }
} as const satisfies Record<string, TopicSpec>

const OUR_PREFIX = 'homeostat.'
const DEAD_LETTERS_SUFFIX = '.dlq'
/** What Kafka takes as a topic's name. */
const LEGAL_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/

/** Name of the commands topic of one environment: an actuator reads no other. */
export function commandsTopic(environment: string): string {
  return TOPICS.commands.name.replace('{environment}', environment)
}

/** Topics whose records are in the audit chain. */
export function auditedTopics(environments: readonly string[]): string[] {
  return [TOPICS.decisions.name, ...environments.map(commandsTopic), TOPICS.outcomes.name]
}

/** Name of the dead-letter topic beside `topic`. */
export function deadLetterTopic(topic: string): string {
  return `${topic}${DEAD_LETTERS_SUFFIX}`
}

/** Whether the name is a foreign topic's: one that does not begin with `homeostat.` and holds no dead letters. */
export function isForeignTopic(name: string): boolean {
  return !name.startsWith(OUR_PREFIX) && !name.endsWith(DEAD_LETTERS_SUFFIX) && LEGAL_NAME.test(name)
}

/**
 * The spec that governs a concrete topic name: dead-letter topics, any environment's commands and foreign topics included.
 * A name that does not begin with `homeostat.` is a foreign topic (how many partitions it has, the cluster knows); its dead letters are ours.
 * @returns undefined when the name is no topic of ours although it claims to be, or no possible name
 */
export function topicSpec(name: string): TopicSpec | undefined {
  if (name.endsWith(DEAD_LETTERS_SUFFIX)) {
    const base = topicSpec(name.slice(0, -DEAD_LETTERS_SUFFIX.length))
    if (base === undefined) return undefined
    const { foreign: _ours, ...spec } = base
    return { ...spec, name, partitions: 1, cleanup: 'delete', codec: 'bytes', retentionMs: 30 * DAY_MS, retentionBytes: GIB / 4 }
  }
  if (isForeignTopic(name)) return { ...(Object.values(COLLECTOR_TOPICS).find(spec => spec.name === name) ?? collector), name }
  for (const spec of Object.values(TOPICS)) {
    if (spec.name === name) return spec
    const [head, tail] = spec.name.split('{environment}')
    if (tail !== undefined && name.startsWith(head!) && name.endsWith(tail)) return { ...spec, name }
  }
  return undefined
}
