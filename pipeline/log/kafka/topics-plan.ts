// What has to change on the cluster so that its topics are as wanted. A pure function: wanted, found → plan; topics-apply.ts does it.
//
// Never deletes, never shrinks, never touches what nobody asked about: configs that we do not set stay as their owner set them.

import type { TopicSettings } from './kafka-client.ts'
import type { WantedTopic } from './topics-wanted.ts'

export interface PlanOptions {
  /** Add partitions to topics that have fewer than wanted. Keys move to other partitions then. */
  grow: boolean
  /** Make missing foreign topics too. */
  foreign: boolean
}

export interface TopicPlan {
  topic: string
  exists: boolean
  /** Partitions now (0 when missing) and as wanted. */
  partitions: { have: number; want: number }
  replication: { have: number; want: number }
  /** Configs that differ; `have` is absent where the topic does not set them. */
  configs: readonly { name: string; have?: string; want: string }[]
  /** What apply would do, in this order. Empty = nothing. */
  actions: readonly ('create' | 'grow' | 'alter')[]
  /** What apply would not do, and why. */
  notes: readonly string[]
}

/** One plan a wanted topic, in their order. */
export function planTopics(wanted: readonly WantedTopic[], found: readonly TopicSettings[], options: PlanOptions): TopicPlan[] {
  const byName = new Map(found.map(topic => [topic.name, topic]))
  return wanted.map(topic => {
    const existing = byName.get(topic.name)
    return existing === undefined ? missing(topic, options) : differing(topic, existing, options)
  })
}

/** Settings of a topic that its plan creates. */
export function settingsOf(topic: WantedTopic): TopicSettings {
  return { name: topic.name, partitions: topic.partitions, replication: topic.replication, configs: topic.configs(topic.partitions) }
}

function missing(topic: WantedTopic, { foreign }: PlanOptions): TopicPlan {
  const isLeft = topic.kind === 'foreign' && !foreign
  return {
    topic: topic.name,
    exists: false,
    partitions: { have: 0, want: topic.partitions },
    replication: { have: 0, want: topic.replication },
    configs: isLeft ? [] : Object.entries(topic.configs(topic.partitions)).map(([name, want]) => ({ name, want })),
    actions: isLeft ? [] : ['create'],
    notes: isLeft ? ['Collectors make it, or you: --collector makes it here'] : []
  }
}

function differing(topic: WantedTopic, existing: TopicSettings, { grow }: PlanOptions): TopicPlan {
  const isOurs = topic.kind === 'ours'
  const lacks = isOurs && existing.partitions < topic.partitions
  const growing = lacks && grow
  // Limits per partition follow from the partitions that there will be, which may be more than wanted: they are never taken away.
  const configs = isOurs ? differences(topic.configs(growing ? topic.partitions : existing.partitions), existing.configs) : []
  const notes: string[] = []
  if (lacks && !grow) notes.push(`${topic.partitions} partitions are wanted: --grow adds them (keys move, see infra/docs/kafka-topics.md)`)
  if (isOurs && existing.partitions > topic.partitions) notes.push('more partitions than wanted: partitions are never taken away')
  if (isOurs && existing.replication !== topic.replication) {
    notes.push(`${topic.replication} replicas are wanted: kafka-reassign-partitions changes that, not this command`)
  }
  return {
    topic: topic.name,
    exists: true,
    partitions: { have: existing.partitions, want: isOurs ? topic.partitions : existing.partitions },
    replication: { have: existing.replication, want: isOurs ? topic.replication : existing.replication },
    configs,
    actions: [...(growing ? (['grow'] as const) : []), ...(configs.length > 0 ? (['alter'] as const) : [])],
    notes
  }
}

function differences(want: Readonly<Record<string, string>>, have: Readonly<Record<string, string>>): TopicPlan['configs'] {
  return Object.entries(want)
    .filter(([name, value]) => have[name] !== value)
    .map(([name, value]) => ({ name, ...(have[name] === undefined ? {} : { have: have[name] }), want: value }))
}
