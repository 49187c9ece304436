// Administration on kafkajs' protocol: topics, their settings, offsets and groups.
//
// kafkajs knows only the older request that replaces all settings of a topic at once: what is set already is read before and
// sent along. What already exists counts as created, so two may apply the same plan.

import { AppError } from '../../../schemas/errors.ts'
import type { KafkaClientOptions } from './client-options.ts'
import type { KafkaAdmin, TopicSettings } from './kafka-client.ts'
import { type KafkajsCluster, openCluster } from './kafkajs-cluster.ts'
import { CODE, errorName } from './kafkajs-internals.ts'
import { groupOffsets, topicOffsets } from './kafkajs-offsets.ts'
import { untilShown } from './until-shown.ts'

const CALL_MS = 5_000
const REQUEST_MS = 10_000 // Readers wait for offsets: a broker that pauses must not hold them up for longer.
const CREATE_MS = 30_000
const PATIENT = { timeoutMs: CREATE_MS + REQUEST_MS }
const TOPIC_RESOURCE = 2
const SET_ON_TOPIC = 1 // A setting's source.
/** What no repetition cures. */
const WRONG_CONFIG: ReadonlySet<number> = new Set([
  CODE.invalidTopic,
  CODE.invalidPartitions,
  CODE.invalidReplication,
  CODE.invalidConfig,
  CODE.policyViolation
])

interface ConfigEntry {
  configName: string
  configValue: string | null
  configSource: number
}
interface Verdict {
  errorCode: number
  errorMessage?: string | null
}

/** Connects with the first request. */
export function kafkajsAdmin(options: KafkaClientOptions): KafkaAdmin {
  const cluster = openCluster(options, { requestTimeoutMs: REQUEST_MS })
  return {
    describe: (topics, configNames) => cluster.persist('describing topics', () => describe(cluster, topics, configNames), CALL_MS),
    create: topics => cluster.persist(`creating ${topics.map(one => one.name).join(', ')}`, () => create(cluster, topics), CREATE_MS),
    grow: (topic, partitions) => cluster.persist(`growing ${topic}`, () => grow(cluster, topic, partitions), CREATE_MS),
    alterConfigs: (topic, configs) => cluster.persist(`setting up ${topic}`, () => alterConfigs(cluster, topic, configs), CALL_MS),
    async partitionCounts(topics) {
      const found = await cluster.persist('counting partitions', () => cluster.metadata(topics), CALL_MS)
      return new Map(found.map(({ topic, leaders }) => [topic, leaders.length]))
    },
    offsets: topic => topicOffsets(cluster, topic),
    async committed(group, topics) {
      const found = await cluster.persist('describing topics', () => cluster.metadata(topics), CALL_MS)
      const partitions = found.flatMap(({ topic, leaders }) => leaders.map((_, partition) => ({ topic, partition })))
      return groupOffsets(cluster, group, partitions)
    },
    groups: prefix => cluster.persist('listing groups', () => groups(cluster, prefix), CALL_MS),
    brokers: () => cluster.persist('listing brokers', () => cluster.brokers(), CALL_MS),
    close: () => cluster.close()
  }
}

async function describe(cluster: KafkajsCluster, topics: readonly string[], configNames: readonly string[]): Promise<TopicSettings[]> {
  if (topics.length === 0) return []
  const found = await cluster.metadata(topics)
  if (found.length === 0) return []
  const configs = await describeConfigs(
    cluster,
    found.map(one => one.topic),
    configNames
  )
  return found.map(({ topic, leaders, replication }) => ({
    name: topic,
    partitions: leaders.length,
    replication,
    configs: Object.fromEntries((configs.get(topic) ?? []).flatMap(({ configName, configValue }) => (configValue === null ? [] : [[configName, configValue]])))
  }))
}

/** @param names empty: all */
async function describeConfigs(cluster: KafkajsCluster, topics: readonly string[], names: readonly string[]): Promise<Map<string, readonly ConfigEntry[]>> {
  const resources = topics.map(name => ({ type: TOPIC_RESOURCE, name, configNames: names }))
  const answer = await cluster.request<{ resources: readonly (Verdict & { resourceName: string; configEntries: readonly ConfigEntry[] })[] }>(
    undefined,
    'DescribeConfigs',
    { resources }
  )
  for (const verdict of answer.resources) heed(verdict)
  return new Map(answer.resources.map(({ resourceName, configEntries }) => [resourceName, configEntries]))
}

async function create(cluster: KafkajsCluster, topics: readonly TopicSettings[]): Promise<void> {
  if (topics.length === 0) return
  const wanted = topics.map(({ name, partitions, replication, configs }) => ({
    topic: name,
    numPartitions: partitions,
    replicationFactor: replication,
    replicaAssignment: [],
    configEntries: Object.entries(configs).map(([key, value]) => ({ name: key, value }))
  }))
  const controller = await cluster.controller()
  const { topicErrors } = await cluster.request<{ topicErrors: readonly Verdict[] }>(
    controller,
    'CreateTopics',
    { topics: wanted, timeout: CREATE_MS },
    PATIENT
  )
  for (const verdict of topicErrors) if (verdict.errorCode !== CODE.topicExists) heed(verdict)
  await settled(cluster, new Map(topics.map(one => [one.name, 1])))
}

async function grow(cluster: KafkajsCluster, topic: string, partitions: number): Promise<void> {
  const topicPartitions = [{ topic, count: partitions, assignments: [] }]
  const controller = await cluster.controller()
  const { topicErrors } = await cluster.request<{ topicErrors: readonly Verdict[] }>(
    controller,
    'CreatePartitions',
    { topicPartitions, timeout: CREATE_MS },
    PATIENT
  )
  for (const verdict of topicErrors) heed(verdict)
  await settled(cluster, new Map([[topic, partitions]]))
}

async function alterConfigs(cluster: KafkajsCluster, topic: string, configs: Readonly<Record<string, string>>): Promise<void> {
  const entries = (await describeConfigs(cluster, [topic], [])).get(topic) ?? []
  const set = entries.filter(({ configSource }) => configSource === SET_ON_TOPIC).map(({ configName, configValue }) => [configName, configValue])
  const configEntries = Object.entries({ ...Object.fromEntries(set), ...configs }).map(([name, value]) => ({ name, value }))
  const resources = [{ type: TOPIC_RESOURCE, name: topic, configEntries }]
  const answer = await cluster.request<{ resources: readonly Verdict[] }>(await cluster.controller(), 'AlterConfigs', { resources })
  for (const verdict of answer.resources) heed(verdict)
  await untilShown(
    `${topic} is not set up everywhere yet`,
    async () => {
      const now = (await describeConfigs(cluster, [topic], Object.keys(configs))).get(topic) ?? []
      return now.every(({ configName, configValue }) => configs[configName] === configValue)
    },
    cluster.closed
  )
}

/** Each broker knows the groups that it coordinates. */
async function groups(cluster: KafkajsCluster, prefix: string): Promise<string[]> {
  const brokers = await cluster.brokers()
  const answers = await Promise.all(brokers.map(({ id }) => cluster.request<Verdict & { groups: readonly { groupId: string }[] }>(id, 'ListGroups', {})))
  for (const answer of answers) heed(answer)
  const names = new Set(answers.flatMap(answer => answer.groups.map(one => one.groupId)))
  return [...names].filter(name => name.startsWith(prefix)).sort()
}

/** Waits until each topic has so many partitions, all with a leader: until then a producer or a reader would meet errors. */
async function settled(cluster: KafkajsCluster, partitions: ReadonlyMap<string, number>): Promise<void> {
  await untilShown(
    `${[...partitions.keys()].join(', ')}: no leader for all partitions yet`,
    async () => {
      const found = await cluster.metadata([...partitions.keys()])
      const isReady = ({ topic, leaders }: (typeof found)[number]): boolean => leaders.length >= partitions.get(topic)! && !leaders.includes(undefined)
      return found.length === partitions.size && found.every(isReady)
    },
    cluster.closed
  )
}

/** @throws AppError `config_invalid` for what no repetition cures; Error for the rest */
function heed({ errorCode, errorMessage }: Verdict): void {
  if (errorCode === CODE.none) return
  const advice = errorCode === CODE.invalidReplication ? ' (kafka.topics.replication: at most one copy a broker)' : ''
  const text = `${errorMessage ?? errorName(errorCode)}${advice}`
  throw WRONG_CONFIG.has(errorCode) ? new AppError('config_invalid', `Kafka refuses: ${text}`) : new Error(text)
}
