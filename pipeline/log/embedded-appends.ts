// Appends of the embedded log: groups share one write, one sync and one transaction of the writer.

import type { Clock } from '../../schemas/ports.ts'
import { type AppendQueue, appendQueue } from './append-queue.ts'
import type { WriterClient } from './writer-client.ts'
import type { AppendCall } from './writer-protocol.ts'

const FLUSH_BYTES = 512 * 2 ** 10 // From here on waiting for company saves nothing: the sync is a small part of the write.
const GROUP_BYTES_MAX = 8 * 2 ** 20 // Bounds how long one group occupies the writer: about 10 ms.
const GROUP_RECORDS_MAX = 5_000
const GROUPS_IN_FLIGHT_MAX = 3 // One is written, one synced, one packed: with two the disk waits a fifth of the time.
const QUEUE_BYTES_MAX = 512 * 2 ** 20 // Twice what intake admits by default: reached only when the disk hangs.

export interface EmbeddedAppendsOptions {
  writer: WriterClient
  clock: Clock
  groupCommitMs: number
  /** Called with the topics of a group after it became durable, before its appends resolve. */
  onCommitted(topics: readonly string[]): void
}

export function embeddedAppends({ writer, clock, groupCommitMs, onCommitted }: EmbeddedAppendsOptions): AppendQueue<AppendCall> {
  return appendQueue({
    async write(group) {
      const results = await writer.call('append', clock.nowMs(), group)
      onCommitted([...new Set(group.filter((_, index) => results[index]!.ok).map(({ topic }) => topic))])
      return results
    },
    sizeOf,
    openGroup() {
      let bytes = 0
      let records = 0
      return call => {
        bytes += sizeOf(call)
        records += call.keys.length
        return bytes <= GROUP_BYTES_MAX && records <= GROUP_RECORDS_MAX
      }
    },
    clock,
    groupCommitMs,
    limits: { flushBytes: FLUSH_BYTES, groupsInFlightMax: GROUPS_IN_FLIGHT_MAX, queueBytesMax: QUEUE_BYTES_MAX },
    waitsFor: "the log's disk"
  })
}

const sizeOf = ({ values }: AppendCall): number => values.reduce((sum, value) => sum + (value?.length ?? 0), 0)
