// Records of a group's member: one fetch loop a broker fills a buffer a partition, the delivery loop takes batches from them.
//
//   leaders? ─► [broker 1: long poll for its partitions with room] ─► buffers ─► next()
//
// Buffers are bounded, each and together: a partition with a full one is not asked, so a slow handler holds up the brokers' reading
// and nothing else. Nothing here is durable: after a crash reading begins at the committed offset.

import { AppError } from '../../../schemas/errors.ts'
import type { Clock, Logger, LogRecord, Meter, SubscribeOptions, TopicPartition } from '../../../schemas/ports.ts'
import type { BatchLimits, Owned, RecordSource } from '../consumer.ts'
import type { Fetched, FetchRequest, KafkaFetcher } from './kafka-client.ts'

const LONG_POLL_MS = 250 // How late a partition that just came, or got room, is asked for; four empty answers a second cost nothing.
const SHORT_POLL_MS = 10 // While partitions with full buffers are left out: their turn must come soon.
const BUFFER_BYTES = 4 * 2 ** 20 // Of one partition; below it another fetch is due. At 100 MB/s it lasts 40 ms.
const BUFFERS_BYTES = 48 * 2 ** 20 // Of all together: 200 partitions would otherwise hold 800 MB.
const PARTITION_BYTES = 2 ** 20 // Asked of one partition at a time: compressed telemetry grows thirteen times when it is read.
const TRICKLE_BYTES = 64 * 2 ** 10 // For a partition that has nothing while the others hold all the room.
const FETCH_BYTES = 8 * 2 ** 20 // One answer.
const RECORD_OVERHEAD_BYTES = 200 // Of a record as an object.
const BACKOFF_MS = 200 // A broker that does not answer, or a partition without a leader, is asked again after this.

export interface GroupFetcher extends RecordSource {
  /** Begins reading at the partition's position. */
  start(owned: Owned): void
  stop(owned: Owned): void
  /** Wakes the delivery loop: the group has news. */
  notify(): void
}

export interface GroupFetcherOptions extends Pick<SubscribeOptions, 'group' | 'from'> {
  fetcher: KafkaFetcher
  offsets(topic: string): Promise<readonly { partition: number; start: number; end: number }[]>
  lag(): Promise<ReadonlyMap<string, number>>
  clock: Clock
  logger: Logger
  meter: Meter
}

interface Buffered {
  owned: Owned
  records: LogRecord[]
  /** Index of the first record not taken. */
  head: number
  bytes: number
  /** Position of the next fetch. */
  next: number
  end: number
}

export function groupFetcher(options: GroupFetcherOptions): GroupFetcher {
  const { fetcher, clock, logger, meter, group } = options
  const buffers = new Map<string, Buffered>()
  const leaders = new Map<string, number>()
  const loops = new Set<number>()
  const running: Promise<void>[] = []
  const arrivals = bell()
  const demand = bell()
  const closing = new AbortController()
  let totalBytes = 0
  let isAsking = false

  /** Finds leaders until every partition has one. */
  async function askLeaders(): Promise<void> {
    if (isAsking) return
    isAsking = true
    for (;;) {
      const open = [...buffers.values()].filter(({ owned }) => !leaders.has(owned.name)).map(({ owned }) => owned)
      if (open.length === 0 || closing.signal.aborted) break
      try {
        for (const [broker, partitions] of await fetcher.leaders(open.map(partitionOf))) {
          for (const { topic, partition } of partitions) leaders.set(`${topic}/${partition}`, broker)
          if (!loops.has(broker)) running.push(pollLoop(broker))
        }
        demand.ring()
      } catch (error) {
        trouble(error, 'leaders cannot be found, trying again')
      }
      if (open.some(one => !leaders.has(one.name))) await clock.sleep(BACKOFF_MS, closing.signal)
    }
    isAsking = false
  }

  async function pollLoop(broker: number): Promise<void> {
    loops.add(broker)
    while (!closing.signal.aborted) {
      const seen = demand.count()
      const led = [...buffers.values()].filter(({ owned }) => leaders.get(owned.name) === broker)
      const asked = led.filter(hasRoom)
      if (asked.length === 0) await demand.wait(seen, closing.signal)
      else await poll(broker, asked, asked.length < led.length ? SHORT_POLL_MS : LONG_POLL_MS)
    }
  }

  const hasRoom = ({ bytes }: Buffered): boolean => bytes === 0 || (bytes < BUFFER_BYTES && totalBytes < BUFFERS_BYTES)

  async function poll(broker: number, asked: readonly Buffered[], waitMsMax: number): Promise<void> {
    const room = totalBytes < BUFFERS_BYTES ? PARTITION_BYTES : TRICKLE_BYTES
    const requests: FetchRequest[] = asked.map(({ owned, next }) => ({ ...partitionOf(owned), offset: next, bytesMax: room }))
    try {
      const fetched = await fetcher.fetch(broker, requests, { waitMsMax, bytesMax: FETCH_BYTES })
      for (const one of fetched) {
        const buffer = asked.find(({ owned }) => owned.topic === one.topic && owned.partition === one.partition)!
        if (buffers.get(buffer.owned.name) === buffer) await take(buffer, one)
      }
    } catch (error) {
      if (closing.signal.aborted) return
      trouble(error, 'records cannot be fetched, trying again')
      for (const { owned } of asked) leaders.delete(owned.name)
      await clock.sleep(BACKOFF_MS, closing.signal)
    }
    if (asked.some(({ owned }) => !leaders.has(owned.name))) void askLeaders()
  }

  async function take(buffer: Buffered, { error, records, next, end }: Fetched): Promise<void> {
    if (error === 'not_leader') leaders.delete(buffer.owned.name)
    else if (error === 'out_of_range') await reposition(buffer)
    else {
      buffer.next = next
      buffer.end = end
      if (records.length === 0) return
      for (const record of records) buffer.records.push(record)
      grow(buffer, sizeOf(records))
      arrivals.ring()
    }
  }

  /** Retention removed the position, or it comes from another log (the topic was made anew). */
  async function reposition(buffer: Buffered): Promise<void> {
    const { topic, partition } = buffer.owned
    const { start, end } = (await options.offsets(topic))[partition]!
    if (buffer.next >= start && buffer.next <= end) return // It is in range again.
    if (buffer.next < start) {
      meter.count('homeostat.log.removed_unread_records', start - buffer.next, { topic })
      logger.warn({ group, topic, partition, records: start - buffer.next }, 'retention removed records that the group had not read')
      buffer.next = start
    } else {
      logger.warn({ group, topic, partition, position: buffer.next, end }, 'position lies behind the end of the log, starting over')
      buffer.next = options.from === 'earliest' ? start : end
    }
  }

  function trouble(error: unknown, message: string): void {
    if (closing.signal.aborted) return
    meter.count('homeostat.log.fetch_troubles', 1, { group })
    const level = error instanceof AppError ? 'debug' : 'error' // Brokers that are away: the members and the lag tell.
    logger[level]({ group, error }, message)
  }

  function grow(buffer: Buffered, bytes: number): void {
    buffer.bytes += bytes
    totalBytes += bytes
  }

  return {
    start(owned) {
      buffers.set(owned.name, { owned, records: [], head: 0, bytes: 0, next: owned.position, end: owned.position })
      if (leaders.has(owned.name)) demand.ring()
      else void askLeaders()
    },
    stop(owned) {
      const buffer = buffers.get(owned.name)
      if (buffer?.owned !== owned) return
      buffers.delete(owned.name)
      totalBytes -= buffer.bytes
      demand.ring()
    },
    notify: () => arrivals.ring(),
    next(owned, limits) {
      const buffer = buffers.get(owned.name)
      if (buffer?.owned !== owned || buffer.head === buffer.records.length) return undefined
      const wasFull = buffer.bytes >= BUFFER_BYTES || totalBytes >= BUFFERS_BYTES
      const records = cut(buffer, limits)
      grow(buffer, -sizeOf(records))
      if (wasFull || buffer.bytes === 0) demand.ring()
      return { records, endOffset: Math.max(buffer.end, records.at(-1)!.offset + 1) }
    },
    version: arrivals.count,
    async wait(seen, ms, signal) {
      if (ms <= 0 || signal.aborted) return
      const over = new AbortController()
      await Promise.race([arrivals.wait(seen, AbortSignal.any([signal, over.signal])), clock.sleep(ms, AbortSignal.any([signal, over.signal]))])
      over.abort()
    },
    lag: options.lag,
    async close() {
      closing.abort()
      await fetcher.close()
      await Promise.all(running)
    }
  }
}

/** Takes the next batch out of the buffer: at least one record, then as many as the limits allow. */
function cut(buffer: Buffered, { recordsMax, bytesMax }: BatchLimits): LogRecord[] {
  const { records, head } = buffer
  let bytes = records[head]!.value?.length ?? 0
  let to = head + 1
  for (; to < records.length && to - head < recordsMax; to++) {
    bytes += records[to]!.value?.length ?? 0
    if (bytes > bytesMax) break
  }
  const batch = records.slice(head, to)
  buffer.head = to
  if (to === records.length || to > COMPACT_RECORDS) {
    buffer.records = records.slice(to) // What was taken must not be held.
    buffer.head = 0
  }
  return batch
}
const COMPACT_RECORDS = 4_096 // Moving the rest costs more than it frees below this.

function sizeOf(records: readonly LogRecord[]): number {
  let bytes = 0
  for (const { key, value } of records) bytes += RECORD_OVERHEAD_BYTES + (key?.length ?? 0) + (value?.length ?? 0)
  return bytes
}

/** Something to wait for that happens again and again. */
function bell(): { ring(): void; count(): number; wait(seen: number, signal: AbortSignal): Promise<void> } {
  let rings = 0
  const waiting = new Set<() => void>()
  return {
    count: () => rings,
    ring() {
      rings++
      for (const wake of [...waiting]) wake()
    },
    async wait(seen, signal) {
      if (rings !== seen || signal.aborted) return
      await new Promise<void>(resolve => {
        const wake = (): void => {
          waiting.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        waiting.add(wake)
        signal.addEventListener('abort', wake, { once: true })
      })
    }
  }
}

const partitionOf = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition })
