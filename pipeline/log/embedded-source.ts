// Records of the embedded log for one subscription: the index is asked directly, the change signal wakes who waits.

import type { SubscribeOptions } from '../../schemas/ports.ts'
import type { ChangeSignal } from './change-signal.ts'
import type { RecordSource } from './consumer.ts'
import type { LogReader } from './log-reader.ts'

export interface EmbeddedSourceOptions extends Pick<SubscribeOptions, 'group' | 'topics'> {
  reader: LogReader
  signal: ChangeSignal
  partitions(topic: string): number
}

export function embeddedSource({ reader, signal, group, topics, partitions }: EmbeddedSourceOptions): RecordSource {
  return {
    next({ topic, partition, position }, limits) {
      const records = reader.fetch(topic, partition, position, limits)
      return records.length === 0 ? undefined : { records, endOffset: reader.bounds(topic, partition).end }
    },
    version: () => signal.version(topics),
    wait: (seen, ms, ended) => signal.wait(topics, seen, ms, ended),
    async lag() {
      const committed = reader.committed(group)
      const lags = new Map<string, number>()
      for (const topic of topics) {
        let lag = 0
        for (let partition = 0; partition < partitions(topic); partition++) {
          const { start, end } = reader.bounds(topic, partition)
          lag += Math.max(0, end - (committed.get(`${topic}/${partition}`) ?? start))
        }
        lags.set(topic, lag)
      }
      return lags
    },
    async close() {}
  }
}
