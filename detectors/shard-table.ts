// The shards that this worker owns: taken over with their checkpoints, saved, given up, lost.
//
// Flow: worker (assignment, revocation, timer) -> shard table -> CheckpointStore. Who owns a shard is decided by the order of
// the log: its checkpoint is claimed before it is loaded, so that a process which was stopped and replaced is refused when it
// saves; its shard is then dropped here and waits for the next assignment. That is no bug.

import { AppError } from '../schemas/errors.ts'
import type { AssignedPartition, CheckpointStore, Log, Logger, Meter, Position, TopicPartition } from '../schemas/ports.ts'
import { checkpointName, type LiveShard, restoreShard, saveSnapshot, snapshot } from './checkpoint.ts'
import type { Listening } from './listening.ts'
import type { Outbox } from './outbox.ts'
import { giveBack } from './score/budget.ts'
import type { ShardOptions } from './shard.ts'

/** Checkpoints loaded or saved at the same time: enough to hide a broker's round trips, few enough to bound the copies. */
const PARALLEL_MAX = 16

export interface ShardTable {
  readonly live: ReadonlyMap<string, LiveShard>
  /**
   * Claims and restores partitions; a partition that was here already is restored anew.
   * @returns where to read on, and what a later generation holds
   */
  adopt(partitions: readonly AssignedPartition[], options?: { force?: boolean }): Promise<{ positions: Position[]; refused: TopicPartition[] }>
  /** Saves what changed, as far as its outputs are durable; `isLast`: nothing is told afterwards. @returns what was saved; throws the first failure after trying all */
  save(names: Iterable<string>, options?: { isLast?: boolean }): Promise<(Position & { generation: number })[]>
  /** Forgets shards; their part of the series budget is free again. */
  release(names: Iterable<string>): void
  /** Drops the shards that another owner has claimed. */
  verify(): Promise<void>
}

export interface ShardTableOptions {
  shard: ShardOptions
  checkpoints: CheckpointStore
  outbox: Outbox
  listening: Listening
  log: Log
  logger: Logger
  meter: Meter
}

/** `topic/partition`. */
export const shardName = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`

export function shardTable({ shard: shardOptions, checkpoints, outbox, listening, log, logger, meter }: ShardTableOptions): ShardTable {
  const live = new Map<string, LiveShard>()

  const table: ShardTable = {
    live,
    async adopt(partitions, options = {}) {
      const claims = partitions.map(at => ({ name: checkpointName(at), generation: at.generation ?? 0 }))
      const { owner, refused } = await checkpoints.claim(claims, options)
      const ours = partitions.filter(at => !refused.includes(checkpointName(at)))
      table.release(ours.map(shardName))
      const positions: Position[] = []
      await inParallel(ours, async at => {
        const { live: restored, position } = await restoreShard(at, owner, shardOptions, { checkpoints, log, logger })
        live.set(shardName(at), restored)
        if (position) positions.push(position)
        const { listeningSinceMs, listenedThroughMs } = restored.shard.notes
        if (listeningSinceMs !== undefined && listenedThroughMs !== undefined) listening.markAll(listeningSinceMs, listenedThroughMs)
      })
      return { positions, refused: partitions.filter(at => !ours.includes(at)) }
    },
    async save(names, { isLast = false } = {}) {
      const saved: (Position & { generation: number })[] = []
      await inParallel([...names], async name => {
        const one = live.get(name)
        if (one !== undefined) saved.push(...(await saveOne(name, one, isLast)))
      })
      return saved
    },
    release(names) {
      for (const name of names) {
        const one = live.get(name)
        if (one?.shard.scorer) giveBack(shardOptions.budget, one.shard.scorer)
        live.delete(name)
      }
    },
    async verify() {
      await inParallel([...live], async ([name, one]) => {
        if (!(await checkpoints.owns(checkpointName(one.shard), one.owner))) lose(name, one)
      })
    }
  }

  async function saveOne(name: string, one: LiveShard, isLast: boolean): Promise<(Position & { generation: number })[]> {
    if (!(await outbox.flush()) || outbox.length > 0) return []
    if (isLast) {
      one.shard.notes.isLeft = true
      one.isChanged = true
    }
    // From here to the snapshot nothing is awaited: state, position and an empty outbox belong together.
    const taken = snapshot(one)
    if (taken === undefined) return []
    const { generation } = one
    try {
      await saveSnapshot(one, taken, checkpoints)
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'fenced')) throw error
      lose(name, one)
      return []
    }
    return taken.positions.map(position => ({ ...position, generation }))
  }

  function lose(name: string, one: LiveShard): void {
    if (live.get(name) !== one) return
    table.release([name])
    outbox.drop(name)
    meter.count('homeostat.detect.fenced')
    logger.warn({ topic: one.shard.topic, partition: one.shard.partition, generation: one.generation }, 'a partition was taken over by another detector')
  }

  return table
}

/** Runs all, some at a time. @throws the first failure, once all have ended */
async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values()
  const failures: unknown[] = []
  const lane = async (): Promise<void> => {
    for (const item of rest) await run(item).catch(error => failures.push(error))
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL_MAX, items.length) }, lane))
  if (failures.length > 0) throw failures[0]
}
