// Verification of the audit chains that ClickHouse holds, read a page at a time through any reading SQL connection.
//
// ClickHouse digests the payloads and compares the columns with them where they lie (digests and differences come here, no megabytes);
// links, order and signatures are judged here. Memory: two pages and the findings. Nothing is written.

import { type Anchor, type AnchorTrust, anchorVerifier } from '../../schemas/anchor.ts'
import type { AuditRow } from '../../schemas/audit.ts'
import { type AuditFinding, FINDINGS_MAX } from '../../schemas/audit-chain.ts'
import { type AuditReport, auditVerifier } from '../../schemas/audit-verify.ts'
import { AUDIT_TABLES, differingColumns } from './audit-columns.ts'
import { quoted } from './backtest-history.ts'

export interface AuditStoreOptions {
  /** One reading statement of at most 10,000 rows. */
  sql<Row>(statement: string): Promise<Row[]>
  /** Keys that may sign: key id → public key, PEM. */
  keys: Readonly<Record<string, string>>
  nowMs: number
  /** Records made from then on; absent: all, and each chain must begin with its first. */
  fromMs?: number | undefined
  /** Records made until then; absent: all but those that may be on their way still. */
  toMs?: number | undefined
  /** How long a record may be on its way. Default ARRIVAL_MS; 0: everything has arrived. */
  arrivalMs?: number | undefined
  /** Places looked at so far, after each page, of all. */
  progress?(places: number, of: number): void
}

export interface AuditVerification extends AuditReport {
  /** Signatures by what became of checking them. */
  anchors: Record<AnchorTrust, number>
  /** Records of the time before the audit chain. */
  unchained: number
}

/** What a record may take from its writer to the table, generously; and how far clocks may be apart. */
export const ARRIVAL_MS = 60_000
/** Without an anchor for so long control was away, or a record was put in. */
const VOUCHED_WITHIN_MS = 15 * 60_000
/** What one statement answers at most. A page that is as long was cut: somebody put in row upon row, and it is read in smaller pages. */
const STATEMENT_ROWS_MAX = 10_000
/** Places of a chain in one statement: a little less, for records that were stored twice. */
const PAGE_PLACES = 9_000
/** Places and pages whose columns are compared in one statement: it takes ClickHouse 70 ms to plan. */
const COMPARED_PLACES = 8 * PAGE_PLACES
const COMPARED_PAGES = 100
const CHAINS_MAX = 10_000
/** Of each chain, spread evenly; the last one is among them. Each costs a signature check of 0.1 ms. */
const ANCHORS_PER_CHAIN_MAX = 1_000

type StoredRow = Omit<AuditRow, 'chain'>
interface ChainRange {
  chain: string
  first: number
  last: number
}

/**
 * Verifies what ClickHouse holds.
 * @returns findings with the row each; none: every chain holds, and every column says what its record says
 * @throws AppError of `sql`
 */
export async function verifyAuditStore(options: AuditStoreOptions): Promise<AuditVerification> {
  const { sql, nowMs, fromMs, arrivalMs = ARRIVAL_MS } = options
  const ranges = await chainRanges(options)
  const { anchors, trust, forged } = await readAnchors(options, ranges)
  const verifier = auditVerifier({
    anchors,
    fromBeginning: fromMs === undefined,
    // A part that somebody asked for may end anywhere.
    ...(options.toMs === undefined && arrivalMs > 0 ? { vouchedBeforeMs: nowMs - VOUCHED_WITHIN_MS } : {})
  })
  const places = ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  const comparison = columnComparison(sql)
  let rows = 0
  for (const range of ranges) {
    for await (const page of pages(sql, range)) {
      await comparison.add(page)
      for (const row of page.rows) verifier.take({ ...row, chain: range.chain })
      rows += page.rows.length
      options.progress?.(rows, places)
    }
  }
  for (const finding of await comparison.end()) verifier.report(finding)
  for (const anchor of forged) verifier.reportForged(anchor)
  const outside = await unchainedRows(options)
  for (const { id, type, atMs } of outside.inserted)
    verifier.report({ chain: '', seq: 0, id, type, atMs, fault: 'inserted', detail: 'it is in no chain, though records of its kind are since before it' })
  return { ...verifier.end(), anchors: trust, unchained: outside.before }
}

const MS = (column: string): string => `toUnixTimestamp64Micro(${column}) / 1000`
const TIME = (ms: number): string => `fromUnixTimestamp64Milli(${Math.floor(ms)})`

/** The chains with the places that are looked at; chains that only anchors know have none. */
async function chainRanges({ sql, fromMs, toMs, nowMs, arrivalMs = ARRIVAL_MS }: AuditStoreOptions): Promise<ChainRange[]> {
  const conditions = [`AuditChain != ''`]
  if (fromMs !== undefined) conditions.push(`Timestamp >= ${TIME(fromMs)}`)
  if (toMs !== undefined) conditions.push(`Timestamp <= ${TIME(toMs)}`)
  // What claims to be of the future is not on its way.
  else conditions.push(`NOT (Timestamp > ${TIME(nowMs - arrivalMs)} AND Timestamp < ${TIME(nowMs + arrivalMs)})`)
  const tables = AUDIT_TABLES.map(({ table }) => `SELECT AuditChain, AuditSeq FROM ${table} WHERE ${conditions.join(' AND ')}`)
  const known = await sql<ChainRange>(
    `SELECT AuditChain AS chain, min(AuditSeq) AS first, max(AuditSeq) AS last FROM (${tables.join(' UNION ALL ')}) GROUP BY chain ORDER BY chain LIMIT ${CHAINS_MAX}`
  )
  return known.map(({ chain, first, last }) => ({ chain, first: Number(first), last: Number(last) }))
}

interface Page {
  chain: string
  from: number
  to: number
  rows: StoredRow[]
}

/** Rows of a chain by place; the next page is read while the caller looks at one. */
async function* pages(sql: AuditStoreOptions['sql'], { chain, first, last }: ChainRange): AsyncGenerator<Page> {
  const read = async (from: number): Promise<Page> => {
    const to = Math.min(from + PAGE_PLACES - 1, last)
    return { chain, from, to, rows: await readPlaces(sql, chain, from, to) }
  }
  let reading = read(first)
  for (;;) {
    const page = await reading
    const next = page.rows.length > 0 ? page.to + 1 : await placeAfter(sql, chain, page.to, last)
    const isLast = next === undefined || next > last
    if (!isLast) {
      reading = read(next)
      reading.catch(() => undefined) // Told when it is awaited.
    }
    yield page
    if (isLast) return
  }
}

async function readPlaces(sql: AuditStoreOptions['sql'], chain: string, from: number, to: number): Promise<StoredRow[]> {
  const tables = AUDIT_TABLES.map(
    ({ table, key }) => `SELECT AuditSeq AS seq, AuditPrev AS prev, AuditHash AS hash, RecordType AS type, RecordId AS id, ${key} AS key,
lower(hex(SHA256(Payload))) AS digest, ${MS('Timestamp')} AS atMs, StoredAt AS storedAt FROM ${table} WHERE ${placed(chain, from, to)}`
  )
  const rows = await sql<StoredRow>(`SELECT * EXCEPT storedAt FROM (${tables.join('\nUNION ALL\n')}) ORDER BY seq, storedAt LIMIT ${STATEMENT_ROWS_MAX}`)
  if (rows.length < STATEMENT_ROWS_MAX || from === to) return rows
  const middle = Math.floor((from + to) / 2)
  return [...(await readPlaces(sql, chain, from, middle)), ...(await readPlaces(sql, chain, middle + 1, to))]
}

/** The first place after an empty page: what is between may be one row that somebody took out, or any number. */
async function placeAfter(sql: AuditStoreOptions['sql'], chain: string, after: number, last: number): Promise<number | undefined> {
  const tables = AUDIT_TABLES.map(({ table }) => `SELECT min(AuditSeq) AS seq FROM ${table} WHERE ${placed(chain, after + 1, last)} HAVING count() > 0`)
  const [row] = await sql<{ seq: number | string }>(`SELECT min(seq) AS seq FROM (${tables.join(' UNION ALL ')}) HAVING count() > 0`)
  return row === undefined ? undefined : Number(row.seq)
}

const placed = (chain: string, from: number, to: number): string => `AuditChain = ${quoted(chain)} AND AuditSeq BETWEEN ${from} AND ${to}`

/** Compares columns with payloads beside the reading of pages, several pages at once, of whatever chains. */
function columnComparison(sql: AuditStoreOptions['sql']) {
  const findings: AuditFinding[] = []
  let waiting: Page[] = []
  let running: Promise<void> = Promise.resolve()

  async function compare(): Promise<void> {
    await running
    if (waiting.length === 0) return
    const where = waiting.map(({ chain, from, to }) => placed(chain, from, to)).join(' OR ')
    waiting = []
    running = differences(sql, where).then(rows => {
      for (const { differing, ...row } of rows)
        findings.push({ ...row, seq: Number(row.seq), fault: 'changed', detail: `${differing.join(', ')}: the column does not say what the record says` })
    })
    running.catch(() => undefined) // Told when it is awaited.
  }

  return {
    async add(page: Page): Promise<void> {
      if (page.rows.length > 0) waiting.push({ ...page, rows: [] })
      const places = waiting.reduce((sum, { from, to }) => sum + to - from + 1, 0)
      if (places >= COMPARED_PLACES || waiting.length >= COMPARED_PAGES) await compare()
    },
    async end(): Promise<readonly AuditFinding[]> {
      await compare()
      await running
      return findings
    }
  }
}

type Difference = Pick<AuditFinding, 'chain' | 'seq' | 'id' | 'type' | 'atMs'> & { differing: string[] }

function differences(sql: AuditStoreOptions['sql'], where: string): Promise<Difference[]> {
  const tables = AUDIT_TABLES.map(source => {
    const { withSaid, differing } = differingColumns(source)
    return `SELECT * FROM (WITH ${withSaid} SELECT AuditChain AS chain, AuditSeq AS seq, RecordId AS id, RecordType AS type, ${MS('Timestamp')} AS atMs,
${differing} AS differing FROM ${source.table} WHERE ${where}) WHERE notEmpty(differing)`
  })
  return sql<Difference>(`SELECT * FROM (${tables.join('\nUNION ALL\n')}) ORDER BY chain, seq LIMIT ${FINDINGS_MAX}`)
}

async function readAnchors(options: AuditStoreOptions, ranges: readonly ChainRange[]) {
  const { sql, keys, nowMs, fromMs, toMs, arrivalMs = ARRIVAL_MS } = options
  const verify = anchorVerifier(keys)
  const trust: Record<AnchorTrust, number> = { good: 0, unknown_key: 0, forged: 0 }
  const anchors: Anchor[] = []
  const forged: Anchor[] = []
  const lastOf = new Map(ranges.map(({ chain, last }) => [chain, last]))
  const known = await sql<ChainRange>(
    `SELECT AuditChain AS chain, min(AuditSeq) AS first, max(AuditSeq) AS last FROM homeostat_anchors GROUP BY chain ORDER BY chain LIMIT ${CHAINS_MAX}`
  )
  for (const { chain, first, last } of known) {
    const stride = Math.ceil((Number(last) - Number(first) + 1) / ANCHORS_PER_CHAIN_MAX)
    const rows = await sql<Anchor>(
      `SELECT AuditChain AS chain, AuditSeq AS seq, AuditHash AS hash, toUnixTimestamp64Milli(Timestamp) AS atMs, KeyId AS keyId, Signature AS signature
FROM homeostat_anchors WHERE AuditChain = ${quoted(chain)} ORDER BY AuditSeq DESC LIMIT 1 BY intDiv(${last} - AuditSeq, ${stride})`
    )
    for (const row of rows) {
      const anchor = { ...row, seq: Number(row.seq), atMs: Number(row.atMs) }
      const found = verify(anchor)
      trust[found]++
      if (found === 'forged') forged.push(anchor)
      // What it vouches for beyond the rows that are looked at may be on its way, or was not asked for.
      const isBeyond = anchor.seq > (lastOf.get(chain) ?? 0)
      const untilMs = (toMs ?? nowMs) - arrivalMs
      const isAsked = anchor.atMs <= untilMs && (fromMs === undefined || anchor.atMs >= fromMs)
      if (found === 'good' && (!isBeyond || isAsked)) anchors.push(anchor)
    }
  }
  return { anchors, trust, forged }
}

/** Records in no chain: of the time before, and those that came after the first of their kind that is in one. */
async function unchainedRows({ sql, fromMs, toMs }: AuditStoreOptions) {
  const range = [...(fromMs === undefined ? [] : [`Timestamp >= ${TIME(fromMs)}`]), ...(toMs === undefined ? [] : [`Timestamp <= ${TIME(toMs)}`])]
  const where = [`AuditChain = ''`, ...range].join(' AND ')
  const tables = AUDIT_TABLES.map(
    ({ table }) => `SELECT '${table}' AS stored, RecordId AS id, RecordType AS type, Timestamp AS at, StoredAt AS storedAt, since, sinceStored FROM ${table}
LEFT JOIN (SELECT Environment, min(Timestamp) AS since, min(StoredAt) AS sinceStored FROM ${table} WHERE AuditChain != '' GROUP BY Environment) AS begun
USING Environment WHERE ${where}`
  )
  const all = `(${tables.join('\nUNION ALL\n')})`
  // By when it was stored as well: whoever puts a record in says of it what he likes.
  const isAfter = `toYear(since) > 1970 AND (at > since OR storedAt > sinceStored)`
  const inserted = await sql<{ id: string; type: string; atMs: number }>(
    `SELECT id, if(type = '', stored, type) AS type, ${MS('at')} AS atMs FROM ${all} WHERE ${isAfter} ORDER BY at, id LIMIT ${FINDINGS_MAX}`
  )
  const [count] = await sql<{ before: number | string }>(`SELECT count() AS before FROM ${all} WHERE NOT (${isAfter})`)
  return { inserted, before: Number(count?.before ?? 0) }
}
