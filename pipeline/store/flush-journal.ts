// The store role's journal: which offsets went into ClickHouse, kept in ClickHouse (homeostat_flushes).
//
//   intent -> the log confirms that the partitions are still ours -> inserts, each under token <flush id>/<table> -> offsets committed
//          -> or they are not: void, nothing was inserted
//
// Why: after a crash the log delivers again what was inserted but not committed, in batches with other boundaries, so tokens made from
// batches would differ and rows would count twice. The journal fixes the boundaries *before* the first insert; a flush's id, and with it
// its tokens, is a function of topic, partition and offsets alone. Whoever takes a partition over finds the flush that may be half done
// (the last one of its writer), adopts it, reads exactly its ranges from the log again, inserts under the same tokens (what is there is not
// inserted twice), marks it done, and goes on at `next` of each partition.
// A writer that was frozen while its partitions moved writes its intent too late for the new owner to see: the log refuses the confirmation,
// and it voids. `adopted` outweighs `void`. If it died before it could void, its intent is a ghost: another writer's flush covers the same
// offsets with a higher sequence. Sequences grow over all writers (a new owner starts above all it sees), so no order depends on clocks.

import { AppError } from '../../schemas/errors.ts'
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
/** intent: what the next inserts cover. done: complete, also implied by the writer's next intent. void: not begun. adopted: another writer redoes it. */
export type FlushState = 'intent' | 'void' | 'adopted' | 'done'

/** Where the journal says a partition goes on. */
export type JournalPosition = FlushRange & { writer: string; sequence: number }

export interface FlushJournal {
  /** The next flush, with its id; nothing is written yet. */
  next(ranges: readonly FlushRange[]): Flush
  /** Resolves once it is durable. The same twice is written once. */
  record(flush: Flush, state: FlushState): Promise<void>
  /** True when somebody has completed the flush. */
  isDone(flush: Flush): Promise<boolean>
  /**
   * Flushes of other writers with one of these partitions that may be half done, and the last range of each partition that the journal knows.
   * Later sequences of ours are above all of these. `empty`: the journal knows nothing at all.
   */
  recover(partitions: readonly TopicPartition[]): Promise<{ open: Flush[]; positions: JournalPosition[]; empty: boolean }>
}

/** The store, and on a cluster the way to wait until this replica has what the others acknowledged. */
export type JournalStore = Store & { synchronize?(table: string): Promise<void> }

const TABLE = 'homeostat_flushes'
const RACES_MAX = 100 // Each is a frozen writer that woke up between two statements; there are not as many writers.

/** @param writer unique for each start of a worker: a process that comes back is another writer */
export function flushJournal({ store, clock, writer }: { store: JournalStore; clock: Clock; writer: string }): FlushJournal {
  let sequence = 0
  return {
    next(ranges) {
      sequence++
      const covered = ranges.map(range => [range.topic, range.partition, range.first, range.next, range.appendedAtMs].join(' ')).sort()
      return { id: derivedId('flush', ...covered), writer, sequence, ranges }
    },
    async record(flush, state) {
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
      await store.insert(TABLE, [row], { token: `${flush.writer}/${flush.sequence}/${state}` })
    },
    async isDone(flush) {
      const rows = await store.query(`SELECT 1 AS found FROM ${TABLE} WHERE FlushId = {id:String} AND State = 'done' LIMIT 1`, { id: flush.id })
      return rows.length > 0
    },
    async recover(partitions) {
      await store.synchronize?.(TABLE)
      const names = new Set(partitions.map(nameOf))
      const { last, positions } = await snapshot(store, writer)
      const candidates = last.filter(flush => flush.open && flush.ranges.some(range => names.has(nameOf(range))))
      const open = await withoutGhosts(store, candidates)
      const [newest] = await store.query<{ sequence: number }>(`SELECT max(Sequence) AS sequence FROM ${TABLE}`)
      // One above the next number of whoever is frozen just now.
      sequence = Math.max(sequence, (newest?.sequence ?? 0) + 1)
      return { open, positions: advanced(positions, open), empty: positions.length === 0 && last.length === 0 }
    }
  }
}

type LastFlush = Flush & { open: boolean }

/**
 * The last flush of each other writer, and the last range of each partition, that fit each other: no position rests on a flush that was
 * voided in between. A writer voids before it writes its next intent, so a flush that is not its writer's last one and not void is complete.
 */
async function snapshot(store: Store, writer: string): Promise<{ last: LastFlush[]; positions: JournalPosition[] }> {
  for (let race = 0; ; race++) {
    const positions = await lastRanges(store)
    const last = await lastFlushes(store, writer)
    const voided = await store.query<{ writer: string; sequence: number }>(
      `SELECT DISTINCT Writer AS writer, Sequence AS sequence FROM ${TABLE} WHERE State = 'void' AND NOT ${STATE('adopted')}`
    )
    const keys = new Set(voided.map(keyOf))
    if (!positions.some(position => keys.has(keyOf(position)))) return { last, positions }
    if (race === RACES_MAX) throw new AppError('store_unavailable', 'the journal changes faster than it can be read')
  }
}

const RANGE_MS = 'toUnixTimestamp64Milli(Ranges.AppendedAt)'
const STATE = (state: FlushState): string => `(Writer, Sequence) IN (SELECT Writer, Sequence FROM ${TABLE} WHERE State = '${state}')`

async function lastFlushes(store: Store, writer: string): Promise<LastFlush[]> {
  const rows = await store.query<RangeRow & { id: string; adopted: number; voided: number; done: number }>(
    `SELECT FlushId AS id, Writer AS writer, Sequence AS sequence, ${STATE('adopted')} AS adopted, ${STATE('void')} AS voided,
            FlushId IN (SELECT FlushId FROM ${TABLE} WHERE State = 'done') AS done,
            Ranges.Topic AS topic, Ranges.Partition AS partition, Ranges.First AS first, Ranges.Next AS next, ${RANGE_MS} AS appendedAtMs
     FROM (SELECT * FROM ${TABLE} WHERE State = 'intent' AND Writer != {writer:String} ORDER BY Sequence DESC LIMIT 1 BY Writer)
     ARRAY JOIN Ranges ORDER BY sequence`,
    { writer }
  )
  const flushes = new Map<string, LastFlush & { ranges: FlushRange[] }>()
  for (const { id, adopted, voided, done, writer: by, sequence, ...range } of rows) {
    const flush = flushes.get(by) ?? { id, writer: by, sequence, ranges: [], open: !done && (!voided || Boolean(adopted)) }
    flush.ranges.push(range)
    flushes.set(by, flush)
  }
  return [...flushes.values()]
}

type RangeRow = FlushRange & { writer: string; sequence: number }

async function lastRanges(store: Store): Promise<JournalPosition[]> {
  return store.query<JournalPosition & Record<string, unknown>>(
    `SELECT Ranges.Topic AS topic, Ranges.Partition AS partition, argMax(Writer, Sequence) AS writer, max(Sequence) AS sequence,
            argMax(Ranges.First, Sequence) AS first, argMax(Ranges.Next, Sequence) AS next, argMax(${RANGE_MS}, Sequence) AS appendedAtMs
     FROM ${TABLE} ARRAY JOIN Ranges
     WHERE State = 'intent' AND NOT (${STATE('void')} AND NOT ${STATE('adopted')})
     GROUP BY topic, partition`
  )
}

/** Leaves out intents that were written too late: another writer, with a higher sequence, covers some of their offsets. */
async function withoutGhosts(store: Store, candidates: readonly Flush[]): Promise<Flush[]> {
  if (candidates.length === 0) return []
  const later = await store.query<RangeRow>(
    `SELECT Writer AS writer, Sequence AS sequence, Ranges.Topic AS topic, Ranges.Partition AS partition, Ranges.First AS first, Ranges.Next AS next,
            ${RANGE_MS} AS appendedAtMs
     FROM ${TABLE} ARRAY JOIN Ranges WHERE State = 'intent' AND Sequence > {sequence:UInt64} AND NOT (${STATE('void')} AND NOT ${STATE('adopted')})`,
    { sequence: Math.min(...candidates.map(({ sequence }) => sequence)) }
  )
  return candidates.filter(
    flush =>
      !later.some(
        other =>
          other.writer !== flush.writer &&
          other.sequence > flush.sequence &&
          flush.ranges.some(range => nameOf(range) === nameOf(other) && range.first < other.next && other.first < range.next)
      )
  )
}

/** What is about to be redone counts as stored, also when it was written after the positions were read. */
function advanced(positions: readonly JournalPosition[], open: readonly Flush[]): JournalPosition[] {
  const known = new Map(positions.map(position => [nameOf(position), position]))
  for (const { writer, sequence, ranges } of open) {
    for (const range of ranges) {
      if ((known.get(nameOf(range))?.sequence ?? -1) <= sequence) known.set(nameOf(range), { ...range, writer, sequence })
    }
  }
  return [...known.values()]
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}

function keyOf({ writer, sequence }: { writer: string; sequence: number }): string {
  return `${writer}/${sequence}`
}
