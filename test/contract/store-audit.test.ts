// The audit chains in ClickHouse: whatever is done to one row of a table, verification names that row.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AUDIT_TABLES, DERIVED_COLUMNS } from '../../pipeline/cli/audit-columns.ts'
import { type AuditStoreOptions, type AuditVerification, verifyAuditStore } from '../../pipeline/cli/audit-store.ts'
import type { TableRow } from '../../pipeline/store/rows/values.ts'
import { commandRecord } from '../../schemas/command.ts'
import { encodeRecord } from '../../schemas/envelope.ts'
import { outcomeRecord } from '../../schemas/outcome.ts'
import { anchorAfter, anchorRow, type ChainRecord, chainRecords, chainRow, insertRows, KEY_ID, KEYS, storedRow } from '../support/audit-records.ts'
import { aCommand, anOutcome } from '../support/store-records.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'

const NOW_MS = Date.now()
const START_MS = NOW_MS - 3_600_000
const COUNT = 6

let opened: TestStore
// One store a group: verification looks at all of its chains.
const ownStore = (): void => {
  beforeAll(async () => {
    opened = await openTestStore()
  })
  afterAll(() => opened.remove())
}

const verify = (more: Partial<AuditStoreOptions> = {}): Promise<AuditVerification> =>
  verifyAuditStore({ sql: <Row>(statement: string) => opened.store.query(statement) as Promise<Row[]>, keys: KEYS, nowMs: NOW_MS, ...more })
const findingsOf = ({ findings }: AuditVerification, chain: string) => findings.filter(finding => finding.chain === chain)

/** The rows of a chain of its own, with a signature under its end. */
function rowsOf(chain: string, tamper: (rows: TableRow[], records: ChainRecord[]) => TableRow[] = rows => rows, count = COUNT): TableRow[] {
  const records = [...chainRecords(chain, count, START_MS)]
  return [...tamper(records.map(chainRow), records), anchorRow(anchorAfter(records.at(-1)!))]
}
let token = 0
const insert = (rows: readonly TableRow[]): Promise<void> => insertRows(opened.store, rows, `insert ${token++}`)
const changing = (column: string, value: unknown) => (rows: TableRow[], at: number) =>
  rows.with(at, { ...rows[at]!, row: { ...rows[at]!.row, [column]: value } })

describe('a store that nobody touched', () => {
  ownStore()

  test('holds, with a head and the anchor that vouches for it', async () => {
    await insert(rowsOf('decide/sound'))
    const report = await verify()
    expect(report.findings).toEqual([])
    expect(report.anchors).toEqual({ good: 1, unknown_key: 0, forged: 0 })
    expect(report.chains).toEqual([
      {
        chain: 'decide/sound',
        rows: COUNT,
        firstSeq: 1,
        firstAtMs: START_MS + 100.25,
        lastAtMs: START_MS + COUNT * 100 + 0.25,
        head: [...chainRecords('decide/sound', COUNT, START_MS)].at(-1)!.head,
        anchor: { seq: COUNT, atMs: Math.floor(START_MS + COUNT * 100 + 500.25), keyId: KEY_ID }
      }
    ])
  })

  test('records that were stored twice are one', async () => {
    await insert([...chainRecords('decide/sound', 3, START_MS)].map(chainRow))
    expect(await verify()).toMatchObject({ rows: COUNT, findings: [] })
  })

  test('is read in pages through long holes', async () => {
    const rows = [...chainRecords('decide/long', 5_010, START_MS, 1)]
    await insert([...rows.slice(0, 3), ...rows.slice(5_003)].map(chainRow))
    const report = await verify()
    expect(findingsOf(report, 'decide/long')).toMatchObject([
      { fault: 'unvouched', seq: 1 },
      { fault: 'removed', seq: 4, detail: 'the records up to 5003 are missing' }
    ])
  })
})

describe('one row of one table', () => {
  ownStore()

  const columnsOf = ({ columns }: (typeof AUDIT_TABLES)[number]): string[] => Object.values(columns).flatMap(sources => Object.keys(sources))

  test('every column is held against the payload, or follows from others', async () => {
    for (const source of AUDIT_TABLES) {
      const there = await opened.store.query<{ name: string }>(
        `SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '${source.table}'`
      )
      const known = new Set([...columnsOf(source), ...DERIVED_COLUMNS])
      expect(there.map(({ name }) => name).filter(name => !known.has(name))).toEqual([])
    }
  })

  const OTHER: Readonly<Record<string, unknown>> = { BlockedBy: ['storm'], Attempt: 9, Cost: 0.3, Fence: 8, Escalated: true }
  const isTime = /^(Timestamp|\w+At)$/
  test('a changed column is found', async () => {
    // Of the n-th record of its kind the n-th column is changed.
    const chain = AUDIT_TABLES.map(source => source.table).join()
    const columns = AUDIT_TABLES.map(columnsOf)
    const changed = columns.flatMap((names, kind) => names.map((column, index) => ({ column, at: index * 3 + kind }))).toSorted((a, b) => a.at - b.at)
    const count = Math.max(...columns.map(names => names.length)) * 3
    const tampered = rowsOf(
      chain,
      rows =>
        changed.reduce(
          (all, { column, at }) => changing(column, OTHER[column] ?? (isTime.test(column) ? String((START_MS + 7) / 1_000) : 'null'))(all, at),
          rows
        ),
      count
    )
    await insert(tampered)
    const found = findingsOf(await verify(), chain)
    expect([...new Set(found.map(({ fault, seq }) => `${fault} ${seq}`))]).toEqual(changed.map(({ at }) => `changed ${at + 1}`))
    for (const { column, at } of changed) {
      const details = found.filter(({ seq }) => seq === at + 1).map(({ detail }) => detail)
      expect(
        details.some(detail => detail.startsWith(column) || detail.includes(`, ${column}`)),
        column
      ).toBe(true)
    }
  })

  const CASES: readonly [what: string, fault: string, tamper: (rows: TableRow[], records: ChainRecord[], at: number) => TableRow[]][] = [
    ['its payload changed', 'changed', (rows, _, at) => changing('Payload', String(rows[at]!.row.Payload).replace('"id":', '"ID":'))(rows, at)],
    ['its payload emptied', 'changed', (rows, _, at) => changing('Payload', '')(rows, at)],
    ['its hash changed', 'changed', (rows, _, at) => changing('AuditHash', 'f'.repeat(64))(rows, at)],
    ['its link changed', 'changed', (rows, _, at) => changing('AuditPrev', 'f'.repeat(64))(rows, at)],
    ['removed', 'removed', (rows, _, at) => rows.toSpliced(at, 1)],
    [
      'a second one in its place',
      'inserted',
      (rows, _, at) => [...rows, { ...rows[at]!, row: { ...rows[at]!.row, RecordId: `second ${at} of ${String(rows[at]!.row.RecordId)}` } }]
    ]
  ]
  test.each([
    ['decision', 0],
    ['outcome', 2],
    ['command', 4]
  ])('one %s that was tampered with', async (kind, at) => {
    const chainOf = (what: string): string => `${kind}: ${what}`
    await insert(CASES.flatMap(([what, , tamper]) => rowsOf(chainOf(what), (rows, records) => tamper(rows, records, at))))
    const report = await verify()
    for (const [what, fault] of CASES) {
      const faults = new Set(findingsOf(report, chainOf(what)).map(finding => `${finding.fault} ${finding.seq}`))
      if (fault === 'inserted') faults.delete(`changed ${at + 1}`) // Its columns do not say what it says, besides.
      expect([...faults], what).toEqual([`${fault} ${at + 1}`])
    }
  })

  test('two that changed places, an end that was cut off, a whole chain that is gone', async () => {
    const swapped = rowsOf('swapped', rows => {
      const [one, two] = [rows[1]!, rows[4]!]
      return rows.with(1, { ...one, row: { ...one.row, AuditSeq: 5 } }).with(4, { ...two, row: { ...two.row, AuditSeq: 2 } })
    })
    await insert([...swapped, ...rowsOf('cut', rows => rows.slice(0, -2)), ...rowsOf('gone', () => [])])
    const report = await verify()
    expect(findingsOf(report, 'swapped').map(({ fault, seq }) => `${fault} ${seq}`)).toEqual(['reordered 2', 'reordered 5'])
    expect(findingsOf(report, 'cut')).toMatchObject([{ fault: 'cut_off', seq: 5 }])
    expect(findingsOf(report, 'gone')).toMatchObject([{ fault: 'cut_off', seq: 1 }])
  })

  test('a record in no chain is found when others of its kind are in one', async () => {
    await insert(rowsOf('others of its kind'))
    const backdated = anOutcome('backdated', 'i', 'd', { environment: 'lab', recordedAtMs: START_MS - 60_000 })
    const outside = anOutcome('outside', 'i', 'd', { environment: 'lab', recordedAtMs: START_MS + 60_000 })
    await insertRows(
      opened.store,
      [backdated, outside].map(outcome => storedRow(encodeRecord(outcomeRecord, outcome))),
      'outside'
    )
    const report = await verify()
    expect(findingsOf(report, '').map(({ fault, id }) => `${fault} ${id}`)).toEqual(['inserted backdated', 'inserted outside'])
    expect(report.unchained).toBe(0)
  })

  test('records that claim an environment without a chain are found, with how many there are', async () => {
    await insert(rowsOf('of other environments'))
    const forged = [1, 2, 3].map(n => ({ ...aCommand(), id: `forged ${n}`, environment: 'nowhere', issuedAtMs: START_MS - n * 60_000 }))
    const outcome = anOutcome('of nowhere', 'i', 'd', { environment: 'nowhere', recordedAtMs: START_MS - 60_000 })
    await insert([...forged.map(command => storedRow(encodeRecord(commandRecord, command))), storedRow(encodeRecord(outcomeRecord, outcome))])
    const strangers = findingsOf(await verify(), '').filter(({ detail }) => detail.includes('nowhere'))
    expect(strangers).toMatchObject([
      { fault: 'inserted', id: 'forged 3', type: commandRecord.type, detail: 'commands of environment "nowhere", which has no chain: 3, this is the first' },
      { fault: 'inserted', id: 'of nowhere', detail: 'outcomes of environment "nowhere", which has no chain: 1, this is the first' }
    ])
  })

  test('an anchor that nobody signed is found, and one by a key that is not given counts for nothing', async () => {
    const records = [...chainRecords('forged anchor', 3, START_MS)]
    const anchor = anchorAfter(records[1]!)
    await insert([...records.map(chainRow), anchorRow({ ...anchor, seq: 3 }), anchorRow({ ...anchor, keyId: 'stranger' })])
    const report = await verify()
    expect(findingsOf(report, 'forged anchor')).toMatchObject([
      { fault: 'unvouched', seq: 1 },
      { fault: 'inserted', type: 'homeostat.anchor.v1' }
    ])
    expect(report.anchors).toMatchObject({ unknown_key: 1, forged: 1 })
  })
})

describe('a part of the time', () => {
  ownStore()

  test('is judged by itself: what lies before and after is nobody’s fault', async () => {
    await insert(rowsOf('part', rows => rows.toSpliced(1, 1)))
    const { chains, findings } = await verify({ fromMs: START_MS + 300, toMs: START_MS + 550, arrivalMs: 0 })
    expect(chains.find(({ chain }) => chain === 'part')).toMatchObject({ firstSeq: 3, rows: 3, head: { seq: 5 } })
    expect(findings.filter(({ chain }) => chain === 'part')).toEqual([])
  })

  test('records that may be on their way are not missed', async () => {
    const records = [...chainRecords('fresh', 6, NOW_MS - 1_000)]
    const rows = [...records.slice(0, 3), ...records.slice(4)].map(chainRow)
    await insert([...rows, anchorRow(anchorAfter(records.at(-1)!))])
    expect(findingsOf(await verify(), 'fresh')).toEqual([])
    expect(findingsOf(await verify({ arrivalMs: 0, nowMs: NOW_MS + 5_000 }), 'fresh')).toMatchObject([{ fault: 'removed', seq: 4 }])
  })
})

describe('a database of an earlier release', () => {
  ownStore()

  /** As somebody does who may alter tables; the answer to a statement that gives no rows is no JSON. */
  const alter = (statement: string): Promise<unknown> => opened.store.query(`${statement} SETTINGS mutations_sync = 1`).catch(error => error)

  test('gets the columns, keeps its rows, and what was altered since then is found', async () => {
    const columns = ['AuditChain', 'AuditSeq', 'AuditPrev', 'AuditHash', 'RecordType', 'Payload']
    for (const { table } of AUDIT_TABLES) await alter(`ALTER TABLE ${table} ${columns.map(column => `DROP COLUMN ${column}`).join(', ')}`)
    await opened.store.query('DROP TABLE homeostat_anchors SYNC').catch(() => undefined)
    await opened.store.query('TRUNCATE TABLE homeostat_migrations').catch(() => undefined)
    const old = storedRow(encodeRecord(outcomeRecord, anOutcome('old', 'i', 'd', { recordedAtMs: START_MS })))
    const before = Object.fromEntries(Object.entries(old.row).filter(([column]) => !columns.includes(column)))
    await insert([{ ...old, row: before }])
    await opened.reopen()
    await insert(rowsOf('decide/after'))
    expect(await verify()).toMatchObject({ rows: COUNT, findings: [], unchained: 1 })
    await alter("ALTER TABLE homeostat_outcomes UPDATE Verdict = 'unknown' WHERE AuditSeq = 3")
    expect((await verify()).findings).toMatchObject([{ seq: 3, fault: 'changed', detail: 'Verdict: the column does not say what the record says' }])
    await alter('ALTER TABLE homeostat_commands DELETE WHERE AuditSeq = 2')
    expect((await verify()).findings.map(({ seq, fault }) => `${fault} ${seq}`)).toEqual(['removed 2', 'changed 3'])
  })
})
