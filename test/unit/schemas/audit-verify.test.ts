// Whatever is done to one row of a chain, verification names that row.

import { createHash, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Anchor, anchorVerifier, signAnchor } from '../../../schemas/anchor.ts'
import { AUDIT_GENESIS, type AuditRow, auditHash, auditRow, emptyChain, sealedInput, sealRecord } from '../../../schemas/audit.ts'
import type { AuditVerifyOptions } from '../../../schemas/audit-chain.ts'
import { landmarksOf } from '../../../pipeline/cli/audit-stretches.ts'
import { auditVerifier, verifyAuditRows } from '../../../schemas/audit-verify.ts'
import type { RecordType } from '../../../schemas/envelope.ts'

const note: RecordType<{ id: string; text: string; atMs: number }> = {
  type: 'test.note.v1',
  schema: z.object({ id: z.string(), text: z.string(), atMs: z.number() }),
  id: record => record.id,
  key: record => `key of ${record.id}`,
  atMs: record => record.atMs
}
const START_MS = 1_800_000_000_000
const { publicKey, privateKey } = generateKeyPairSync('ed25519')

/** A chain of `length` records, as verification gets it. */
function chainOf(length: number, chain = 'decide/1'): AuditRow[] {
  const rows: AuditRow[] = []
  let head = emptyChain(chain)
  for (let seq = 1; seq <= length; seq++) {
    const made = sealRecord(note, { id: `n${seq}`, text: 'é'.repeat(seq % 3), atMs: START_MS + seq * 1_000 }, head)
    head = made.head
    rows.push(auditRow(sealedInput(made.sealed) as Parameters<typeof auditRow>[0])!)
  }
  return rows
}
const anchorOf = (row: AuditRow): Anchor => signAnchor(row, row.atMs + 500, 'k', privateKey)
const resealed = (row: AuditRow): AuditRow => ({ ...row, hash: auditHash(row) })
const other = (text: string): string => createHash('sha256').update(text).digest('hex')
async function faults(rows: readonly AuditRow[], options: Partial<AuditVerifyOptions> = {}) {
  const inOrder = rows.toSorted((a, b) => (a.chain < b.chain ? -1 : a.chain > b.chain ? 1 : a.seq - b.seq))
  const { findings } = await verifyAuditRows(inOrder, { anchors: [], fromBeginning: true, ...options })
  return findings.map(({ seq, fault }) => `${fault} ${seq}`)
}

describe('a chain that nobody touched', () => {
  test('holds, and says where it stands', async () => {
    const rows = [...chainOf(3, 'act/a'), ...chainOf(5)]
    const report = await verifyAuditRows(rows, { anchors: [anchorOf(rows[6]!)], fromBeginning: true })
    expect(report).toMatchObject({ rows: 8, findings: [], findingsOmitted: 0 })
    expect(report.chains[1]).toEqual({
      chain: 'decide/1',
      rows: 5,
      firstSeq: 1,
      firstAtMs: START_MS + 1_000,
      lastAtMs: START_MS + 5_000,
      head: { chain: 'decide/1', seq: 5, hash: rows.at(-1)!.hash },
      anchor: { seq: 4, atMs: START_MS + 4_500, keyId: 'k' }
    })
  })

  test('holds when records were delivered or stored twice', async () => {
    const rows = chainOf(4)
    expect(await faults([rows[0]!, ...rows, rows[3]!])).toEqual([])
  })

  test('may be looked at in part', async () => {
    const rows = chainOf(9)
    expect(await faults(rows.slice(4, 7), { fromBeginning: false, anchors: [anchorOf(rows[5]!)] })).toEqual([])
  })
})

describe('one fault in a chain of any length', () => {
  const placed = fc.integer({ min: 1, max: 40 }).chain(length => fc.tuple(fc.constant(length), fc.integer({ min: 0, max: length - 1 })))
  const property = (check: (rows: AuditRow[], at: number) => Promise<void>) => fc.assert(fc.asyncProperty(placed, ([length, at]) => check(chainOf(length), at)))
  const FIELDS = ['prev', 'hash', 'type', 'id', 'key', 'digest'] as const

  test.each(FIELDS)('a changed %s is found at its row', field =>
    property(async (rows, at) => {
      rows[at] = { ...rows[at]!, [field]: other(rows[at]![field]) }
      expect(await faults(rows)).toEqual([`changed ${at + 1}`])
    })
  )

  test('a row that was written anew with its hash is found at its row, the last one by an anchor', () =>
    property(async (rows, at) => {
      const anchors = [anchorOf(rows.at(-1)!)]
      rows[at] = resealed({ ...rows[at]!, digest: other('forged') })
      expect(await faults(rows, { anchors })).toEqual([`changed ${at + 1}`])
    }))

  test('a row that was written anew and joined to nothing is found at its row', () =>
    property(async (rows, at) => {
      const anchors = [anchorOf(rows.at(-1)!)]
      rows[at] = resealed({ ...rows[at]!, prev: other('elsewhere') })
      expect(await faults(rows, { anchors })).toEqual([`changed ${at + 1}`])
    }))

  test('a removed row is found at its place, the last one by an anchor', () =>
    property(async (rows, at) => {
      const anchors = [anchorOf(rows.at(-1)!)]
      const fault = at === rows.length - 1 ? 'cut_off' : 'removed'
      rows.splice(at, 1)
      expect(await faults(rows, { anchors })).toEqual([`${fault} ${at + 1}`])
    }))

  test('a second row in a place is found, whichever of the two is stored first', () =>
    property(async (rows, at) => {
      const anchors = [anchorOf(rows.at(-1)!)]
      const fork = resealed({ ...rows[at]!, digest: other('fork'), id: 'fork' })
      const { findings } = await verifyAuditRows(rows.toSpliced(at, 0, fork), { anchors, fromBeginning: true })
      expect(findings).toMatchObject([{ fault: 'inserted', seq: at + 1, id: 'fork' }])
      const copy = { ...rows[at]!, digest: other('copy'), id: 'copy' }
      expect((await verifyAuditRows(rows.toSpliced(at + 1, 0, copy), { anchors, fromBeginning: true })).findings).toMatchObject([
        { fault: 'inserted', seq: at + 1, id: 'copy' }
      ])
    }))

  test('two rows that changed places, or what they say, are found at both', () =>
    property(async (rows, at) => {
      const to = (at + 7) % rows.length
      if (to === at) return
      const both = [at + 1, to + 1].toSorted((a, b) => a - b).map(seq => `reordered ${seq}`)
      const [one, two] = [rows[at]!, rows[to]!]
      const moved = rows.with(at, { ...two, seq: one.seq }).with(to, { ...one, seq: two.seq })
      expect(await faults(moved)).toEqual(both)
      const contents = ({ type, id, key, digest }: AuditRow) => ({ type, id, key, digest })
      const swapped = rows.with(at, { ...one, ...contents(two) }).with(to, { ...two, ...contents(one) })
      expect(await faults(swapped)).toEqual(both)
    }))

  test('an end that was written anew with all its hashes is found by the first anchor that denies it', () =>
    property(async (rows, at) => {
      const anchors = rows.map(anchorOf)
      let prev = at === 0 ? AUDIT_GENESIS : rows[at - 1]!.hash
      for (let index = at; index < rows.length; index++) {
        rows[index] = resealed({ ...rows[index]!, prev, digest: other(`forged ${index}`) })
        prev = rows[index]!.hash
      }
      expect(await faults(rows, { anchors })).toEqual([`changed ${at + 1}`])
    }))

  test('an end that was cut off is found by the last anchor', () =>
    property(async (rows, at) => {
      expect(await faults(rows.slice(0, at), { anchors: [anchorOf(rows.at(-1)!)] })).toEqual([`cut_off ${at + 1}`])
    }))
})

describe('stretches of which all that is amiss was looked for elsewhere', () => {
  const TAMPERINGS: Readonly<Record<string, (rows: AuditRow[], at: number) => AuditRow[]>> = {
    nothing: rows => rows,
    changed: (rows, at) => rows.with(at, { ...rows[at]!, digest: other('changed') }),
    'written anew': (rows, at) => rows.with(at, resealed({ ...rows[at]!, digest: other('forged') })),
    'joined to nothing': (rows, at) => rows.with(at, resealed({ ...rows[at]!, prev: other('elsewhere') })),
    removed: (rows, at) => rows.toSpliced(at, 1),
    forked: (rows, at) => rows.toSpliced(at, 0, resealed({ ...rows[at]!, digest: other('fork'), id: 'fork' })),
    'cut off': (rows, at) => rows.slice(0, at),
    'its end written anew': (rows, at) => {
      let prev = at === 0 ? AUDIT_GENESIS : rows[at - 1]!.hash
      return rows.map((row, index) => {
        if (index < at) return row
        const forged = resealed({ ...row, prev, digest: other(`forged ${index}`) })
        prev = forged.hash
        return forged
      })
    }
  }
  const isSound = (rows: readonly AuditRow[]): boolean =>
    rows.every((row, index) => {
      const before = rows[index - 1]
      return auditHash(row) === row.hash && (before === undefined || (row.prev === before.hash && row.seq === before.seq + 1))
    })

  test.each(Object.entries(TAMPERINGS))('of a chain with one row %s: the report is that of looking at every row', (_, tamper) =>
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.nat(),
        fc.integer({ min: 1, max: 15 }),
        fc.array(fc.nat(), { maxLength: 4 }),
        (length, at, size, anchored) => {
          const sealed = chainOf(length)
          const anchors = anchored.map(place => anchorOf(sealed[place % length]!))
          const options = { anchors, fromBeginning: true, vouchedBeforeMs: START_MS + 1e9 }
          const rows = tamper(sealed, at % length)
          const [byRow, byStretch] = [auditVerifier(options), auditVerifier(options)]
          for (const row of rows) byRow.take(row)
          for (let first = 1; first <= length; first += size) {
            const stretch = { chain: 'decide/1', first, last: Math.min(first + size - 1, length) }
            const own = rows.filter(({ seq }) => seq >= stretch.first && seq <= stretch.last)
            const isWhole = own.length === stretch.last - stretch.first + 1
            if (isWhole && isSound(own))
              byStretch.takeStretch(landmarksOf(stretch, new Map([[stretch.chain, anchors]])).map(seq => own.find(row => row.seq === seq)!))
            else for (const row of own) byStretch.take(row)
          }
          expect(byStretch.end()).toEqual(byRow.end())
        }
      )
    )
  )
})

test('two ends without a word on either are a fork', async () => {
  const rows = chainOf(3)
  expect(await faults([...rows, resealed({ ...rows[2]!, id: 'fork' })])).toEqual(['forked 3'])
})

test('rows that no anchor vouches for are told when one is overdue', async () => {
  const rows = chainOf(5)
  const anchors = [anchorOf(rows[2]!)]
  expect(await faults(rows, { anchors, vouchedBeforeMs: START_MS + 4_001 })).toEqual(['unvouched 4'])
  expect(await faults(rows, { anchors, vouchedBeforeMs: START_MS + 4_000 })).toEqual([])
})

test('of a table that was destroyed as many findings are listed as fit, the rest is counted', async () => {
  const rows = chainOf(1_500).map(row => ({ ...row, digest: other('gone') }))
  const { findings, findingsOmitted } = await verifyAuditRows(rows, { anchors: [], fromBeginning: true })
  expect([findings.length, findingsOmitted]).toEqual([1_000, 500])
})

test('an anchor is believed when a known key signed all of it', () => {
  const anchor = anchorOf(chainOf(1)[0]!)
  const verify = anchorVerifier({ k: publicKey.export({ type: 'spki', format: 'pem' }).toString() })
  expect(verify(anchor)).toBe('good')
  expect(verify({ ...anchor, keyId: 'other' })).toBe('unknown_key')
  for (const forged of [{ seq: 2 }, { chain: 'act/1' }, { hash: other('') }, { atMs: 0 }, { signature: '' }])
    expect(verify({ ...anchor, ...forged })).toBe('forged')
})
