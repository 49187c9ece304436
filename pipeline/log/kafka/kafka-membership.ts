// A member's place in its consumer group on Kafka: which partitions it owns, from where it reads them, and what it may commit.
//
//   member (client library): rebalance? ─► the running batch ends ─► join ─► share (generation) ─► balance(): revoke, assign
//
// Kafka's generation is the group's, ours a partition's: the one of the assignment since which it was never anybody else's. A partition
// that stays over a rebalance keeps its state, its position and its generation; one that goes is revoked when it is gone, and what
// its former owner would commit then is refused. A member that may have missed a generation gives up everything.

import { AppError } from '../../../schemas/errors.ts'
import type { Logger, Position, SubscribeOptions, TopicPartition } from '../../../schemas/ports.ts'
import type { CommitPosition, Membership, Owned } from '../consumer.ts'
import type { GroupFetcher } from './group-fetcher.ts'
import type { GroupOptions, KafkaClient } from './kafka-client.ts'

const COMMIT_TRIES_MAX = 5 // Each after another rebalance.

export interface KafkaMembershipOptions extends Pick<GroupOptions, 'instance' | 'sessionTimeoutMs' | 'rebalanceTimeoutMs' | 'heartbeatMs'> {
  client: KafkaClient
  subscribe: SubscribeOptions
  fetcher: GroupFetcher
  offsets(topic: string): Promise<readonly { partition: number; start: number; end: number }[]>
  /** Whether leaving gives the partitions to others at once, or keeps them for a restart under the same name. */
  leavesForGood(): boolean
  logger: Logger
}

export interface KafkaMembership extends Membership {
  /** Resolves when the first share is known with the positions that it starts from. */
  readonly started: Promise<void>
}

interface Share {
  generation: number
  partitions: readonly TopicPartition[]
}

/** Joins the group in the background. */
export async function joinKafkaGroup(options: KafkaMembershipOptions): Promise<KafkaMembership> {
  const { subscribe, fetcher, logger } = options
  const { group, topics, from } = subscribe
  const owned = new Map<string, Owned>()
  /** Gone; their owner is told between batches. */
  let leaving: Owned[] = []
  let share: Share | undefined
  let rebalance: PromiseWithResolvers<void> | undefined
  /** From when the batch has ended until there is a new share: nothing is delivered, commits wait. */
  let joining: PromiseWithResolvers<void> | undefined
  let hasLeft = false
  const started = Promise.withResolvers<void>()

  const member = await options.client.join({
    group,
    topics,
    instance: options.instance,
    mode: subscribe.exclusive ? 'exclusive' : 'shared',
    sessionTimeoutMs: options.sessionTimeoutMs,
    rebalanceTimeoutMs: options.rebalanceTimeoutMs,
    heartbeatMs: options.heartbeatMs,
    async onRebalance() {
      if (hasLeft) return
      rebalance ??= Promise.withResolvers()
      fetcher.notify()
      await rebalance.promise
    },
    onAssigned(next) {
      const steps = next.generation - (share?.generation ?? Number.NEGATIVE_INFINITY)
      const isNext = steps === 0 || steps === 1 // Backwards: the group was forgotten and began anew.
      const names = new Set(isNext ? next.partitions.map(nameOf) : [])
      giveUp(one => !names.has(one.name))
      share = next
      settle()
    },
    onLost() {
      giveUp(() => true)
      share = undefined
      settle()
    }
  })

  function giveUp(isGone: (one: Owned) => boolean): void {
    for (const one of [...owned.values()].filter(isGone)) {
      owned.delete(one.name)
      leaving.push(one)
    }
  }

  /** The client knows where it stands: what waited for a rebalance waits no longer. */
  function settle(): void {
    rebalance?.resolve()
    rebalance = undefined
    joining?.resolve()
    joining = undefined
    fetcher.notify()
  }

  async function balance(onLeft: (name: string) => void): Promise<void> {
    if (rebalance !== undefined) {
      joining ??= Promise.withResolvers()
      rebalance.resolve()
      rebalance = undefined
    }
    if (leaving.length > 0) await revoke(onLeft)
    if (share === undefined || joining !== undefined) return
    const fresh = share.partitions.filter(at => !owned.has(nameOf(at)))
    if (fresh.length > 0) await assign(share, fresh)
    started.resolve()
  }

  async function revoke(onLeft: (name: string) => void): Promise<void> {
    const gone = leaving
    leaving = []
    for (const one of gone) {
      fetcher.stop(one)
      onLeft(one.name)
    }
    try {
      await subscribe.onRevoked?.(gone.map(partitionOf))
    } catch (cause) {
      leaving = [...gone, ...leaving] // Told again, when the trouble passes.
      throw cause
    }
  }

  async function assign(current: Share, fresh: readonly TopicPartition[]): Promise<void> {
    const positions = await startPositions(current, fresh)
    if (share !== current) return // The group went on meanwhile.
    started.resolve()
    const { generation } = current
    const taken = fresh.map(at => ({ ...partitionOf(at), name: nameOf(at), generation, position: positions.get(nameOf(at))! }))
    for (const one of taken) owned.set(one.name, one)
    try {
      const sought = await subscribe.onAssigned?.(taken.map(one => ({ ...partitionOf(one), generation })))
      for (const at of sought ?? []) {
        const one = taken.find(candidate => candidate.name === nameOf(at))
        if (one !== undefined) one.position = at.offset
      }
    } catch (cause) {
      // Not taken over: it is tried again, or belongs to another already.
      for (const one of taken) if (owned.get(one.name) === one) owned.delete(one.name)
      leaving = leaving.filter(one => !taken.includes(one))
      throw cause
    }
    for (const one of taken) if (owned.get(one.name) === one) fetcher.start(one)
    logger.debug({ group, generation, partitions: taken.map(one => `${one.name}@${one.position}`) }, 'partitions assigned')
  }

  /** Where the group is; what it never committed starts where it should, and that is committed: it must hold after a restart. */
  async function startPositions({ generation }: Share, fresh: readonly TopicPartition[]): Promise<Map<string, number>> {
    const positions = new Map((await member.committed(fresh)).map(at => [nameOf(at), at.offset]))
    const first: Position[] = []
    for (const [topic, list] of Map.groupBy(fresh, at => at.topic)) {
      const open = list.filter(at => !positions.has(nameOf(at)))
      if (open.length === 0) continue
      const bounds = await options.offsets(topic)
      for (const { partition } of open) {
        const { start, end } = boundsOf(bounds, topic, partition)
        first.push({ topic, partition, offset: from === 'earliest' ? start : end })
      }
    }
    if (first.length > 0) await member.commit(generation, first)
    for (const at of first) positions.set(nameOf(at), at.offset)
    return positions
  }

  async function commit(positions: readonly CommitPosition[]): Promise<boolean> {
    for (let tries = 0; tries < COMMIT_TRIES_MAX; tries++) {
      await joining?.promise
      if (!positions.every(at => owned.get(nameOf(at))?.generation === at.generation)) return false
      if (positions.length === 0) return true
      const current = share!
      const committed = positions.map(({ topic, partition, offset }) => ({ topic, partition, offset }))
      if (await member.commit(current.generation, committed)) return true
      if (share === current && joining === undefined) return false // Thrown out, and not told yet.
    }
    return false
  }

  return {
    started: started.promise,
    owned: () => (joining === undefined ? [...owned.values()] : []),
    owns: one => joining === undefined && owned.get(one.name) === one,
    balance,
    commit,
    async leave(how) {
      if (hasLeft) return
      hasLeft = true
      settle() // Who commits now is answered by the brokers.
      const gone = [...leaving, ...owned.values()]
      try {
        if (how === 'gracefully' && gone.length > 0) await subscribe.onRevoked?.(gone.map(partitionOf))
      } finally {
        owned.clear()
        for (const one of gone) fetcher.stop(one)
        started.resolve()
        await member.leave(how === 'at once' || options.leavesForGood())
      }
    }
  }
}

function boundsOf(bounds: readonly { start: number; end: number }[], topic: string, partition: number): { start: number; end: number } {
  const found = bounds[partition]
  if (found === undefined) throw new AppError('log_unavailable', `partition ${partition} of ${topic} is too new to be known everywhere`)
  return found
}

const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`
const partitionOf = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition })
