// Reads a Kafka partition forward without a group: for rebuilding, checkpoints, consoles and commands.
//
// A fetch brings more than one `read` asks for; the rest is kept for the read that follows, so that walking through a topic asks the
// broker once every few thousand records.

import { AppError } from '../../../schemas/errors.ts'
import type { Clock, LogRecord, Position } from '../../../schemas/ports.ts'
import type { KafkaAdmin, KafkaClient, KafkaFetcher } from './kafka-client.ts'

const FETCH_BYTES = 4 * 2 ** 20
const AHEAD_MAX = 8 // Partitions whose rest is kept: 32 MiB at most.
const TRIES_MS = 5_000 // A leader that moves is found within this; then the caller decides.
const BACKOFF_MS = 100

interface Ahead {
  /** The position that the rest begins with, as a reader that walks on asks for it. */
  offset: number
  records: readonly LogRecord[]
}

export interface KafkaReader {
  /** At most `recordsMax` records; empty only at the end. @throws AppError `log_unavailable` */
  read(from: Position, recordsMax: number): Promise<readonly LogRecord[]>
  close(): Promise<void>
}

export function kafkaReader(client: KafkaClient, admin: KafkaAdmin, clock: Clock): KafkaReader {
  const ahead = new Map<string, Ahead>()
  const leaders = new Map<string, number>()
  const turns = new Map<number, Promise<unknown>>()
  let opened: Promise<KafkaFetcher> | undefined
  const open = (): Promise<KafkaFetcher> => (opened ??= client.openFetcher())

  async function read(from: Position, recordsMax: number): Promise<readonly LogRecord[]> {
    const name = nameOf(from)
    const kept = ahead.get(name)
    ahead.delete(name)
    const records = kept?.offset === from.offset ? kept.records : await fetchOn(from)
    const taken = records.slice(0, recordsMax)
    if (taken.length < records.length) keep(name, { offset: taken.at(-1)!.offset + 1, records: records.slice(recordsMax) })
    return taken
  }

  function keep(name: string, rest: Ahead): void {
    if (ahead.size >= AHEAD_MAX) ahead.delete(ahead.keys().next().value!)
    ahead.set(name, rest)
  }

  /** The next records, over holes and what retention removed; empty at the end. */
  async function fetchOn(from: Position): Promise<readonly LogRecord[]> {
    const endMs = clock.monotonicMs() + TRIES_MS
    for (let at = from; ; ) {
      const fetched = await fetchOnce(at)
      if (fetched === 'again') {
        if (clock.monotonicMs() > endMs) throw new AppError('log_unavailable', `${nameOf(from)} has no leader now`)
        leaders.delete(nameOf(from))
        await clock.sleep(BACKOFF_MS)
      } else if (fetched === 'out of range') {
        const { start } = (await admin.offsets(from.topic))[from.partition]!
        if (at.offset >= start) return []
        at = { ...from, offset: start }
      } else if (fetched.records.length > 0 || fetched.next === at.offset) return fetched.records
      else at = { ...from, offset: fetched.next }
    }
  }

  async function fetchOnce(at: Position): Promise<'again' | 'out of range' | { records: readonly LogRecord[]; next: number }> {
    const fetcher = await open()
    const broker = await leaderOf(fetcher, at)
    if (broker === undefined) return 'again'
    try {
      const [fetched] = await inTurn(broker, () => fetcher.fetch(broker, [{ ...at, bytesMax: FETCH_BYTES }], { waitMsMax: 0, bytesMax: FETCH_BYTES }))
      if (fetched === undefined || fetched.error === 'not_leader') return 'again'
      return fetched.error === 'out_of_range' ? 'out of range' : fetched
    } catch (error) {
      leaders.delete(nameOf(at))
      throw error
    }
  }

  async function leaderOf(fetcher: KafkaFetcher, { topic, partition }: Position): Promise<number | undefined> {
    const name = nameOf({ topic, partition })
    if (!leaders.has(name)) for (const broker of (await fetcher.leaders([{ topic, partition }])).keys()) leaders.set(name, broker)
    return leaders.get(name)
  }

  /** A fetcher serves one request a broker at a time. */
  function inTurn<T>(broker: number, work: () => Promise<T>): Promise<T> {
    const result = (turns.get(broker) ?? Promise.resolve()).then(work)
    turns.set(
      broker,
      result.catch(() => {})
    )
    return result
  }

  return {
    read,
    close: async () => (await opened)?.close()
  }
}

const nameOf = ({ topic, partition }: { topic: string; partition: number }): string => `${topic}/${partition}`
