// `homeostat audit verify` as a person or a job calls it: what it prints, its exit code, its keys, and the topics as second witness.

import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { auditText, registerAudit } from '../../../../pipeline/cli/audit.ts'
import type { AuditVerification } from '../../../../pipeline/cli/audit-store.ts'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { anchorRecord } from '../../../../schemas/anchor.ts'
import { sealedInput } from '../../../../schemas/audit.ts'
import { configSchema } from '../../../../schemas/config.ts'
import { commandRecord } from '../../../../schemas/command.ts'
import { encodeRecord } from '../../../../schemas/envelope.ts'
import type { LogRecordInput } from '../../../../schemas/ports.ts'
import { auditedTopics, commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { anchorAfter, type ChainRecord, chainRecords, PUBLIC_KEY_PEM } from '../../../support/audit-records.ts'
import { aCommand } from '../../../support/store-records.ts'
import { type MemoryLog, memoryLog } from '../../../support/memory-log.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const NOW_MS = 1_800_000_000_000
const TOPIC_OF: Readonly<Record<string, string>> = {
  'homeostat.decision.v1': TOPICS.decisions.name,
  'homeostat.command.v1': commandsTopic('default'),
  'homeostat.outcome.v1': TOPICS.outcomes.name
}

let folder: string
let log: MemoryLog
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'homeostat-audit-'))
  writeFileSync(join(folder, 'control.pem'), PUBLIC_KEY_PEM)
  log = memoryLog({ nowMs: () => NOW_MS })
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
  process.exitCode = undefined
})

async function publish(records: readonly ChainRecord[], change: (input: LogRecordInput, seq: number) => LogRecordInput | undefined = input => input) {
  for (const { sealed, head } of records) {
    const input = change(sealedInput(sealed), head.seq)
    if (input !== undefined) await log.append(TOPIC_OF[sealed.headers.ce_type!]!, [input])
  }
  await log.append(TOPICS.anchors.name, [encodeRecord(anchorRecord, anchorAfter(records.at(-1)!))])
}

/** Runs the command on the log. @returns what it printed */
async function verify(...argv: string[]): Promise<{ report: AuditVerification & { ok: boolean }; text: string }> {
  const printed: { report: AuditVerification & { ok: boolean }; text: string }[] = []
  const output: Output = { table: () => undefined, say: () => undefined, result: (report, text) => void printed.push({ report: report as never, text }) }
  const config = { ...configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }), environment: 'default', dataDir: folder }
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined })
  registerAudit(program, {
    loaded: () => ({ config }) as never,
    output: () => output,
    openHistory: () => Promise.reject(new Error('not asked')),
    openLog: async () => log,
    clock: virtualClock(NOW_MS),
    stderr: process.stderr
  })
  await program.parseAsync(['audit', 'verify', '--log', ...argv], { from: 'user' })
  return printed[0]!
}
const KEY = (): string[] => ['--key', join(folder, 'control.pem')]

describe('the topics', () => {
  test('that nobody touched hold: exit code 0', async () => {
    await publish([...chainRecords('decide/1', 9, NOW_MS - 3_600_000)])
    await publish([...chainRecords('act/1', 4, NOW_MS - 3_600_000)])
    const { report, text } = await verify(...KEY())
    expect(report).toMatchObject({ ok: true, rows: 13, findings: [], anchors: { good: 2 } })
    expect(text).toMatch(/decide\/1 +9 +1 {2}2027-.* to 9, signed 2027-/)
    expect(text).toMatch(/All hold: 13 records in 2 chains, 2 anchors/)
    expect(process.exitCode).toBeUndefined()
  })

  test('of which one record was changed do not: the record is named, exit code 1', async () => {
    const records = [...chainRecords('decide/1', 9, NOW_MS - 3_600_000)]
    await publish(records, (input, seq) =>
      seq === 5 ? { ...input, value: Buffer.from(Buffer.from(input.value!).toString().replace('"risk":"low"', '"risk":"high"')) } : input
    )
    const { report, text } = await verify(...KEY())
    expect(report.findings).toMatchObject([{ fault: 'changed', chain: 'decide/1', seq: 5, id: 'decide/1-5', type: 'homeostat.command.v1' }])
    expect(text).toContain('CHANGED  decide/1 5  homeostat.command.v1\n    decide/1-5, 2027-01-15 07:00:00 UTC: its hash does not fit what it says')
    expect(text).toContain('1 faults found')
    expect(process.exitCode).toBe(1)
  })

  test('whose end is missing do not: an anchor says what was there', async () => {
    await publish([...chainRecords('decide/1', 9, NOW_MS - 3_600_000)], (input, seq) => (seq > 7 ? undefined : input))
    const { text } = await verify(...KEY())
    expect(text).toContain('CUT OFF  decide/1 8\n    the anchor of ')
  })

  test('are not judged by what may be on its way', async () => {
    await publish([...chainRecords('decide/1', 9, NOW_MS - 1_000, 1)], (input, seq) => (seq === 4 ? undefined : input))
    expect((await verify(...KEY())).report).toMatchObject({ ok: true, rows: 0 })
  })

  test('with a command in no chain that came after control’s first record do not; one of the time before is counted', async () => {
    let atMs = NOW_MS - 3_600_000
    log = memoryLog({ nowMs: () => ++atMs })
    const unchained = (id: string): LogRecordInput => encodeRecord(commandRecord, { ...aCommand(), id, issuedAtMs: NOW_MS - 7_200_000 })
    await log.append(commandsTopic('default'), [unchained('before')])
    await publish([...chainRecords('decide/1', 9, NOW_MS - 3_600_000)])
    await log.append(commandsTopic('default'), [unchained('after')])
    const { report, text } = await verify(...KEY())
    expect(report).toMatchObject({ unchained: 1, findings: [{ fault: 'inserted', chain: '', id: 'after', type: 'homeostat.command.v1' }] })
    expect(text).toMatch(
      /INSERTED {2}in no chain {2}homeostat\.command\.v1\n {4}after, .*: it is in no chain.*\(homeostat\.commands\.default\.v1\/\d+, offset \d+\)/
    )
  })

  test('may begin later when they keep no longer than that', async () => {
    await publish([...chainRecords('decide/1', 9, NOW_MS - 3_600_000)])
    const offsets = log.offsets
    log.offsets = async topic =>
      (await offsets(topic)).map(bounds => ({ ...bounds, start: auditedTopics(['default']).includes(topic) ? Math.min(1, bounds.end) : 0 }))
    const { report } = await verify(...KEY())
    expect(report).toMatchObject({ ok: true, chains: [{ firstSeq: 4, rows: 6 }] })
  })
})

describe('keys', () => {
  test('that did not sign vouch for nothing, and it says so', async () => {
    await publish([...chainRecords('decide/1', 3, NOW_MS - 3_600_000)], input => input)
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' })
    writeFileSync(join(folder, 'other.pem'), other)
    const { report, text } = await verify('--key', join(folder, 'other.pem'))
    expect(report).toMatchObject({ anchors: { good: 0, unknown_key: 1 } })
    expect(text).toContain('name it with --key')
    expect(text).toContain('The links hold, and no anchor vouches for them: 3 records')
  })

  test('that are nowhere: it says how to give one', async () => {
    await expect(verify()).rejects.toMatchObject({ code: 'config_invalid', message: expect.stringContaining('--key <file>') })
  })

  test('that are none are refused with the option and the file', async () => {
    writeFileSync(join(folder, 'bad.pem'), 'no key')
    await expect(verify('--key', join(folder, 'bad.pem'))).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/^--key: .*bad\.pem holds no/)
    })
  })
})

test('as many findings as are listed, the rest as a number', () => {
  const finding = { chain: '', seq: 0, id: 'x', type: 'homeostat.outcome.v1', atMs: null, fault: 'inserted' as const, detail: 'it is in no chain' }
  const text = auditText({
    rows: 0,
    chains: [],
    findings: [finding],
    findingsOmitted: 7,
    anchors: { good: 0, unknown_key: 0, forged: 0 },
    unchained: 3,
    tookMs: 12
  })
  expect(text).toBe(
    'INSERTED  in no chain  homeostat.outcome.v1\n    x, it is in no chain\n… and 7 more\n\n3 records of the time before the audit chain were not looked at.\n8 faults found: 0 records in 0 chains, 0 anchors, 12 ms.'
  )
})
