// Reads a topic from its oldest record to its end, without a group: for state that is rebuilt from what was published.

import type { Log, LogRecord } from './ports.ts'

const RECORDS_PER_READ = 500 // One page of the log.

/** Every record of a topic from its oldest on, for rebuilding. Calls `take` in the order of each partition. */
export async function readWholeTopic(log: Log, topic: string, take: (record: LogRecord) => void): Promise<void> {
  for (const { partition, start, end } of await log.offsets(topic)) {
    for (let offset = start; offset < end; ) {
      const records = await log.read({ topic, partition, offset }, RECORDS_PER_READ)
      if (records.length === 0) break
      for (const record of records) if (record.value !== null) take(record)
      offset = records.at(-1)!.offset + 1
    }
  }
}
