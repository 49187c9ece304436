// Reads a topic from its oldest record to its end, without a group: for state that is rebuilt from what was published.

import type { Log, LogRecord, Position } from './ports.ts'

const RECORDS_PER_READ = 500 // One page of the log.

/**
 * Every record of a topic from its oldest on, for rebuilding. Calls `take` in the order of each partition.
 * @param upTo ends of partitions, as an earlier call gave them: what came after them is left out
 * @returns where it ended, per partition: everything before that was taken, and nothing from there on
 */
export async function readWholeTopic(log: Log, topic: string, take: (record: LogRecord) => void, upTo: readonly Position[] = []): Promise<Position[]> {
  const ends: Position[] = []
  for (const { partition, start, end: newest } of await log.offsets(topic)) {
    const end = upTo.find(position => position.partition === partition)?.offset ?? newest
    ends.push({ topic, partition, offset: end })
    for (let offset = start; offset < end; ) {
      const records = await log.read({ topic, partition, offset }, RECORDS_PER_READ)
      if (records.length === 0) break
      for (const record of records) if (record.value !== null && record.offset < end) take(record)
      offset = records.at(-1)!.offset + 1
    }
  }
  return ends
}
