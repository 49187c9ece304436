// The store role's journal: which offsets went into ClickHouse, kept in ClickHouse (homeostat_flushes).
//
//   begin(ranges) -> inserts of the flush, each under token <flush id>/<table> -> offsets committed in the log -> begin(next) …
//
// Why: after a crash the log delivers again what was inserted but not committed, in batches with other boundaries, so tokens made from
// batches would differ and rows would count twice. The journal fixes the boundaries *before* the first insert. Whoever takes a partition
// over finds the flush that may be half done (the last one of its writer without `done`), reads exactly its ranges from the log again,
// inserts under the same tokens (what is there is not inserted twice), marks it done, and goes on at `next` of each partition.
// Sequences grow over all writers (a new one starts above all it sees), so the order does not depend on clocks.

import { derivedId } from '../../schemas/ids.ts'
import type { Clock, Store, TopicPartition } from '../../schemas/ports.ts'
import { msText } from './rows/values.ts'

/** Offsets [first, next) of one partition; when the log took the last of them, to recognise a log that was made anew. */
export interface FlushRange extends TopicPartition {
  first: number
  next: number
  appendedAtMs: number
}
export interface Flush {
  id: string
  writer: string
  sequence: number
  ranges: readonly FlushRange[]
}
export interface FlushJournal {
  /** Writes down what the next inserts cover. Resolves once it is durable. */
  begin(ranges: readonly FlushRange[]): Promise<Flush>
  /** Marks a flush as complete. Also implied by the writer's next `begin`. */
  done(flush: Flush): Promise<void>
  /** Flushes of other writers that may be half done, and the last range of each partition. Later sequences of ours are above all of these. */
  recover(): Promise<{ open: Flush[]; positions: FlushRange[] }>
}

const TABLE = 'homeostat_flushes'

/** @param writer unique for each start of a worker: a process that comes back is another writer */
export function flushJournal({ store, clock, writer }: { store: Store; clock: Clock; writer: string }): FlushJournal {
  let sequence = 0
  const write = (flush: Flush, state: 'intent' | 'done'): Promise<void> => {
    const column = <K extends keyof FlushRange>(name: K): FlushRange[K][] => flush.ranges.map(range => range[name])
    const row = {
      Timestamp: msText(clock.nowMs()),
      Writer: flush.writer,
      Sequence: flush.sequence,
      FlushId: flush.id,
      State: state,
      'Ranges.Topic': column('topic'),
      'Ranges.Partition': column('partition'),
      'Ranges.First': column('first'),
      'Ranges.Next': column('next'),
      'Ranges.AppendedAt': column('appendedAtMs').map(msText)
    }
    return store.insert(TABLE, [row], { token: `${flush.id}/${state}` })
  }
  return {
    async begin(ranges) {
      sequence++
      const flush = { id: derivedId('flush', writer, sequence), writer, sequence, ranges }
      await write(flush, 'intent')
      return flush
    },
    done: flush => write(flush, 'done'),
    async recover() {
      const open = await openFlushes(store, writer)
      const positions = await lastRanges(store)
      const [newest] = await store.query<{ sequence: number }>(`SELECT max(Sequence) AS sequence FROM ${TABLE}`)
      sequence = Math.max(sequence, newest?.sequence ?? 0)
      return { open, positions }
    }
  }
}

const RANGE_MS = 'toUnixTimestamp64Milli(Ranges.AppendedAt)'

async function openFlushes(store: Store, writer: string): Promise<Flush[]> {
  const rows = await store.query<{ id: string; writer: string; sequence: number; topic: string; partition: number; first: number; next: number; ms: number }>(
    `SELECT FlushId AS id, Writer AS writer, Sequence AS sequence,
            Ranges.Topic AS topic, Ranges.Partition AS partition, Ranges.First AS first, Ranges.Next AS next, ${RANGE_MS} AS ms
     FROM (SELECT * FROM ${TABLE} WHERE State = 'intent' AND Writer != {writer:String} ORDER BY Sequence DESC LIMIT 1 BY Writer)
     ARRAY JOIN Ranges
     WHERE FlushId NOT IN (SELECT FlushId FROM ${TABLE} WHERE State = 'done')
     ORDER BY sequence`,
    { writer }
  )
  const flushes = new Map<string, Flush & { ranges: FlushRange[] }>()
  for (const row of rows) {
    const flush = flushes.get(row.id) ?? { id: row.id, writer: row.writer, sequence: row.sequence, ranges: [] }
    flush.ranges.push({ topic: row.topic, partition: row.partition, first: row.first, next: row.next, appendedAtMs: row.ms })
    flushes.set(row.id, flush)
  }
  return [...flushes.values()]
}

async function lastRanges(store: Store): Promise<FlushRange[]> {
  return store.query<FlushRange & Record<string, unknown>>(
    `SELECT Ranges.Topic AS topic, Ranges.Partition AS partition, argMax(Ranges.First, Sequence) AS first,
            argMax(Ranges.Next, Sequence) AS next, argMax(${RANGE_MS}, Sequence) AS appendedAtMs
     FROM ${TABLE} ARRAY JOIN Ranges GROUP BY topic, partition`
  )
}
