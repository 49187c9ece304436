// Checkpoints of shards: state and input position are one, saved together, and only then is the position committed.
//
// Flow: worker (timer, revoke, close) -> checkpoint -> CheckpointStore. One name per partition (`detect:<topic>:<partition>`).
// Promise: after a crash a shard continues from its last checkpoint; records after it are read again and give the same
// verdicts with the same ids. A save that fails keeps its parts for the next one. Invalid or foreign formats are not
// repaired: a metrics shard is rebuilt from the log, the open windows of spans and logs (seconds of counts) are given up.

import { AppError } from '../schemas/errors.ts'
import type { AssignedPartition, Checkpoint, CheckpointStore, Log, Logger, Position, TopicPartition } from '../schemas/ports.ts'
import { TOPICS } from '../schemas/topics.ts'
import { RECORD_VERSION } from './score/record.ts'
import { openShard, type Shard, type ShardOptions } from './shard.ts'

/** Version of everything but the series records, which carry their own. */
const STATE_VERSION = 1
const CHECKPOINT_VERSION = STATE_VERSION * 1_000 + RECORD_VERSION

/** A shard that is read now, with its place in the log. */
export interface LiveShard {
  shard: Shard
  /** Offset of the next record to take. */
  next: number
  /** Whether `next` is known: a partition without checkpoint starts where its group does. */
  isPositioned: boolean
  /** Of the assignment. */
  generation: number
  /** Our mark as owner of the checkpoint. */
  owner: string
  /** State differs from the last checkpoint. */
  isChanged: boolean
  /** Parts of a save that failed, kept for the next. */
  unsaved: Map<string, Uint8Array>
}

export function checkpointName({ topic, partition }: TopicPartition): string {
  return `detect:${topic}:${partition}`
}

/** Restores a partition's shard, which its caller has claimed as `owner`. `position` is where to read on; undefined: where the group stands. */
export async function restoreShard(
  at: AssignedPartition,
  owner: string,
  options: ShardOptions,
  { checkpoints, log, logger }: { checkpoints: CheckpointStore; log: Log; logger: Logger }
): Promise<{ live: LiveShard; position: Position | undefined }> {
  const saved = await checkpoints.load(checkpointName(at))
  if (saved === undefined) return { live: liveShard(openShard(at, options), at, owner), position: undefined }
  const budget = { ...options.budget }
  try {
    if (saved.version !== CHECKPOINT_VERSION) throw new AppError('checkpoint_invalid', `version ${saved.version}, this program writes ${CHECKPOINT_VERSION}`)
    const position = saved.positions.find(candidate => candidate.topic === at.topic && candidate.partition === at.partition)
    if (position === undefined) throw new AppError('checkpoint_invalid', 'no position of its own partition')
    const live = liveShard(openShard(at, options, saved.parts), at, owner)
    live.next = position.offset
    live.isPositioned = true
    return { live, position }
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'checkpoint_invalid')) throw error
    Object.assign(options.budget, budget)
    logger.warn({ topic: at.topic, partition: at.partition, error }, 'checkpoint cannot be used, state is rebuilt from the log')
    const start = (await log.offsets(at.topic)).find(bounds => bounds.partition === at.partition)?.start
    const position = at.topic === TOPICS.metrics.name && start !== undefined ? { ...at, offset: start } : undefined
    return { live: liveShard(openShard(at, options), at, owner), position }
  }
}

/** What a save will write: a copy taken in one go, so that state and position agree. undefined when nothing changed. */
export function snapshot(live: LiveShard): Checkpoint | undefined {
  if (!live.isPositioned || (!live.isChanged && live.unsaved.size === 0)) return undefined
  live.isChanged = false
  const parts = new Map([...live.unsaved, ...live.shard.takeDirty()])
  live.unsaved = parts
  return { version: CHECKPOINT_VERSION, positions: [{ topic: live.shard.topic, partition: live.shard.partition, offset: live.next }], parts }
}

/** Saves a snapshot. @throws what the store throws; the parts are then kept for the next save, which a `fenced` one will not see */
export async function saveSnapshot(live: LiveShard, checkpoint: Checkpoint, checkpoints: CheckpointStore): Promise<void> {
  await checkpoints.save(checkpointName(live.shard), checkpoint, live.owner)
  if (live.unsaved === checkpoint.parts) live.unsaved = new Map()
}

function liveShard(shard: Shard, { generation = 0 }: AssignedPartition, owner: string): LiveShard {
  return { shard, next: 0, isPositioned: false, generation, owner, isChanged: false, unsaved: new Map() }
}
