// A member of a consumer group over @platformatic/kafka's protocol functions: Kafka's classic protocol, with static membership (KIP-345).
//
//   outside ──join, sync──► member ──rebalance: the owner finishes, heartbeats go on──► join again
//                              └────thrown out (onLost)──► outside        trouble on the way: try again after a pause, for ever
//
// Rejoining drops nothing: the partitions stay claimed, and the assignor keeps them where they are. Like Kafka's own client a
// member that cannot reach the brokers keeps its share until they tell it otherwise; what it would commit then is refused.
// After a crash the next process with the same instance name takes the share over without a rebalance, within the session. A member
// whose name another process has taken goes on without one: two that throw each other out would never get anything done.

import { encodeConsumerProtocolSubscription, heartbeatV4, joinGroupV9, leaveGroupV5, offsetCommitV8, offsetFetchV8, syncGroupV5 } from '@platformatic/kafka'
import type { Position, TopicPartition } from '../../../schemas/ports.ts'
import type { KafkaClientOptions } from './client-options.ts'
import { encodeClaims, PROTOCOL_NAMES } from './group-protocol.ts'
import type { GroupOptions, KafkaMember } from './kafka-client.ts'
import { committedPositions } from './platformatic-admin.ts'
import { type Coordinator, isPassing, openCoordinator } from './platformatic-coordinator.ts'
import { countPartitions, type PartitionCounts, readShare, sharesOf, topicsOf } from './platformatic-shares.ts'
import { errorIds, kafkaError, openWire, type Wire } from './platformatic-wire.ts'

const PROTOCOL_TYPE = 'consumer'
const SUBSCRIPTION_VERSION = 0
const JOIN_SLACK_MS = 10_000 // A join is answered when all members came, or their time is over.
const PAUSE_MIN_MS = 100
const PAUSE_MAX_MS = 1_000 // Brokers that are back find us back within a second.
const GROWTH_CHECK_BEATS = 5 // How late a group takes up partitions that a topic got: 12 s with the default session.
const TRIES_MAX = 4 // Of a commit: about a second of a coordinator that moves; the caller repeats it after that.

/** What ends a membership, in the brokers' words. */
const THROWN_OUT = ['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID']
const REFUSED = [...THROWN_OUT, 'REBALANCE_IN_PROGRESS']

interface Share {
  generation: number
  partitions: readonly TopicPartition[]
}
interface Joined {
  share: Share
  /** The leader looks whether topics grow; others have nothing to compare. */
  grownFrom: { topics: readonly string[]; counts: PartitionCounts | undefined } | undefined
}

/** Joins in the background and goes on trying whatever happens, until `leave`. */
export function joinPlatformaticGroup(options: KafkaClientOptions, group: GroupOptions): Promise<KafkaMember> {
  return Promise.resolve(new Member(options, group))
}

class Member implements KafkaMember {
  readonly #options: KafkaClientOptions
  readonly #group: GroupOptions
  readonly #calls: Wire
  readonly #joins: Wire // A join waits for the whole group: a request behind it on the same connection would, too.
  readonly #coordinator: Coordinator
  readonly #running: Promise<void>
  #memberId = ''
  #instance: string | null
  /** What it owns, or owned until the rebalance that runs; `undefined` when it has nothing to lose. */
  #share: Share | undefined
  #isLeaving = false
  #wake: () => void = () => {}

  constructor(options: KafkaClientOptions, group: GroupOptions) {
    this.#options = options
    this.#group = group
    this.#instance = group.instance
    this.#calls = openWire(options, group.sessionTimeoutMs)
    this.#joins = openWire(options, group.rebalanceTimeoutMs + JOIN_SLACK_MS)
    this.#coordinator = openCoordinator(group.group)
    this.#running = this.#run()
  }

  async commit(generation: number, positions: readonly Position[]): Promise<boolean> {
    if (this.#isLeaving || this.#share?.generation !== generation) return false
    const byTopic = Map.groupBy(positions, ({ topic }) => topic)
    const topics = [...byTopic].map(([name, list]) => ({
      name,
      partitions: list.map(({ partition, offset }) => ({ partitionIndex: partition, committedOffset: BigInt(offset), committedLeaderEpoch: -1 }))
    }))
    const { group } = this.#group
    try {
      await this.#patiently(() => this.#coordinator.ask(this.#calls, offsetCommitV8.api, group, generation, this.#memberId, this.#instance, topics))
      return true
    } catch (error) {
      const ids = errorIds(error)
      if (!REFUSED.some(id => ids.has(id))) throw kafkaError(error, `group ${group} cannot commit`)
      this.#wake() // The next heartbeat hears the same, and acts on it.
      return false
    }
  }

  async committed(partitions: readonly TopicPartition[]): Promise<readonly Position[]> {
    const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, list]) => ({ name, partitionIndexes: list.map(one => one.partition) }))
    if (topics.length === 0) return []
    const { group } = this.#group
    try {
      const asked = [{ groupId: group, memberEpoch: -1, topics }]
      return committedPositions(await this.#patiently(() => this.#coordinator.ask(this.#calls, offsetFetchV8.api, asked, false)))
    } catch (error) {
      throw kafkaError(error, `the offsets of group ${group} cannot be read`)
    }
  }

  async leave(forGood: boolean): Promise<void> {
    if (this.#isLeaving) return await this.#running
    this.#isLeaving = true
    this.#wake()
    await this.#joins.close() // Ends a join that waits for others.
    await this.#running
    const { group } = this.#group
    if (forGood || this.#instance === null) {
      const member = { memberId: this.#memberId, groupInstanceId: this.#instance, reason: 'closed' }
      await this.#coordinator.ask(this.#calls, leaveGroupV5.api, group, [member]).catch(error => {
        // The session's end removes it as well.
        this.#options.logger.debug({ group, reason: String(error) }, 'the group could not be left in order')
      })
    }
    await this.#calls.close()
  }

  async #run(): Promise<void> {
    const { logger, meter } = this.#options
    const { group } = this.#group
    let pauseMs = PAUSE_MIN_MS
    while (!this.#isLeaving) {
      try {
        const joined = await this.#join()
        if (this.#isLeaving) return
        pauseMs = PAUSE_MIN_MS
        this.#share = joined.share
        meter.count('homeostat.log.group_joins', 1, { group })
        logger.info({ group, generation: joined.share.generation, partitions: joined.share.partitions.length }, 'joined the group')
        this.#group.onAssigned(joined.share)
        await this.#stay(joined)
      } catch (error) {
        if (this.#isLeaving) return
        if (this.#heed(error)) continue
        // A fresh cluster is still loading its groups: worth a warning only when it lasts.
        logger[pauseMs < PAUSE_MAX_MS ? 'debug' : 'warn'](
          { group, reason: kafkaError(error, 'join').message },
          'the group cannot be joined now, it is tried again'
        )
        await this.#pause(pauseMs)
        pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * 2)
      }
    }
  }

  /** Draws the conclusions from a refused join. True when the next one may come at once. */
  #heed(error: unknown): boolean {
    const ids = errorIds(error)
    if (ids.has('MEMBER_ID_REQUIRED')) {
      this.#memberId = (error as { response?: { memberId?: string } }).response?.memberId ?? ''
      return true
    }
    const verdict = THROWN_OUT.find(id => ids.has(id))
    if (verdict === 'UNKNOWN_MEMBER_ID' || verdict === 'FENCED_INSTANCE_ID') {
      const wasKnown = this.#memberId !== '' || verdict === 'FENCED_INSTANCE_ID'
      this.#forget(verdict)
      return wasKnown
    }
    return ids.has('REBALANCE_IN_PROGRESS') || ids.has('ILLEGAL_GENERATION') // Between join and sync the group moved on.
  }

  async #join(): Promise<Joined> {
    const { group, topics, instance, mode, sessionTimeoutMs, rebalanceTimeoutMs } = this.#group
    const userData = encodeClaims({ instance, owned: this.#share?.partitions ?? [], generation: this.#share?.generation ?? -1 })
    const metadata = encodeConsumerProtocolSubscription({ version: SUBSCRIPTION_VERSION, topics: [...topics], userData })
    const joined = await this.#coordinator.ask(
      this.#joins,
      joinGroupV9.api,
      group,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      this.#memberId,
      this.#instance,
      PROTOCOL_TYPE,
      [{ name: PROTOCOL_NAMES[mode], metadata }],
      null
    )
    this.#memberId = joined.memberId
    const isLeader = joined.leader === joined.memberId
    const read = isLeader ? topicsOf(joined.members) : []
    const mustShare = isLeader && !joined.skipAssignment
    const shares = mustShare ? sharesOf(joined.members, await countPartitions(this.#joins, read), mode) : []
    const synced = await this.#coordinator.ask(
      this.#joins,
      syncGroupV5.api,
      group,
      joined.generationId,
      joined.memberId,
      this.#instance,
      PROTOCOL_TYPE,
      joined.protocolName,
      shares
    )
    const { partitions, counts } = readShare(synced.assignment)
    return { share: { generation: joined.generationId, partitions }, grownFrom: isLeader ? { topics: read, counts } : undefined }
  }

  /** Heartbeats until the group rebalances (the owner has finished then) or throws the member out. */
  async #stay({ grownFrom }: Joined): Promise<void> {
    const { heartbeatMs } = this.#group
    let beats = 0
    let counts = grownFrom?.counts
    let isDone = false
    while (!this.#isLeaving && !isDone) {
      await this.#pause(heartbeatMs)
      if (this.#isLeaving) return
      const beat = await this.#beat()
      if (beat === 'lost') return
      isDone = beat === 'rebalance'
      if (!isDone && grownFrom !== undefined && ++beats % GROWTH_CHECK_BEATS === 0) {
        const now = await countPartitions(this.#calls, grownFrom.topics).catch(() => counts)
        isDone = counts !== undefined && now !== undefined && grownFrom.topics.some(topic => now.get(topic) !== counts!.get(topic))
        counts = now
      }
    }
    if (!this.#isLeaving) await this.#finish()
  }

  /** Lets the owner finish what it has in hand, while heartbeats go on; not longer than the brokers wait for the member. */
  async #finish(): Promise<void> {
    const { group, rebalanceTimeoutMs, heartbeatMs } = this.#group
    let isFinished = false
    void this.#group
      .onRebalance()
      .catch(error => this.#options.logger.error({ group, reason: String(error) }, 'the owner could not finish before a rebalance'))
      .then(() => {
        isFinished = true
        this.#wake()
      })
    const endMs = performance.now() + rebalanceTimeoutMs
    while (!this.#isLeaving) {
      await this.#pause(heartbeatMs, () => isFinished)
      if (isFinished || this.#isLeaving) return
      if ((await this.#beat()) === 'lost') return
      if (performance.now() > endMs) return this.#lose('the owner did not finish in time')
    }
  }

  async #beat(): Promise<'member' | 'rebalance' | 'lost'> {
    try {
      await this.#coordinator.ask(this.#calls, heartbeatV4.api, this.#group.group, this.#share?.generation ?? -1, this.#memberId, this.#instance)
      return 'member'
    } catch (error) {
      const ids = errorIds(error)
      if (ids.has('REBALANCE_IN_PROGRESS')) return 'rebalance'
      const verdict = THROWN_OUT.find(id => ids.has(id))
      if (verdict === undefined) return 'member' // Nobody says otherwise.
      this.#forget(verdict)
      return 'lost'
    }
  }

  #forget(verdict: string): void {
    if (verdict !== 'ILLEGAL_GENERATION') this.#memberId = ''
    if (verdict === 'FENCED_INSTANCE_ID') this.#instance = null
    this.#lose(verdict)
  }

  #lose(reason: string): void {
    if (this.#share === undefined) return
    this.#share = undefined
    const { group, instance } = this.#group
    this.#options.meter.count('homeostat.log.group_losses', 1, { group })
    this.#options.logger.warn({ group, instance, reason }, 'thrown out of the group, what was owned may be another’s; it is joined again')
    this.#group.onLost()
  }

  /** Repeats what failed for want of a coordinator a few times. */
  async #patiently<R>(ask: () => Promise<R>): Promise<R> {
    for (let tried = 1; ; tried++) {
      try {
        return await ask()
      } catch (error) {
        if (tried === TRIES_MAX || this.#isLeaving || !isPassing(error)) throw error
        await new Promise(resolve => setTimeout(resolve, PAUSE_MIN_MS * 2 ** (tried - 1)))
      }
    }
  }

  /** The loop's own pause: ends early by `#wake`, and does not begin when `isOver`. */
  #pause(ms: number, isOver: () => boolean = () => false): Promise<void> {
    if (this.#isLeaving || isOver()) return Promise.resolve()
    return new Promise(resolve => {
      const end = (): void => {
        clearTimeout(timer)
        this.#wake = () => {}
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#wake = end
    })
  }
}
