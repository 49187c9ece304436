// A member of a consumer group on kafkajs' protocol: Kafka's classic protocol with static membership (KIP-345).
//
//   outside -- join, sync --> member -- rebalance: the owner finishes, heartbeats go on --> join again
//                               └---- thrown out (onLost) --> outside         any trouble: again after a pause, until it leaves
//
// kafkajs' consumer stops for ever on some errors, tells nobody its generation and knows no static members; its requests do. What a
// member has stays claimed while the brokers are away: nobody else can get it then, and a commit that came too late is refused.
// Joining waits for the whole group, so it has a connection of its own. A member whose name another process has taken goes on
// without one: two that throw each other out would get nothing done.

import type { Position, TopicPartition } from '../../../schemas/ports.ts'
import { systemClock } from '../../system.ts'
import type { KafkaClientOptions } from './client-options.ts'
import { PROTOCOL_NAMES } from './group-protocol.ts'
import type { GroupOptions, KafkaMember } from './kafka-client.ts'
import { type KafkajsCluster, openCluster } from './kafkajs-cluster.ts'
import { CODE, errorName } from './kafkajs-internals.ts'
import { groupOffsets } from './kafkajs-offsets.ts'
import { countPartitions, type JoinedMember, type PartitionCounts, readShare, shareOut, subscriptionOf } from './kafkajs-shares.ts'

const PROTOCOL_TYPE = 'consumer'
const PAUSE_MS = 100
const PAUSE_MS_MAX = 1_000 // Brokers that are back find us back within a second.
const GROWTH_CHECK_MS = 5_000 // How late a group takes up partitions that a topic got. One small request of its leader.
const FOLLOWERS_LATER = 3 // The others look less often: a leader that came back does not know that it leads.
const CALL_MS = 1_000 // How long a commit looks for a coordinator that moves; who commits tries again after that.
const LEAVE_MS = 2_000 // The end of the session removes a member that could not say so.
const NOBODY = ''

interface Joined {
  generationId: number
  leaderId: string
  memberId: string
  members: readonly JoinedMember[]
}
interface Share {
  generation: number
  partitions: readonly TopicPartition[]
  /** What was shared out, as far as the leader told. */
  counts: PartitionCounts | undefined
  isLeader: boolean
}

/** Joins in the background, and goes on trying whatever happens, until `leave`. */
export function joinKafkajsGroup(options: KafkaClientOptions, group: GroupOptions): KafkaMember {
  return new Member(options, group)
}

class Member implements KafkaMember {
  readonly #options: KafkaClientOptions
  readonly #group: GroupOptions
  readonly #calls: KafkajsCluster
  readonly #joins: KafkajsCluster
  readonly #running: Promise<void>
  #coordinator: number | undefined
  #memberId = NOBODY
  #instance: string | null
  /** What it has, or had until the rebalance that runs; undefined when there is nothing to lose. */
  #share: Share | undefined
  #leaving = new AbortController()
  #wake = new AbortController()

  constructor(options: KafkaClientOptions, group: GroupOptions) {
    this.#options = options
    this.#group = group
    this.#instance = group.instance
    this.#calls = openCluster(options, { topics: group.topics, requestTimeoutMs: group.sessionTimeoutMs }) // A later answer is none.
    this.#joins = openCluster(options, { topics: group.topics })
    this.#running = this.#run()
  }

  async commit(generation: number, positions: readonly Position[]): Promise<boolean> {
    if (this.#leaving.signal.aborted || this.#share?.generation !== generation) return false
    const { group } = this.#group
    const topics = [...Map.groupBy(positions, one => one.topic)].map(([topic, list]) => ({
      topic,
      partitions: list.map(({ partition, offset }) => ({ partition, offset: String(offset) }))
    }))
    const args = { groupId: group, groupGenerationId: generation, memberId: this.#memberId, topics }
    return this.#calls.persist(
      `committing offsets of group ${group}`,
      async () => {
        const answer = await this.#ask<{ responses: readonly { partitions: readonly { errorCode: number }[] }[] }>(this.#calls, 'OffsetCommit', args)
        const code = answer.responses.flatMap(one => one.partitions).find(one => one.errorCode !== CODE.none)?.errorCode
        if (code === undefined) return true
        if (!isVerdict(code) && code !== CODE.rebalanceInProgress) throw this.#trouble('commit', code)
        this.#wake.abort() // The next heartbeat hears the same, and acts on it.
        return false
      },
      CALL_MS
    )
  }

  committed(partitions: readonly TopicPartition[]): Promise<readonly Position[]> {
    return groupOffsets(this.#calls, this.#group.group, partitions)
  }

  async leave(forGood: boolean): Promise<void> {
    if (this.#leaving.signal.aborted) return await this.#running
    this.#leaving.abort()
    this.#wake.abort()
    await this.#joins.close() // Ends a join that waits for others.
    await this.#running
    const { group } = this.#group
    if (this.#memberId !== NOBODY && (forGood || this.#instance === null)) {
      const args = { groupId: group, memberId: this.#memberId, groupInstanceId: this.#instance }
      await this.#calls
        .persist(`leaving group ${group}`, () => this.#ask(this.#calls, 'LeaveGroup', args), LEAVE_MS)
        .catch(error => this.#options.logger.debug({ group, error }, 'the group could not be left in order'))
    }
    await this.#calls.close()
  }

  async #run(): Promise<void> {
    const { logger, meter } = this.#options
    const { group } = this.#group
    for (let pauseMs = PAUSE_MS; !this.#leaving.signal.aborted; ) {
      try {
        const share = await this.#join()
        if (this.#leaving.signal.aborted) return
        if (share === undefined) continue
        pauseMs = PAUSE_MS
        this.#share = share
        meter.count('homeostat.log.group_joins', 1, { group })
        logger.info({ group, generation: share.generation, partitions: share.partitions.length }, 'joined the group')
        this.#group.onAssigned(share)
        await this.#stay(share)
      } catch (error) {
        // Whatever it was, also a bug: silence would be worse than another try.
        if (this.#leaving.signal.aborted) return
        meter.count('homeostat.log.group_troubles', 1, { group })
        // A fresh cluster is still loading its groups: worth a warning only when it lasts.
        logger[pauseMs < PAUSE_MS_MAX ? 'debug' : 'warn']({ group, error }, 'the group cannot be joined now, trying again')
        await systemClock.sleep(pauseMs, this.#leaving.signal)
        pauseMs = Math.min(PAUSE_MS_MAX, pauseMs * 2)
      }
    }
  }

  /** One try. Undefined: the group moved on, the next try may come at once. */
  async #join(): Promise<Share | undefined> {
    const { group, topics, instance, mode, sessionTimeoutMs, rebalanceTimeoutMs } = this.#group
    const metadata = subscriptionOf(topics, { instance, owned: this.#share?.partitions ?? [], generation: this.#share?.generation ?? -1 })
    const joined = await this.#ask<Joined & { errorCode: number }>(this.#joins, 'JoinGroup', {
      groupId: group,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: rebalanceTimeoutMs,
      memberId: this.#memberId,
      groupInstanceId: this.#instance,
      protocolType: PROTOCOL_TYPE,
      groupProtocols: [{ name: PROTOCOL_NAMES[mode], metadata }]
    })
    if (joined.errorCode === CODE.memberIdRequired) this.#memberId = joined.memberId
    if (joined.errorCode !== CODE.none) return this.#heed('join', joined.errorCode)
    this.#memberId = joined.memberId
    const isLeader = joined.leaderId === joined.memberId
    const synced = await this.#ask<{ errorCode: number; memberAssignment: Buffer }>(this.#joins, 'SyncGroup', {
      groupId: group,
      generationId: joined.generationId,
      memberId: joined.memberId,
      groupInstanceId: this.#instance,
      groupAssignment: isLeader ? await shareOut(this.#joins, joined.members, mode) : []
    })
    if (synced.errorCode !== CODE.none) return this.#heed('sync', synced.errorCode)
    const { partitions, counts } = readShare(synced.memberAssignment)
    return { generation: joined.generationId, partitions, counts, isLeader }
  }

  /** Heartbeats until the group rebalances (the owner has finished then) or throws the member out. */
  async #stay({ generation, counts, isLeader }: Share): Promise<void> {
    let checkedMs = systemClock.monotonicMs()
    while (!this.#leaving.signal.aborted) {
      await this.#pause(this.#group.heartbeatMs)
      if (this.#leaving.signal.aborted) return
      const beat = await this.#beat(generation)
      if (beat === 'lost') return
      if (beat === 'rebalance') return await this.#finish(generation)
      const checkMs = isLeader ? GROWTH_CHECK_MS : GROWTH_CHECK_MS * FOLLOWERS_LATER
      if (counts === undefined || systemClock.monotonicMs() - checkedMs < checkMs) continue
      checkedMs = systemClock.monotonicMs()
      if (await this.#haveTopicsGrown(counts)) return await this.#finish(generation)
    }
  }

  /** Lets the owner finish what it has in hand while heartbeats go on; no longer than the brokers wait for the member. */
  async #finish(generation: number): Promise<void> {
    const { rebalanceTimeoutMs, heartbeatMs, group } = this.#group
    const { logger } = this.#options
    const endMs = systemClock.monotonicMs() + rebalanceTimeoutMs
    let isFinished = false
    const finishing = this.#group.onRebalance().then(
      () => {
        isFinished = true
      },
      error => logger.error({ group, error }, 'the owner could not finish before a rebalance')
    )
    void finishing.then(() => this.#wake.abort())
    while (!this.#leaving.signal.aborted && !isFinished) {
      await this.#pause(heartbeatMs)
      if (isFinished || this.#leaving.signal.aborted) return
      if ((await this.#beat(generation)) === 'lost') return
      if (systemClock.monotonicMs() < endMs) continue
      logger.warn({ group }, 'the owner did not finish before the rebalance')
      return this.#lose()
    }
  }

  async #beat(generation: number): Promise<'member' | 'rebalance' | 'lost'> {
    const { group } = this.#group
    try {
      const args = { groupId: group, groupGenerationId: generation, memberId: this.#memberId, groupInstanceId: this.#instance }
      const { errorCode } = await this.#ask<{ errorCode: number }>(this.#calls, 'Heartbeat', args)
      if (errorCode === CODE.none) return 'member'
      if (errorCode === CODE.rebalanceInProgress) return 'rebalance'
      if (!isVerdict(errorCode)) throw this.#trouble('heartbeat', errorCode)
      this.#heed('heartbeat', errorCode)
      return 'lost'
    } catch (error) {
      this.#options.logger.debug({ group, error }, 'no answer to a heartbeat')
      return 'member'
    }
  }

  /** Draws the conclusions from a refusal. @throws Error for trouble that passes */
  #heed(what: string, code: number): undefined {
    if (code === CODE.memberIdRequired || code === CODE.rebalanceInProgress) return undefined
    if (!isVerdict(code)) throw this.#trouble(what, code)
    const { logger } = this.#options
    const { group } = this.#group
    if (code === CODE.fencedInstance) {
      logger.error({ group, instance: this.#instance }, 'another process has joined under the same name: give each its own kafka.instance or dataDir')
      this.#instance = null
    }
    if (code !== CODE.illegalGeneration) this.#memberId = NOBODY
    if (this.#share !== undefined) logger.warn({ group, verdict: errorName(code) }, 'thrown out of the group')
    this.#lose()
    return undefined
  }

  #lose(): void {
    if (this.#share === undefined) return
    this.#options.meter.count('homeostat.log.group_losses', 1, { group: this.#group.group })
    this.#share = undefined
    this.#group.onLost()
  }

  async #haveTopicsGrown(before: PartitionCounts): Promise<boolean> {
    try {
      const counts = await countPartitions(this.#calls, [...before.keys()])
      return [...before].some(([topic, count]) => counts.get(topic) !== count)
    } catch {
      return false // Asked again after the next interval.
    }
  }

  /** One request to the group's coordinator; it is looked for again after trouble. */
  async #ask<Answer>(cluster: KafkajsCluster, api: 'JoinGroup' | 'SyncGroup' | 'Heartbeat' | 'LeaveGroup' | 'OffsetCommit', args: object): Promise<Answer> {
    try {
      this.#coordinator ??= await cluster.coordinator(this.#group.group)
      return await cluster.request<Answer>(this.#coordinator, api, args)
    } catch (error) {
      this.#coordinator = undefined
      throw error
    }
  }

  #trouble(what: string, code: number): Error {
    this.#coordinator = undefined
    return new Error(`${what}: ${errorName(code)}`)
  }

  /** Ends early when something happened. */
  async #pause(ms: number): Promise<void> {
    await systemClock.sleep(ms, this.#wake.signal)
    if (!this.#leaving.signal.aborted) this.#wake = new AbortController()
  }
}

/** The coordinator's last word on a member: it is none any more. */
const isVerdict = (code: number): boolean => code === CODE.unknownMember || code === CODE.illegalGeneration || code === CODE.fencedInstance
