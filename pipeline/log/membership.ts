// A member's place in its consumer group on the embedded log: which partitions it owns, from where it reads them, and what it may commit.
//
// The leases live in the log's database (writer-groups.ts). `balance` runs between batches only, so partitions come and go at
// batch boundaries; renewing runs beside it. Ownership that was lost meanwhile is noticed by the renewal and by each commit.

import { AppError } from '../../schemas/errors.ts'
import type { Clock, Logger, SubscribeOptions, TopicPartition } from '../../schemas/ports.ts'
import type { ChangeSignal } from './change-signal.ts'
import type { Membership, Owned } from './consumer.ts'
import type { LogReader } from './log-reader.ts'
import type { WriterClient } from './writer-client.ts'

const LEASE_MS = 9_000 // A hung member is replaced after this; a dead process at once.
const RENEW_MS = LEASE_MS / 3 // Two renewals may be missed.
const BALANCE_MS = 4_000 // How late an expired member is noticed: replaced within 13 s at worst.
const LOOK_MS = 100 // The group's state is looked at (a read of microseconds) no more often.

export interface GroupParts {
  owner: string
  writer: WriterClient
  reader: LogReader
  signal: ChangeSignal
  clock: Clock
  logger: Logger
  partitions(topic: string): number
}

/** Joins the group. @throws AppError `log_unavailable` | `log_full` when the membership cannot be written */
export async function joinGroup(parts: GroupParts, options: SubscribeOptions): Promise<Membership> {
  const { owner, writer, reader, signal, clock, logger } = parts
  const { group, from, exclusive = false } = options
  const topics = options.topics.map(topic => ({ topic, partitionCount: parts.partitions(topic) }))
  const partitionTotal = topics.reduce((sum, topic) => sum + topic.partitionCount, 0)
  const owned = new Map<string, Owned>()
  const ended = new AbortController()
  let waiting: Awaited<ReturnType<typeof askBalance>> | undefined = await askBalance()
  let state = ''
  let lookedMs = Number.NEGATIVE_INFINITY
  let balancedMs = clock.monotonicMs()
  void renewLoop()

  function askBalance() {
    return writer.call('balance', { group, owner, topics, holds: [...owned.keys()], from, exclusive, nowMs: clock.nowMs(), leaseMs: LEASE_MS })
  }

  async function balance(onLeft: (name: string) => void): Promise<void> {
    const nowMs = clock.monotonicMs()
    if (waiting === undefined) {
      if (nowMs - lookedMs < LOOK_MS) return
      lookedMs = nowMs
      const isChanged = reader.groupState(group) !== state
      if (!isChanged && (owned.size === partitionTotal || nowMs - balancedMs < BALANCE_MS)) return // Who owns all has nothing to gain.
      waiting = await askBalance()
    }
    const { assigned, surplus } = waiting
    balancedMs = nowMs
    const leaving = surplus.map(({ topic, partition }) => owned.get(nameOf(topic, partition))).filter(one => one !== undefined)
    await revoke(leaving, onLeft)
    if (surplus.length > 0) {
      await writer.call('release', { group, owner, partitions: surplus })
      signal.announce(options.topics)
    }
    await assign(assigned.map(one => ({ ...one, name: nameOf(one.topic, one.partition), position: one.committed })))
    waiting = undefined
    state = reader.groupState(group)
  }

  async function assign(fresh: readonly Owned[]): Promise<void> {
    if (fresh.length === 0) return
    const sought = await options.onAssigned?.(fresh.map(one => ({ ...partitionOf(one), generation: one.generation })))
    for (const { topic, partition, offset } of sought ?? []) {
      const one = fresh.find(candidate => candidate.topic === topic && candidate.partition === partition)
      if (one !== undefined) one.position = offset
    }
    for (const one of fresh) {
      one.position = inRange(one)
      owned.set(one.name, one)
    }
    logger.debug({ group, partitions: fresh.map(one => `${one.name}@${one.position}`) }, 'partitions assigned')
  }

  /** A position behind the end comes from another log (the folder was replaced): the group starts anew. */
  function inRange({ topic, partition, position }: Owned): number {
    const { start, end } = reader.bounds(topic, partition)
    if (position <= end) return position
    logger.warn({ group, topic, partition, position, end }, 'position lies behind the end of the log, starting over')
    return from === 'earliest' ? start : end
  }

  async function revoke(leaving: readonly Owned[], onLeft: (name: string) => void): Promise<void> {
    if (leaving.length === 0) return
    for (const { name } of leaving) onLeft(name)
    await options.onRevoked?.(leaving.map(partitionOf))
    for (const { name } of leaving) owned.delete(name)
  }

  async function renewLoop(): Promise<void> {
    for (;;) {
      await clock.sleep(RENEW_MS, ended.signal)
      if (ended.signal.aborted) return
      try {
        const held = await writer.call('renew', { group, owner, nowMs: clock.nowMs(), leaseMs: LEASE_MS })
        dropLost(held)
      } catch (error) {
        logger.warn({ group, error }, 'leases could not be renewed, trying again')
      }
    }
  }

  function dropLost(held: readonly { topic: string; partition: number; generation: number }[]): void {
    if (waiting !== undefined) return // In the middle of taking or giving up: the next round sees the result.
    const names = new Set(held.map(one => `${nameOf(one.topic, one.partition)}:${one.generation}`))
    for (const one of [...owned.values()]) {
      if (names.has(`${one.name}:${one.generation}`)) continue
      owned.delete(one.name)
      logger.warn({ group, topic: one.topic, partition: one.partition, generation: one.generation }, 'partition lost to another member')
      void Promise.resolve(options.onRevoked?.([partitionOf(one)])).catch(error => logger.error({ group, error }, 'onRevoked failed'))
    }
  }

  return {
    owned: () => [...owned.values()],
    owns: one => owned.get(one.name) === one,
    balance,
    async commit(positions) {
      if (positions.length === 0) return true
      return writer.call('commit', {
        group,
        owner,
        positions: positions.map(({ topic, partition, generation, offset }) => ({ topic, partition, generation, offset }))
      })
    },
    async leave(how) {
      if (ended.signal.aborted) return
      ended.abort()
      try {
        if (how === 'gracefully') await revoke([...owned.values()], () => {})
      } finally {
        owned.clear()
        await writer.call('release', { group, owner }).catch(error => {
          // Another member waits for the lease to expire, or sees at once that this process is gone.
          if (!(error instanceof AppError)) throw error
          logger.warn({ group, error }, 'leases could not be released')
        })
        signal.announce(options.topics)
      }
    }
  }
}

const nameOf = (topic: string, partition: number): string => `${topic}/${partition}`
const partitionOf = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition })
