// Stretches of the audit chains, judged where they lie: ClickHouse recomputes every hash, holds every link against the record before, and every
// column against the payload, tens of thousands of places in one statement. What comes here are the stretches' ends and the places that anchors
// name; verification goes on from them. A stretch with anything amiss is read row by row instead (audit-store.ts), to say what.

import type { Anchor } from '../../schemas/anchor.ts'
import { AUDIT_FORMAT, type AuditRow } from '../../schemas/audit.ts'
import { AUDIT_TABLES, differingColumns } from './audit-columns.ts'
import { quoted } from './backtest-history.ts'

/** Places [first, last] of one chain. */
export interface Stretch {
  chain: string
  first: number
  last: number
  /** So many of its places have no record that it is not worth judging. */
  isSparse?: boolean
}

/** A chain's places, and how many records stand there. */
export interface ChainRange extends Stretch {
  rows: number
}

/** Judged in one statement: it takes ClickHouse 70 ms to plan, and half a second to judge so many. */
const PLACES_MAX = 50_000
const STRETCHES_MAX = 100
/** Rows of the answer to one statement; History allows 10,000. */
const LANDMARKS_MAX = 9_000

/** Good anchors by the name of their chain. */
export type AnchorsByChain = ReadonlyMap<string, readonly Anchor[]>

/** Chains as stretches, in their order, as many at a time as one statement judges. A sparse one is alone: it exceeds a statement by itself. */
export function* batches(chains: readonly ChainRange[], anchors: AnchorsByChain): Generator<Stretch[]> {
  let batch: Stretch[] = []
  let places = 0
  let landmarks = 0
  for (const chain of chains) {
    for (const stretch of stretchesOf(chain)) {
      const size = stretch.last - stretch.first + 1
      const more = landmarksOf(stretch, anchors).length
      if (batch.length > 0 && (batch.length >= STRETCHES_MAX || places + size > PLACES_MAX || landmarks + more > LANDMARKS_MAX)) {
        yield batch
        batch = []
        places = landmarks = 0
      }
      batch.push(stretch)
      places += size
      landmarks += more
    }
  }
  if (batch.length > 0) yield batch
}

function* stretchesOf({ chain, first, last, rows }: ChainRange): Generator<Stretch> {
  if (last - first + 1 > rows + PLACES_MAX) yield { chain, first, last, isSparse: true }
  else for (let from = first; from <= last; from += PLACES_MAX) yield { chain, first: from, last: Math.min(from + PLACES_MAX - 1, last) }
}

/** Ends of the stretch, places that anchors vouch for, and those after them, from which on nobody does. */
export function landmarksOf({ chain, first, last }: Stretch, anchors: AnchorsByChain): number[] {
  const named = (anchors.get(chain) ?? []).flatMap(({ seq }) => [seq, seq + 1])
  return [...new Set([first, ...named.filter(seq => seq > first && seq < last), last])].sort((a, b) => a - b)
}

export const placesOf = ({ chain, first, last }: Stretch): string => `AuditChain = ${quoted(chain)} AND AuditSeq BETWEEN ${first} AND ${last}`

/** In epoch ms with its fraction. */
export const MS = (column: string): string => `toUnixTimestamp64Micro(${column}) / 1000`

/** As schemas/audit.ts has it. */
const sized = (text: string): string => `toString(length(${text})), ':', ${text}`
const OWN_HASH = `lower(hex(SHA256(concat(${[
  `'${AUDIT_FORMAT.replace('\n', '\\n')}'`,
  ...['chain', 'toString(seq)', 'prev', 'type', 'id', 'key', 'digest'].map(sized)
].join(', ')}))))`

type Landmark = AuditRow & Record<'records' | 'faults' | 'differing', number | string>

export interface Judgement {
  /** By growing seq, when every hash and link of the stretch holds. */
  landmarks?: AuditRow[]
  /** Whether a column of some record may not say what its payload says. */
  mayDiffer: boolean
}

/** Judges the stretches of one batch, in their order. */
export async function judgeStretches(
  sql: <Row>(statement: string) => Promise<Row[]>,
  batch: readonly Stretch[],
  anchors: AnchorsByChain
): Promise<Judgement[]> {
  if (batch.some(({ isSparse }) => isSparse)) return batch.map(() => ({ mayDiffer: true }))
  const where = batch.map(stretch => `(${placesOf(stretch)})`).join(' OR ')
  const tables = AUDIT_TABLES.map(source => {
    const { withSaid, differing } = differingColumns(source)
    return `SELECT * FROM (WITH ${withSaid} SELECT AuditChain AS chain, AuditSeq AS seq, AuditPrev AS prev, AuditHash AS hash, RecordType AS type, RecordId AS id,
${source.key} AS key, lower(hex(SHA256(Payload))) AS digest, ${MS('Timestamp')} AS atMs, notEmpty(${differing}) AS differs FROM ${source.table} WHERE ${where})`
  })
  const landmarks = batch.map(stretch => landmarksOf(stretch, anchors))
  const wanted = batch.flatMap(({ chain }, index) => landmarks[index]!.map(seq => `(${quoted(chain)}, ${seq})`))
  const rows = await sql<Landmark>(
    `SELECT chain, seq, prev, hash, type, id, key, digest, atMs, records, faults, differing FROM (
SELECT *, count() OVER chains AS records, sum(differs) OVER chains AS differing, sum(hash != ${OWN_HASH} OR prev != linked OR seq != following) OVER chains AS faults FROM (
SELECT *, lagInFrame(hash, 1, prev) OVER before AS linked, lagInFrame(seq, 1, toUInt64(seq - 1)) OVER before + 1 AS following FROM (${tables.join('\nUNION ALL\n')})
WINDOW before AS (PARTITION BY chain ORDER BY seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW))
WINDOW chains AS (PARTITION BY chain)) WHERE (chain, seq) IN (${wanted.join(', ')}) ORDER BY chain, seq`
  )
  const byChain = Map.groupBy(rows, ({ chain }) => chain)
  return batch.map(({ chain, first, last }, index) => {
    const found = byChain.get(chain) ?? []
    const [one] = found
    const isSound = found.length === landmarks[index]!.length && Number(one!.records) === last - first + 1 && Number(one!.faults) === 0
    const rows = found.map(({ records: _records, faults: _faults, differing: _differing, ...row }) => ({ ...row, seq: Number(row.seq) }))
    return { ...(isSound && { landmarks: rows }), mayDiffer: one === undefined || Number(one.differing) > 0 }
  })
}
