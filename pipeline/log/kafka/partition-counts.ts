// How many partitions each topic has, kept at hand: appends place records by it, and it must not be asked for every time.
//
// Asked at the start, once a minute, and when a topic is not known. Topics only grow. A topic that was grown takes keys on other
// partitions than before: what was there stays where it is.

import { AppError } from '../../../schemas/errors.ts'
import type { Clock, Logger } from '../../../schemas/ports.ts'
import type { KafkaAdmin } from './kafka-client.ts'

const REFRESH_MS = 60_000

export interface PartitionCounts {
  /** As last heard. @throws AppError `unknown_topic` */
  now(topic: string): number
  /** Asks when the topic is not known. @throws AppError `unknown_topic`, `log_unavailable` */
  of(topic: string): Promise<number>
  topics(): readonly string[]
}

/** Asks for `topics` now, which may be missing. @throws AppError `log_unavailable` */
export async function openPartitionCounts(
  topics: readonly string[],
  { admin, clock, logger, closing }: { admin: KafkaAdmin; clock: Clock; logger: Logger; closing: AbortSignal }
): Promise<PartitionCounts> {
  const counts = new Map<string, number>()

  async function ask(wanted: readonly string[]): Promise<void> {
    for (const [topic, count] of await admin.partitionCounts(wanted)) counts.set(topic, count)
  }

  async function refreshLoop(): Promise<void> {
    for (;;) {
      await clock.sleep(REFRESH_MS, closing)
      if (closing.aborted) return
      await ask([...new Set([...topics, ...counts.keys()])]).catch(error => logger.debug({ error }, 'partitions cannot be counted now'))
    }
  }

  function now(topic: string): number {
    const count = counts.get(topic)
    if (count === undefined) throw new AppError('unknown_topic', `the cluster has no topic ${topic}: run homeostat topics apply`)
    return count
  }

  await ask(topics)
  void refreshLoop()
  return {
    now,
    async of(topic) {
      if (!counts.has(topic)) await ask([topic])
      return now(topic)
    },
    topics: () => [...counts.keys()]
  }
}
