// Verification of the audit chains that ClickHouse holds, through any reading SQL connection.
//
// ClickHouse judges whole stretches where they lie (audit-stretches.ts). Where anything is amiss it digests payloads and compares columns, and
// links and order are judged here, row by row, a page at a time; signatures always. Memory: two pages and the findings. Nothing is written.

import { type Anchor, type AnchorTrust, anchorVerifier } from '../../schemas/anchor.ts'
import type { AuditRow } from '../../schemas/audit.ts'
import { type AuditFinding, FINDINGS_MAX } from '../../schemas/audit-chain.ts'
import { type AuditReport, type AuditVerifier, auditVerifier } from '../../schemas/audit-verify.ts'
import { AUDIT_TABLES, differingColumns } from './audit-columns.ts'
import { batches, type ChainRange, judgeStretches, MS, placesOf, type Stretch } from './audit-stretches.ts'
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
const CHAINS_MAX = 10_000
/** Of each chain, spread evenly; the last one is among them. Each costs a signature check of 0.1 ms. */
const ANCHORS_PER_CHAIN_MAX = 1_000

type StoredRow = Omit<AuditRow, 'chain'>

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
  const all = ranges.reduce((sum, { rows }) => sum + rows, 0)
  const byChain = Map.groupBy(anchors, ({ chain }) => chain)
  let places = 0
  for (const batch of batches(ranges, byChain)) {
    const judged = await judgeStretches(sql, batch, byChain)
    for (const [index, stretch] of batch.entries()) {
      const { landmarks, mayDiffer } = judged[index]!
      if (landmarks === undefined) await verifyRows(sql, stretch, mayDiffer, verifier)
      else {
        verifier.takeStretch(landmarks)
        if (mayDiffer) for (const finding of await differences(sql, stretch)) verifier.report(finding)
      }
      places += Math.min(stretch.last - stretch.first + 1, all)
      options.progress?.(Math.min(places, all), all)
    }
  }
  for (const anchor of forged) verifier.reportForged(anchor)
  const outside = await unchainedRows(options)
  for (const finding of outside.findings) verifier.report(finding)
  return { ...verifier.end(), anchors: trust, unchained: outside.before }
}

const OUTCOMES = 'homeostat_outcomes'
const US = (column: string): string => `toUnixTimestamp64Micro(${column})`
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
    `SELECT AuditChain AS chain, min(AuditSeq) AS first, max(AuditSeq) AS last, count() AS rows FROM (${tables.join(' UNION ALL ')}) GROUP BY chain ORDER BY chain LIMIT ${CHAINS_MAX}`
  )
  return known.map(({ chain, first, last, rows }) => ({ chain, first: Number(first), last: Number(last), rows: Number(rows) }))
}

interface Page {
  page: Stretch
  rows: StoredRow[]
  differing: AuditFinding[]
}

/** Row by row; the next page is read while this one is looked at. */
async function verifyRows(sql: AuditStoreOptions['sql'], { chain, first, last }: Stretch, mayDiffer: boolean, verifier: AuditVerifier): Promise<void> {
  const read = async (from: number): Promise<Page> => {
    const page = { chain, first: from, last: Math.min(from + PAGE_PLACES - 1, last) }
    return { page, rows: await readPlaces(sql, page), differing: mayDiffer ? await differences(sql, page) : [] }
  }
  let reading: Promise<Page> | undefined = read(first)
  while (reading !== undefined) {
    const { page, rows, differing }: Page = await reading
    const next: number | undefined = rows.length > 0 ? page.last + 1 : await placeAfter(sql, chain, page.last, last)
    reading = next === undefined || next > last ? undefined : read(next)
    reading?.catch(() => undefined) // Told when it is awaited.
    for (const row of rows) verifier.take({ ...row, chain })
    for (const finding of differing) verifier.report(finding)
  }
}

async function readPlaces(sql: AuditStoreOptions['sql'], stretch: Stretch): Promise<StoredRow[]> {
  const { first, last } = stretch
  const tables = AUDIT_TABLES.map(
    ({ table, key }) => `SELECT AuditSeq AS seq, AuditPrev AS prev, AuditHash AS hash, RecordType AS type, RecordId AS id, ${key} AS key,
lower(hex(SHA256(Payload))) AS digest, ${MS('Timestamp')} AS atMs, StoredAt AS storedAt FROM ${table} WHERE ${placesOf(stretch)}`
  )
  const rows = await sql<StoredRow>(`SELECT * EXCEPT storedAt FROM (${tables.join('\nUNION ALL\n')}) ORDER BY seq, storedAt LIMIT ${STATEMENT_ROWS_MAX}`)
  if (rows.length < STATEMENT_ROWS_MAX || first === last) return rows
  const middle = Math.floor((first + last) / 2)
  return [...(await readPlaces(sql, { ...stretch, last: middle })), ...(await readPlaces(sql, { ...stretch, first: middle + 1 }))]
}

/** The first place after an empty page: what is between may be one row that somebody took out, or any number. */
async function placeAfter(sql: AuditStoreOptions['sql'], chain: string, after: number, last: number): Promise<number | undefined> {
  const tables = AUDIT_TABLES.map(
    ({ table }) => `SELECT min(AuditSeq) AS seq FROM ${table} WHERE ${placesOf({ chain, first: after + 1, last })} HAVING count() > 0`
  )
  const [row] = await sql<{ seq: number | string }>(`SELECT min(seq) AS seq FROM (${tables.join(' UNION ALL ')}) HAVING count() > 0`)
  return row === undefined ? undefined : Number(row.seq)
}

/** Rows whose columns do not say what their payloads say. */
async function differences(sql: AuditStoreOptions['sql'], stretch: Stretch): Promise<AuditFinding[]> {
  const tables = AUDIT_TABLES.map(source => {
    const { withSaid, differing } = differingColumns(source)
    return `SELECT * FROM (WITH ${withSaid} SELECT AuditChain AS chain, AuditSeq AS seq, RecordId AS id, RecordType AS type, ${MS('Timestamp')} AS atMs,
${differing} AS differing FROM ${source.table} WHERE ${placesOf(stretch)}) WHERE notEmpty(differing)`
  })
  const rows = await sql<Pick<AuditFinding, 'chain' | 'seq' | 'id' | 'type' | 'atMs'> & { differing: string[] }>(
    `SELECT * FROM (${tables.join('\nUNION ALL\n')}) ORDER BY chain, seq LIMIT ${FINDINGS_MAX}`
  )
  return rows.map(({ differing, ...row }) => ({
    ...row,
    seq: Number(row.seq),
    fault: 'changed',
    detail: `${differing.join(', ')}: the column does not say what the record says`
  }))
}

async function readAnchors(options: AuditStoreOptions, ranges: readonly ChainRange[]) {
  const { sql, keys, nowMs, fromMs, toMs, arrivalMs = ARRIVAL_MS } = options
  const verify = anchorVerifier(keys)
  const trust: Record<AnchorTrust, number> = { good: 0, unknown_key: 0, forged: 0 }
  const anchors: Anchor[] = []
  const forged: Anchor[] = []
  const lastOf = new Map(ranges.map(({ chain, last }) => [chain, last]))
  const known = await sql<Stretch>(
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

/**
 * Records in no chain: how many are of the time before chains, and those that came after, by when they were made or by when they were stored:
 * whoever puts a record in says of it what he likes.
 */
async function unchainedRows({ sql, fromMs, toMs }: AuditStoreOptions): Promise<{ findings: AuditFinding[]; before: number }> {
  const range = [...(fromMs === undefined ? [] : [`Timestamp >= ${TIME(fromMs)}`]), ...(toMs === undefined ? [] : [`Timestamp <= ${TIME(toMs)}`])]
  const where = [`AuditChain = ''`, ...range].join(' AND ')
  const groups = await perEnvironment(sql, 'max', where)
  const findings: AuditFinding[] = []
  let before = groups.reduce((sum, { records }) => sum + Number(records), 0)
  if (before === 0) return { findings, before }
  const begun = await perEnvironment(sql, 'min', `AuditChain != ''`)
  for (const group of groups) {
    if (findings.length >= FINDINGS_MAX) break
    const { table, environment } = group
    const own = begun.find(chained => chained.table === table && chained.environment === environment)
    const since = sinceOf(table, own, begun)
    if (since === undefined || (group.madeUs <= since.madeUs && group.storedUs <= since.storedUs)) continue
    const rows = await sql<Pick<AuditFinding, 'id' | 'type' | 'atMs'> & { of: number | string }>(
      `SELECT RecordId AS id, if(RecordType = '', '${table}', RecordType) AS type, ${MS('Timestamp')} AS atMs, count() OVER () AS of FROM ${table}
WHERE ${where} AND Environment = ${quoted(environment)} AND (${US('Timestamp')} > ${since.madeUs} OR ${US('StoredAt')} > ${since.storedUs})
ORDER BY Timestamp, id LIMIT ${own === undefined ? 1 : FINDINGS_MAX}`
    )
    const count = Number(rows[0]?.of ?? 0)
    before -= count
    const ofStrangers = `${table.replace('homeostat_', '')} of environment ${JSON.stringify(environment)}, which has no chain: ${count}, this is the first`
    const detail = own === undefined ? ofStrangers : 'it is in no chain, though records of its kind are since before it'
    for (const { id, type, atMs } of rows) findings.push({ chain: '', seq: 0, id, type, atMs, fault: 'inserted', detail })
  }
  return { findings, before }
}

interface EnvironmentRows {
  table: string
  environment: string
  records: number | string
  /** When the first or the last was made and when it was stored, epoch µs. */
  madeUs: number
  storedUs: number
}

async function perEnvironment(sql: AuditStoreOptions['sql'], bound: 'min' | 'max', where: string): Promise<EnvironmentRows[]> {
  const tables = AUDIT_TABLES.map(
    ({ table }) => `SELECT '${table}' AS table, Environment AS environment, count() AS records, ${bound}(${US('Timestamp')}) AS madeUs,
${bound}(${US('StoredAt')}) AS storedUs FROM ${table} WHERE ${where} GROUP BY environment`
  )
  const rows = await sql<EnvironmentRows>(`SELECT * FROM (${tables.join('\nUNION ALL\n')}) ORDER BY table, environment LIMIT ${STATEMENT_ROWS_MAX}`)
  return rows.map(row => ({ ...row, madeUs: Number(row.madeUs), storedUs: Number(row.storedUs) }))
}

/**
 * From when on records of the table must be in a chain; undefined: there is none. Control has one for all environments. An actuator has its
 * own, and is upgraded before control: what it wrote after control's chain began is in one.
 */
function sinceOf(table: string, own: EnvironmentRows | undefined, begun: readonly EnvironmentRows[]): Pick<EnvironmentRows, 'madeUs' | 'storedUs'> | undefined {
  if (table === OUTCOMES && own !== undefined) return own
  const control = begun.filter(chained => chained.table !== OUTCOMES)
  if (control.length === 0) return undefined
  return { madeUs: Math.min(...control.map(({ madeUs }) => madeUs)), storedUs: Math.min(...control.map(({ storedUs }) => storedUs)) }
}
