// What members of a group send each other on kafkajs' protocol: the leader's shares, and the share that a member reads.
//
// A share carries the partition counts that it was computed from, so every member sees when topics have grown since: a leader that
// came back within its session is not told that it leads.

import { AppError } from '../../../schemas/errors.ts'
import type { TopicPartition } from '../../../schemas/ports.ts'
import { type AssignMode, assignPartitions } from './assignor.ts'
import { decodeClaims, encodeClaims, type MemberClaims } from './group-protocol.ts'
import type { KafkajsCluster } from './kafkajs-cluster.ts'
import { MemberAssignment, MemberMetadata } from './kafkajs-internals.ts'

const BODY_VERSION = 0 // Of Kafka's consumer protocol: what both libraries write.

/** Partitions by topic. */
export type PartitionCounts = ReadonlyMap<string, number>

export interface JoinedMember {
  memberId: string
  memberMetadata: Buffer
}

/** A member's subscription, as JoinGroup takes it. */
export function subscriptionOf(topics: readonly string[], claims: MemberClaims): Buffer {
  return MemberMetadata.encode({ version: BODY_VERSION, topics, userData: encodeClaims(claims) })
}

/** The share of each member, as SyncGroup takes them. @throws AppError `unknown_topic` */
export async function shareOut(
  cluster: KafkajsCluster,
  members: readonly JoinedMember[],
  mode: AssignMode
): Promise<{ memberId: string; memberAssignment: Buffer }[]> {
  const known = members.map(({ memberId, memberMetadata }) => {
    const { topics, userData } = MemberMetadata.decode(memberMetadata)
    return { id: memberId, topics, ...decodeClaims(userData, memberId) }
  })
  const counts = await countPartitions(cluster, [...new Set(known.flatMap(one => one.topics))])
  const userData = Buffer.from(JSON.stringify(Object.fromEntries(counts)))
  return [...assignPartitions(known, counts, mode)].map(([memberId, places]) => {
    const assignment = Object.fromEntries([...Map.groupBy(places, at => at.topic)].map(([topic, list]) => [topic, list.map(at => at.partition)]))
    return { memberId, memberAssignment: MemberAssignment.encode({ version: BODY_VERSION, assignment, userData }) }
  })
}

/** A member's own share, and the counts behind it: none when the leader sent none. */
export function readShare(data: Buffer): { partitions: TopicPartition[]; counts: PartitionCounts | undefined } {
  const { assignment, userData } = MemberAssignment.decode(data) ?? { assignment: {}, userData: null }
  const partitions = Object.entries(assignment).flatMap(([topic, list]) => list.map(partition => ({ topic, partition })))
  try {
    return { partitions, counts: new Map(Object.entries(JSON.parse(userData!.toString()) as Record<string, number>)) }
  } catch {
    return { partitions, counts: undefined }
  }
}

/** @throws AppError `unknown_topic` */
export async function countPartitions(cluster: KafkajsCluster, topics: readonly string[]): Promise<PartitionCounts> {
  const found = await cluster.metadata(topics)
  const missing = topics.filter(topic => !found.some(one => one.topic === topic))
  if (missing.length > 0) throw new AppError('unknown_topic', `the cluster has no topic ${missing.join(', ')}: run homeostat topics apply`)
  return new Map(found.map(({ topic, leaders }) => [topic, leaders.length]))
}
