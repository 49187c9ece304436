// bench audit: verification of the audit chains in ClickHouse (embedded), and of the links alone, against the same digests taken by
// node:crypto. Goal: less than a second per 100,000 records.
//
//     npm run -s bench -- audit [--rounds N] [records]
//
// After measuring, a chain with one changed column is added, and verification must name that record: it did look.

import { hash } from 'node:crypto'
import { verifyAuditStore } from '../../pipeline/cli/audit-store.ts'
import { type AuditRow, auditRow, sealedInput } from '../../schemas/audit.ts'
import { auditVerifier } from '../../schemas/audit-verify.ts'
import { anchorAfter, anchorRow, type ChainRecord, chainRecords, chainRow, insertRows, KEYS } from '../support/audit-records.ts'
import { openTestStore, type TestStore } from '../support/store-tools.ts'
import { type BenchOptions, type BenchResult, interleave, loopCase, medianRatio, printTable, say } from './harness.ts'

const RECORDS = 30_000
const PER = 100_000
const INSERT_RECORDS = 5_000
const SLICE_MS = 1_000
const WARM_UP_MS = 1_000
const CHAIN = 'decide/bench'

export async function auditBench({ rounds, args }: BenchOptions): Promise<BenchResult> {
  const count = Number(args[0] ?? RECORDS)
  const opened = await openTestStore()
  try {
    const links = await fill(opened, count)
    const verify = () => verifyAuditStore({ sql: <Row>(statement: string) => opened.store.query(statement) as Promise<Row[]>, keys: KEYS, nowMs: Date.now() })
    const sound = await verify()
    if (sound.rows !== count || sound.findings.length > 0) throw new Error(`an untouched chain does not hold: ${JSON.stringify(sound.findings.slice(0, 3))}`)
    const texts = [...chainRecords('peer', 3, 0)].map(({ sealed }) => sealed.text)
    const results = await interleave(
      [
        loopCase('audit verify', async () => (await verify()).rows),
        loopCase('links alone', () => {
          const verifier = auditVerifier({ anchors: [], fromBeginning: true })
          for (const row of links) verifier.take(row)
          return verifier.end().rows
        }),
        loopCase('digests alone', () => {
          for (let index = 0; index < count; index++) hash('sha256', texts[index % texts.length]!)
          return count
        })
      ],
      { rounds, sliceMs: SLICE_MS, warmUpMs: WARM_UP_MS }
    )
    const [whole, chain, digests] = results
    await addTampered(opened)
    const { findings } = await verify()
    if (findings.length !== 1 || findings[0]!.seq !== 5) throw new Error(`one record was changed, found: ${JSON.stringify(findings.slice(0, 3))}`)
    const bytes = texts.reduce((sum, text) => sum + text.length, 0) / texts.length
    printTable(`audit: ${count} records of ${Math.round(bytes)} bytes`, 'record', results)
    const secondsPer = (perS: number): number => Number((PER / perS).toFixed(3))
    say(
      `\n${secondsPer(whole!.medianPerS)} s per ${PER} records (best round ${secondsPer(whole!.bestPerS)} s), ${medianRatio(digests!, whole!).toFixed(1)} times the digests alone`
    )
    return {
      records: count,
      bytesPerRecord: Math.round(bytes),
      secondsPer100k: secondsPer(whole!.medianPerS),
      secondsPer100kBest: secondsPer(whole!.bestPerS),
      cpuSecondsPer100k: Number(((whole!.cpuMicros * PER) / 1e6).toFixed(3)),
      linksSecondsPer100k: secondsPer(chain!.medianPerS),
      vsDigests: Number(medianRatio(whole!, digests!).toFixed(3))
    }
  } finally {
    await opened.remove()
  }
}

/** @returns the links, as verification gets them */
async function fill(opened: TestStore, count: number): Promise<AuditRow[]> {
  const links: AuditRow[] = []
  let last: ChainRecord | undefined
  let rows: ReturnType<typeof chainRow>[] = []
  const startMs = Date.now() - count - 3_600_000
  for (const record of chainRecords(CHAIN, count, startMs, 1)) {
    rows.push(chainRow(record))
    links.push(auditRow(sealedInput(record.sealed) as Parameters<typeof auditRow>[0])!)
    last = record
    if (rows.length < INSERT_RECORDS) continue
    await insertRows(opened.store, rows, `fill ${links.length}`)
    rows = []
  }
  await insertRows(opened.store, [...rows, anchorRow(anchorAfter(last!))], 'rest')
  return links
}

/** A chain whose fifth record is not as it was sealed. */
async function addTampered(opened: TestStore): Promise<void> {
  const records = [...chainRecords('decide/tampered', 9, Date.now() - 3_600_000)]
  const rows = records.map(chainRow)
  rows[4]!.row.Risk = 'high'
  await insertRows(opened.store, [...rows, anchorRow(anchorAfter(records.at(-1)!))], 'tampered')
}
