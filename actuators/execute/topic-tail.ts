// Follows a topic without a consumer group: from its start, and to its end again each time somebody asks.
//
// For what must be known right before an act, and as it is then: what people said, how incidents stand.

import type { Log, LogRecord } from '../../schemas/ports.ts'

const RECORDS_PER_READ = 500 // One page of the log.

/**
 * @param take is given each record once, in the order of its partition
 * @returns reads on to the end of the topic; one reader at a time, and whoever asks meanwhile is answered by a read that began after
 *   they asked. It throws AppError `log_unavailable` when the topic cannot be read
 */
export function topicTail(log: Log, topic: string, take: (record: LogRecord) => void): () => Promise<void> {
  const next = new Map<number, number>()
  let reading: Promise<void> = Promise.resolve()

  async function readOn(): Promise<void> {
    for (let partition = 0; partition < log.partitions(topic); partition++) {
      if (!next.has(partition)) {
        const bounds = (await log.offsets(topic)).find(offsets => offsets.partition === partition)
        next.set(partition, bounds?.start ?? 0)
      }
      for (;;) {
        const records = await log.read({ topic, partition, offset: next.get(partition)! }, RECORDS_PER_READ)
        if (records.length === 0) break
        for (const record of records) take(record)
        next.set(partition, records.at(-1)!.offset + 1)
      }
    }
  }

  return () => {
    reading = reading.catch(() => undefined).then(readOn)
    return reading
  }
}
