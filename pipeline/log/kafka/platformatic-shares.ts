// What members of a group send each other, on @platformatic/kafka: the leader's shares, and the share that a member reads.
//
// A share carries the partition counts that it was computed from: a leader that comes back within its session is not asked for
// shares again (KIP-814), and sees from its own whether topics have grown meanwhile.

import {
  decodeConsumerProtocolAssignment,
  decodeConsumerProtocolSubscription,
  encodeConsumerProtocolAssignment,
  type joinGroupV9,
  type syncGroupV5
} from '@platformatic/kafka'
import type { TopicPartition } from '../../../schemas/ports.ts'
import { type AssignMode, assignPartitions } from './assignor.ts'
import { decodeClaims } from './group-protocol.ts'
import type { Wire } from './platformatic-wire.ts'

const BODY_VERSION = 0 // Of Kafka's consumer protocol: what both libraries write.

/** Partitions by topic; a topic that is not there has none. */
export type PartitionCounts = ReadonlyMap<string, number>

type Member = joinGroupV9.JoinGroupResponseMember

/** Topics that any of the members reads. */
export function topicsOf(members: readonly Member[]): string[] {
  return [...new Set(members.flatMap(({ metadata }) => decodeConsumerProtocolSubscription(metadata).topics))].sort()
}

/** The partition counts now. */
export async function countPartitions(wire: Wire, topics: readonly string[]): Promise<PartitionCounts> {
  const { topics: found } = await wire.metadata(topics)
  return new Map(found.map(({ name, partitions }) => [name ?? '', partitions.length]))
}

/** The share of each member, as SyncGroup takes them. */
export function sharesOf(members: readonly Member[], counts: PartitionCounts, mode: AssignMode): syncGroupV5.SyncGroupRequestAssignment[] {
  const known = members.map(({ memberId, metadata }) => {
    const { topics, userData } = decodeConsumerProtocolSubscription(metadata)
    return { id: memberId, topics, ...decodeClaims(userData, memberId) }
  })
  const userData = JSON.stringify(Object.fromEntries(counts))
  return [...assignPartitions(known, counts, mode)].map(([memberId, places]) => {
    const assignedPartitions = [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, list]) => ({
      topic,
      partitions: list.map(place => place.partition)
    }))
    return { memberId, assignment: encodeConsumerProtocolAssignment({ version: BODY_VERSION, assignedPartitions, userData }) }
  })
}

/** A member's own share, and the counts behind it: none when a leader on another library computed it. */
export function readShare(assignment: Buffer): { partitions: TopicPartition[]; counts: PartitionCounts | undefined } {
  if (assignment.length === 0) return { partitions: [], counts: undefined }
  const { assignedPartitions, userData } = decodeConsumerProtocolAssignment(assignment)
  const partitions = assignedPartitions.flatMap(({ topic, partitions: list }) => list.map(partition => ({ topic, partition })))
  try {
    return { partitions, counts: new Map(Object.entries(JSON.parse(userData.toString()) as Record<string, number>)) }
  } catch {
    return { partitions, counts: undefined }
  }
}
