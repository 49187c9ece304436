// Decide in the audit chain: one chain without a gap over restarts, other writers' chains followed, every head that moved signed.

import { describe, expect, test } from 'vitest'
import { ANCHOR_INTERVAL_MS, anchorsDue, emptyAudit, hear, seal } from '../../../../actuators/decide/audit.ts'
import { type Anchor, anchorRecord, anchorVerifier } from '../../../../schemas/anchor.ts'
import { anomalyRecord } from '../../../../schemas/anomaly.ts'
import { type AuditRow, auditHash, auditRow, emptyChain, sealedInput, sealRecord } from '../../../../schemas/audit.ts'
import { decodeRecord } from '../../../../schemas/envelope.ts'
import { outcomeRecord } from '../../../../schemas/outcome.ts'
import { commandsTopic, TOPICS } from '../../../../schemas/topics.ts'
import { auditOf } from '../../../support/audit-chains.ts'
import { aDecision, anOutcome } from '../../../support/store-records.ts'
import { decisionRecord } from '../../../../schemas/decision.ts'
import { absenceAtOnce } from '../../detectors/diagnose/builders.ts'
import { T0 } from './builders.ts'
import { rig, signer } from './worker-rig.ts'

const SILENT = absenceAtOnce('lab/orders@orders-1', 'process.memory.usage')
const DECIDED = [TOPICS.decisions.name, commandsTopic('lab')]

/** Records of an actuator's chain, as decide hears them. */
function outcomeRows(count: number): AuditRow[] {
  let head = emptyChain('act/1')
  return Array.from({ length: count }, (_, index) => {
    const made = sealRecord(outcomeRecord, anOutcome(`o${index}`, 'i', 'd'), head)
    head = made.head
    return auditRow(sealedInput(made.sealed) as Parameters<typeof auditRow>[0])!
  })
}

describe('what decide publishes', () => {
  test('is one chain over restarts, each command and decision in it once', async () => {
    const { open, put, settle, answer, decisions, commands, log } = rig()
    let workers = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(3_000)
    await workers.close()
    workers = await open()
    await answer('ineffective')
    await settle(20_000)
    await workers.close()
    const { findings, chains } = await auditOf(log, DECIDED)
    expect(findings).toEqual([])
    expect(chains).toMatchObject([{ firstSeq: 1, rows: decisions().length + commands().length }])
    expect(commands().length).toBe(2)
  })

  test('is repeated byte for byte when a crash came between publishing and the next save', async () => {
    const { open, put, settle, checkpoints, log } = rig()
    const append = log.append
    let savesByThen = 0
    log.append = async (topic, records) => {
      const positions = await append(topic, records)
      if (topic === commandsTopic('lab')) savesByThen ||= checkpoints.saves()
      return positions
    }
    const first = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(3_000)
    const bytes = () => DECIDED.map(topic => log.records(topic).map(({ key, value, headers }) => ({ key, value: Buffer.from(value!).toString(), headers })))
    const before = bytes()
    expect(before.map(records => records.length)).toEqual([1, 1])
    await first.close()
    // The process died when the command was in the log: what was saved last still holds both as not yet published.
    checkpoints.rewind(savesByThen)
    const second = await open()
    await settle(3_000)
    expect(bytes()).toEqual(before.map(([only]) => [only, only]))
    expect((await auditOf(log, DECIDED)).findings).toEqual([])
    await second.close()
  })

  test('is a chain of its own when the checkpoint is lost', async () => {
    const { open, put, settle, answer, checkpoints, log } = rig()
    const first = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(3_000)
    await first.close()
    checkpoints.rewind(0)
    const second = await open()
    await answer('ineffective')
    await settle(20_000)
    await second.close()
    const { findings, chains } = await auditOf(log, DECIDED)
    expect(findings).toEqual([])
    expect(chains.map(({ firstSeq }) => firstSeq)).toEqual([1, 1])
  })
})

describe('anchors', () => {
  test('are signed soon, then once a minute while something moves, and never when nothing does', async () => {
    const { open, put, settle, log } = rig()
    const workers = await open()
    await settle(5 * ANCHOR_INTERVAL_MS)
    expect(log.records(TOPICS.anchors.name)).toEqual([])
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(2_000)
    const anchors = () =>
      log.records(TOPICS.anchors.name).map(record => {
        const decoded = decodeRecord(anchorRecord, record)
        if (!decoded.ok) throw new Error(decoded.reason)
        return decoded.record
      })
    expect(anchors()).toMatchObject([{ seq: 2 }])
    await settle(5 * ANCHOR_INTERVAL_MS)
    const signed = anchors()
    const decided = (await auditOf(log, DECIDED)).chains[0]!.head
    expect(signed.at(-1)).toMatchObject(decided)
    expect(signed.length).toBeLessThanOrEqual(6)
    for (const [index, anchor] of signed.entries()) if (index > 0) expect(anchor.atMs - signed[index - 1]!.atMs).toBeGreaterThanOrEqual(ANCHOR_INTERVAL_MS)
    expect(signed.map(anchorVerifier({ [signer.keyId]: signer.publicKeyPem }))).toEqual(signed.map(() => 'good'))
    await workers.close()
  })

  test('are signed once more when control leaves', async () => {
    const { open, put, settle, answer, log } = rig()
    const workers = await open()
    await put(TOPICS.anomalies.name, anomalyRecord, SILENT)
    await settle(3_000)
    await answer('ineffective')
    await settle(10_000)
    const signed = log.records(TOPICS.anchors.name).length
    await workers.close()
    await workers.close()
    const { chains, findings, anchors } = await auditOf(log, DECIDED)
    expect(findings).toEqual([])
    expect([anchors, chains[0]!.anchor!.seq]).toEqual([signed + 1, chains[0]!.head.seq])
  })

  test('are for every chain that was heard of, and go on when the clock was set back', () => {
    const audit = emptyAudit()
    const sign = (head: Pick<Anchor, 'chain' | 'seq' | 'hash'>, atMs: number) => signer.signAnchor(head, atMs)
    seal(audit, decisionRecord, aDecision('d', 'i'), T0)
    for (const row of outcomeRows(3)) expect(hear(audit, row)).toBeUndefined()
    const due = (atMs: number) => anchorsDue(audit, atMs, sign).map(({ text }) => JSON.parse(text) as Anchor)
    expect(due(T0).map(({ chain, seq }) => `${chain.slice(0, 4)} ${seq}`)).toEqual(['deci 1', 'act/ 3'])
    expect(due(T0 + 2 * ANCHOR_INTERVAL_MS)).toEqual([])
    seal(audit, decisionRecord, aDecision('e', 'i'), T0)
    expect(due(T0 + 1)).toEqual([])
    expect(due(T0 - ANCHOR_INTERVAL_MS)).toMatchObject([{ seq: 2 }])
  })
})

describe('a chain of an actuator', () => {
  test('that is broken is noticed, and followed from there on', () => {
    const audit = emptyAudit()
    const rows = outcomeRows(5)
    expect(hear(audit, rows[0]!)).toBeUndefined()
    expect(hear(audit, rows[0]!), 'delivered twice').toBeUndefined()
    expect(hear(audit, rows[2]!)).toBe('record 3 of chain act/1 does not follow 1')
    expect(hear(audit, rows[3]!)).toBeUndefined()
    expect(hear(audit, { ...rows[4]!, digest: rows[3]!.digest })).toBe('the hash of o4 does not fit it')
    const forged = { ...rows[4]!, prev: 'f'.repeat(64) }
    expect(hear(audit, { ...forged, hash: auditHash(forged) })).toBe('record 5 of chain act/1 does not follow 4')
  })

  test('is not the own one', () => {
    const audit = emptyAudit()
    seal(audit, decisionRecord, aDecision('d', 'i'), T0)
    const [row] = outcomeRows(1)
    const posing = { ...row!, chain: audit.own!.chain, seq: 2, prev: audit.own!.hash }
    expect(hear(audit, { ...posing, hash: auditHash(posing) })).toBeDefined()
    expect(audit.own!.seq).toBe(1)
  })
})
