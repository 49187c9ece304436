// Administration over @platformatic/kafka's protocol functions: topics, their settings, offsets and groups.
//
// Each call asks the cluster afresh and is repeated by the caller. What already exists counts as created, so two may apply the same plan.

import {
  ConfigResourceTypes,
  createPartitionsV3,
  createTopicsV7,
  describeConfigsV4,
  FindCoordinatorKeyTypes,
  findCoordinatorV4,
  IncrementalAlterConfigOperationTypes,
  incrementalAlterConfigsV1,
  ListOffsetTimestamps,
  listGroupsV4,
  listOffsetsV7,
  offsetFetchV8
} from '@platformatic/kafka'
import { AppError } from '../../../schemas/errors.ts'
import type { Position } from '../../../schemas/ports.ts'
import type { KafkaClientOptions } from './client-options.ts'
import type { KafkaAdmin, TopicSettings } from './kafka-client.ts'
import { errorIds, openWire, told, type Wire } from './platformatic-wire.ts'
import { untilShown } from './until-shown.ts'

const REQUEST_TIMEOUT_MS = 30_000
const ANY_EPOCH = -1
const NO_REPLICA = -1
const UNCOMMITTED_TOO = 0

/** Connects with the first request. */
export function platformaticAdmin(options: KafkaClientOptions): KafkaAdmin {
  const wire = openWire(options, REQUEST_TIMEOUT_MS)
  return {
    describe: (topics, configNames) => told('the topics cannot be described', describe(wire, topics, configNames)),
    create: topics => told(`${topics.map(({ name }) => name).join(', ')} cannot be created`, create(wire, topics)),
    grow: (topic, partitions) => told(`${topic} cannot get ${partitions} partitions`, grow(wire, topic, partitions)),
    alterConfigs: (topic, configs) => told(`the settings of ${topic} cannot be changed`, alterConfigs(wire, topic, configs)),
    partitionCounts: topics => told('the partitions cannot be counted', partitionCounts(wire, topics)),
    offsets: topic => told(`the offsets of ${topic} cannot be read`, offsets(wire, topic)),
    committed: (group, topics) => told(`the offsets of group ${group} cannot be read`, committed(wire, group, topics)),
    groups: prefix => told('the groups cannot be listed', groups(wire, prefix)),
    brokers: () => told('the brokers cannot be listed', brokers(wire)),
    close: () => wire.close()
  }
}

/** What of an answer was ever committed. */
export function committedPositions(answer: offsetFetchV8.OffsetFetchResponse): Position[] {
  const topics = answer.groups.flatMap(group => group.topics)
  return topics.flatMap(({ name, partitions }) =>
    partitions
      .filter(({ committedOffset }) => committedOffset >= 0n)
      .map(({ partitionIndex, committedOffset }) => ({ topic: name, partition: partitionIndex, offset: Number(committedOffset) }))
  )
}

async function describe(wire: Wire, topics: readonly string[], configNames: readonly string[]): Promise<TopicSettings[]> {
  if (topics.length === 0) return []
  const found = (await wire.metadata(topics)).topics.filter(({ errorCode, partitions }) => errorCode === 0 && partitions.length > 0)
  if (found.length === 0) return []
  const resources = found.map(({ name }) => ({ resourceType: ConfigResourceTypes.TOPIC, resourceName: name!, configurationKeys: [...configNames] }))
  const { results } = await wire.ask('any', describeConfigsV4.api, resources, false, false)
  const configs = new Map(
    results.map(({ resourceName, configs }) => [resourceName, configs.flatMap(({ name, value }) => (value === null ? [] : [[name, value]]))])
  )
  return found.map(({ name, partitions }) => ({
    name: name!,
    partitions: partitions.length,
    replication: partitions[0]!.replicaNodes.length,
    configs: Object.fromEntries(configs.get(name!) ?? [])
  }))
}

async function partitionCounts(wire: Wire, topics: readonly string[]): Promise<Map<string, number>> {
  if (topics.length === 0) return new Map()
  const found = (await wire.metadata(topics)).topics.filter(({ errorCode, partitions }) => errorCode === 0 && partitions.length > 0)
  return new Map(found.map(({ name, partitions }) => [name!, partitions.length]))
}

async function create(wire: Wire, topics: readonly TopicSettings[]): Promise<void> {
  if (topics.length === 0) return
  const wanted = topics.map(({ name, partitions, replication, configs }) => ({
    name,
    numPartitions: partitions,
    replicationFactor: replication,
    assignments: [],
    configs: Object.entries(configs).map(([key, value]) => ({ name: key, value }))
  }))
  try {
    await wire.ask(await controller(wire), createTopicsV7.api, wanted, REQUEST_TIMEOUT_MS, false)
  } catch (error) {
    const others = [...errorIds(error)].filter(id => id !== 'TOPIC_ALREADY_EXISTS')
    if (others.length > 0 || errorIds(error).size === 0) throw error
  }
  await settled(wire, new Map(topics.map(({ name }) => [name, 1])))
}

async function grow(wire: Wire, topic: string, partitions: number): Promise<void> {
  await wire.ask(await controller(wire), createPartitionsV3.api, [{ name: topic, count: partitions, assignments: null }], REQUEST_TIMEOUT_MS, false)
  await settled(wire, new Map([[topic, partitions]]))
}

async function alterConfigs(wire: Wire, topic: string, configs: Readonly<Record<string, string>>): Promise<void> {
  const changes = Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }))
  const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs: changes }
  await wire.ask(await controller(wire), incrementalAlterConfigsV1.api, [resource], false)
  await untilShown(`${topic} is not set up everywhere yet`, async () => {
    const [now] = await describe(wire, [topic], Object.keys(configs))
    return now !== undefined && Object.entries(configs).every(([name, value]) => now.configs[name] === value)
  })
}

async function committed(wire: Wire, group: string, topics: readonly string[]): Promise<Position[]> {
  const { coordinators } = await wire.ask('any', findCoordinatorV4.api, FindCoordinatorKeyTypes.GROUP, [group])
  const answer = await wire.ask(coordinators[0]!, offsetFetchV8.api, [{ groupId: group, memberEpoch: -1, topics: null }], false)
  return committedPositions(answer).filter(({ topic }) => topics.includes(topic))
}

async function groups(wire: Wire, prefix: string): Promise<string[]> {
  const all = (await wire.metadata([])).brokers
  const answers = await Promise.all(all.map(({ nodeId }) => wire.ask(nodeId, listGroupsV4.api, [], []))) // Each knows those that it coordinates.
  const names = new Set(answers.flatMap(answer => answer.groups.map(({ groupId }) => groupId)))
  return [...names].filter(name => name.startsWith(prefix)).sort()
}

async function brokers(wire: Wire): Promise<{ id: number; address: string }[]> {
  return (await wire.metadata([])).brokers.map(({ nodeId, host, port }) => ({ id: nodeId, address: `${host}:${port}` }))
}

/** Waits until each topic has so many partitions, all with a leader: until then a producer or a reader would meet errors. */
async function settled(wire: Wire, partitions: ReadonlyMap<string, number>): Promise<void> {
  await untilShown(`${[...partitions.keys()].join(', ')}: no leader for all partitions yet`, async () => {
    const { topics } = await wire.metadata([...partitions.keys()])
    return topics.every(topic => topic.partitions.length >= partitions.get(topic.name!)! && topic.partitions.every(({ leaderId }) => leaderId >= 0))
  })
}

async function offsets(wire: Wire, topic: string): Promise<{ partition: number; start: number; end: number }[]> {
  const found = (await wire.metadata([topic])).topics[0]
  if (found === undefined || found.partitions.length === 0) throw new AppError('unknown_topic', `there is no topic ${topic} in the cluster`)
  const ends = new Map<number, { start: number; end: number }>(found.partitions.map(({ partitionIndex }) => [partitionIndex, { start: 0, end: 0 }]))
  const byLeader = Map.groupBy(found.partitions, ({ leaderId }) => leaderId)
  for (const [leader, partitions] of byLeader) {
    for (const side of ['start', 'end'] as const) {
      const timestamp = side === 'start' ? ListOffsetTimestamps.EARLIEST : ListOffsetTimestamps.LATEST
      const asked = partitions.map(({ partitionIndex }) => ({ partitionIndex, currentLeaderEpoch: ANY_EPOCH, timestamp }))
      const answer = await wire.ask(leader, listOffsetsV7.api, NO_REPLICA, UNCOMMITTED_TOO, [{ name: topic, partitions: asked }])
      for (const { partitionIndex, offset } of answer.topics[0]!.partitions) ends.get(partitionIndex)![side] = Number(offset)
    }
  }
  return [...ends].map(([partition, both]) => ({ partition, ...both })).sort((a, b) => a.partition - b.partition)
}

/** Brokers without KRaft take changes on the controller only; the others pass them on. */
async function controller(wire: Wire): Promise<number> {
  return (await wire.metadata([])).controllerId
}
