// What an append must satisfy before any log takes it.

import { AppError, assert } from '../../schemas/errors.ts'
import { keyPartition } from '../../schemas/partition.ts'
import type { LogRecordInput } from '../../schemas/ports.ts'
import { type TopicSpec, topicSpec } from '../../schemas/topics.ts'

/** What a value may hold, on every log. */
export const RECORD_BYTES_MAX = 64 * 2 ** 20 // As large as a request body may be by default: intake never has to cut below a slice.

/** @throws AppError `unknown_topic` */
export function specOf(topic: string): TopicSpec {
  const spec = topicSpec(topic)
  if (spec === undefined) throw new AppError('unknown_topic', `topic ${topic} is not in schemas/topics.ts`)
  return spec
}

/** Partition of each record. @throws AppError `record_too_large`; `bug` for records that the topic cannot have */
export function placeRecords(spec: TopicSpec, records: readonly LogRecordInput[], partitionCount: number): number[] {
  for (const record of records) checkRecord(spec, record, partitionCount)
  return records.map(({ key, partition }) => partition ?? keyPartition(key!, partitionCount))
}

function checkRecord(spec: TopicSpec, { key, value, partition }: LogRecordInput, partitionCount: number): void {
  if ((value?.length ?? 0) > RECORD_BYTES_MAX) {
    throw new AppError('record_too_large', `a record of ${value?.length} bytes for ${spec.name}, the log takes ${RECORD_BYTES_MAX}: send smaller batches`)
  }
  assert(key !== null || partition !== undefined, `a record for ${spec.name} has neither key nor partition`)
  assert(key !== null || spec.cleanup === 'delete', `${spec.name} is compacted: its records need keys`)
  assert(partition === undefined || (partition >= 0 && partition < partitionCount), `partition ${partition} of ${spec.name}, which has ${partitionCount}`)
}
