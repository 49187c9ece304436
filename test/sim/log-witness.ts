// Invariant 11, as far as a simulated log allows: whatever a process reads is what was appended at that offset, byte for byte, in
// order and without a gap. It stands between the log (which a planted bug may break) and the process.

import { crc32 } from 'node:zlib'
import type { Log, LogRecord, LogRecordInput, Position } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'

const RULE = '11 log'

export class LogWitness {
  /** `topic/partition` → checksum of each value, by offset. */
  readonly #written = new Map<string, number[]>()
  /** Group and place → offset up to which its members were given records, or sought. */
  readonly #reached = new Map<string, number>()
  readonly #fail: (invariant: string, detail: string) => void

  constructor(fail: (invariant: string, detail: string) => void) {
    this.#fail = fail
  }

  onAppend(record: LogRecordInput, { topic, partition, offset }: Position): void {
    const place = `${topic}/${partition}`
    const sums = this.#written.get(place) ?? []
    this.#written.set(place, sums)
    if (offset !== sums.length) this.#fail(RULE, `${place}: offset ${offset} was given after ${sums.length - 1}`)
    sums.push(sumOf(topic, record.value))
  }

  /** The log as a process has it, with every record looked at. */
  watch(log: Log): Log {
    return {
      ...log,
      read: async (from, recordsMax) => {
        const records = await log.read(from, recordsMax)
        this.#look(records, from.offset)
        return records
      },
      subscribe: options => {
        const { group, onBatch, onAssigned } = options
        return log.subscribe({
          ...options,
          onBatch: batch => {
            const place = `${group} ${batch.topic}/${batch.partition}`
            const first = batch.records[0]!.offset
            const reached = this.#reached.get(place) ?? 0
            if (first > reached) this.#fail(RULE, `${place}: given ${first}, and nothing from ${reached} on`)
            this.#look(batch.records, first)
            this.#reached.set(place, Math.max(reached, batch.records.at(-1)!.offset + 1))
            return onBatch(batch)
          },
          ...(onAssigned && {
            onAssigned: async partitions => {
              const sought = await onAssigned(partitions)
              for (const { topic, partition, offset } of sought) {
                const place = `${group} ${topic}/${partition}`
                this.#reached.set(place, Math.max(offset, this.#reached.get(place) ?? 0))
              }
              return sought
            }
          })
        })
      }
    }
  }

  #look(records: readonly LogRecord[], fromOffset: number): void {
    for (const [index, { topic, partition, offset, value }] of records.entries()) {
      const place = `${topic}/${partition}`
      if (offset !== fromOffset + index) this.#fail(RULE, `${place}: ${offset} was read where ${fromOffset + index} was next`)
      if (this.#written.get(place)?.[offset] !== sumOf(topic, value)) this.#fail(RULE, `${place}: other bytes at ${offset} than were appended`)
    }
  }
}

/** Checkpoints, the most of all bytes, are compared as a whole when they are restored (checkpoint-witness.ts). */
function sumOf(topic: string, value: Uint8Array | null): number {
  if (value === null) return -1
  return topic === TOPICS.checkpoints.name ? value.length : crc32(value)
}
