// Offsets on kafkajs' protocol: what a group has committed, and where partitions begin and end.

import { AppError } from '../../../schemas/errors.ts'
import type { Position, TopicPartition } from '../../../schemas/ports.ts'
import type { KafkajsCluster } from './kafkajs-cluster.ts'
import { CODE, errorName } from './kafkajs-internals.ts'

const CALL_MS = 5_000 // A coordinator or a leader that moves is found again within this; then the caller decides.
const LATEST = -1
const EARLIEST = -2
const READ_UNCOMMITTED = 0

interface PartOffset {
  partition: number
  offset: string
  errorCode: number
}

/** Committed offsets of a group; partitions without one are left out. @throws AppError `log_unavailable` */
export function groupOffsets(cluster: KafkajsCluster, group: string, partitions: readonly TopicPartition[]): Promise<Position[]> {
  const topics = [...Map.groupBy(partitions, one => one.topic)].map(([topic, list]) => ({ topic, partitions: list.map(({ partition }) => ({ partition })) }))
  if (topics.length === 0) return Promise.resolve([])
  return cluster.persist(
    `reading the offsets of group ${group}`,
    async () => {
      const coordinator = await cluster.coordinator(group)
      const answer = await cluster.request<{ errorCode: number; responses: readonly { topic: string; partitions: readonly PartOffset[] }[] }>(
        coordinator,
        'OffsetFetch',
        { groupId: group, topics }
      )
      const code = [answer, ...answer.responses.flatMap(one => one.partitions)].find(one => one.errorCode !== CODE.none && one.errorCode !== CODE.unknownTopic)
      if (code !== undefined) throw new Error(errorName(code.errorCode))
      const all = answer.responses.flatMap(({ topic, partitions: list }) => list.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset) })))
      return all.filter(one => one.offset >= 0)
    },
    CALL_MS
  )
}

/** Start and end of each partition, in order. @throws AppError `unknown_topic`, `log_unavailable` */
export function topicOffsets(cluster: KafkajsCluster, topic: string): Promise<{ partition: number; start: number; end: number }[]> {
  let leaders: readonly (number | undefined)[] | undefined
  return cluster.persist(
    `reading the offsets of ${topic}`,
    async () => {
      const [found] = await cluster.metadata([topic])
      if (found === undefined) throw new AppError('unknown_topic', `the cluster has no topic ${topic}: run homeostat topics apply`)
      leaders = found.leaders
      const [starts, ends] = await Promise.all([listOffsets(cluster, topic, leaders, EARLIEST), listOffsets(cluster, topic, leaders, LATEST)])
      return leaders.map((_, partition) => ({ partition, start: starts.get(partition)!, end: ends.get(partition)! }))
    },
    CALL_MS
  )
}

async function listOffsets(cluster: KafkajsCluster, topic: string, leaders: readonly (number | undefined)[], timestamp: number): Promise<Map<number, number>> {
  const offsets = new Map<number, number>()
  const byLeader = Map.groupBy(leaders.keys(), partition => leaders[partition])
  if (byLeader.has(undefined)) throw new Error(`partition ${byLeader.get(undefined)![0]} has no leader`)
  const asked = [...byLeader].map(async ([leader, partitions]) => {
    const topics = [{ topic, partitions: partitions.map(partition => ({ partition, timestamp })) }]
    const args = { isolationLevel: READ_UNCOMMITTED, topics }
    const answer = await cluster.request<{ responses: readonly { partitions: readonly PartOffset[] }[] }>(leader, 'ListOffsets', args)
    for (const { partition, offset, errorCode } of answer.responses.flatMap(one => one.partitions)) {
      if (errorCode !== CODE.none) throw new Error(errorName(errorCode))
      offsets.set(partition, Number(offset))
    }
  })
  await Promise.all(asked)
  return offsets
}
