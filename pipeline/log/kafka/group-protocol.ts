// What members of a group tell each other through the broker: the assignor's name and each member's user data.
//
// The same for both libraries, so that a group may consist of both while the client is changed. User data is JSON; a member
// whose data cannot be read takes part without claims.

import type { TopicPartition } from '../../../schemas/ports.ts'
import type { AssignMode } from './assignor.ts'

/** Name of the assignor in the join request. All members of a group must name the same. */
export const PROTOCOL_NAMES: Readonly<Record<AssignMode, string>> = { shared: 'homeostat-sticky', exclusive: 'homeostat-exclusive' }

export interface MemberClaims {
  instance: string
  owned: readonly TopicPartition[]
  generation: number
}

/** User data of a member's subscription. */
export function encodeClaims({ instance, owned, generation }: MemberClaims): Buffer {
  const topics = [...Map.groupBy(owned, at => at.topic)].map(([topic, places]) => [topic, places.map(at => at.partition)])
  return Buffer.from(JSON.stringify({ instance, generation, owned: Object.fromEntries(topics) }))
}

/** @param memberId stands for the name of a member that sent none */
export function decodeClaims(userData: Uint8Array | null | undefined, memberId: string): MemberClaims {
  try {
    const { instance, generation, owned } = JSON.parse(Buffer.from(userData!).toString()) as {
      instance: unknown
      generation: unknown
      owned: Record<string, unknown>
    }
    if (typeof instance !== 'string' || !Number.isInteger(generation)) throw new TypeError('not ours')
    const claimed = Object.entries(owned).flatMap(([topic, partitions]) => (partitions as number[]).map(partition => ({ topic, partition })))
    return { instance, generation: generation as number, owned: claimed.filter(({ partition }) => Number.isInteger(partition) && partition >= 0) }
  } catch {
    return { instance: memberId, generation: -1, owned: [] }
  }
}
