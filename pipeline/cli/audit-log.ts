// Verification of the audit chains straight from the topics, while they keep them: the second witness beside ClickHouse.
//
// All links are held in memory to be put in order, 0.4 kB each; payloads are digested as they are read. Needs nothing of ours to run.

import { type Anchor, anchorRecord, anchorVerifier } from '../../schemas/anchor.ts'
import { type AuditRow, auditRow } from '../../schemas/audit.ts'
import { type AuditFinding, FINDINGS_MAX } from '../../schemas/audit-chain.ts'
import { auditVerifier } from '../../schemas/audit-verify.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Log, LogRecord } from '../../schemas/ports.ts'
import { readWholeTopic } from '../../schemas/read-whole-topic.ts'
import { auditedTopics, TOPICS } from '../../schemas/topics.ts'
import { ARRIVAL_MS, type AuditVerification } from './audit-store.ts'

/** Links held at once: 400 MB. A month of a busy fleet is a tenth of it. */
const RECORDS_MAX = 1_000_000

export interface AuditLogOptions {
  log: Log
  /** Environments whose commands are read. */
  environments: readonly string[]
  /** Keys that may sign: key id → public key, PEM. */
  keys: Readonly<Record<string, string>>
  nowMs: number
}

/**
 * Verifies what the topics hold. Of each chain the records of the last minute are left out, since topics are read one after another.
 * @throws AppError `usage` when there are more records than fit; of the log
 */
export async function verifyAuditLog({ log, environments, keys, nowMs }: AuditLogOptions): Promise<AuditVerification> {
  const verify = anchorVerifier(keys)
  const trust: AuditVerification['anchors'] = { good: 0, unknown_key: 0, forged: 0 }
  const anchors: Anchor[] = []
  const forged: Anchor[] = []
  await readWholeTopic(log, TOPICS.anchors.name, record => {
    const decoded = decodeRecord(anchorRecord, record)
    if (!decoded.ok) return
    const found = verify(decoded.record)
    trust[found]++
    if (found === 'good') anchors.push(decoded.record)
    if (found === 'forged') forged.push(decoded.record)
  })
  const rows: AuditRow[] = []
  const inserted: AuditFinding[] = []
  let unchained = 0
  let isWhole = true
  /** When the log took control's first record that is in a chain. Decisions are read first, and actuators are upgraded before control. */
  let begunMs = Number.POSITIVE_INFINITY
  for (const topic of auditedTopics(environments)) {
    for (const { start } of await log.offsets(topic)) if (start > 0) isWhole = false
    await readWholeTopic(log, topic, record => {
      const row = auditRow(record)
      if (row === undefined) {
        if (record.appendedAtMs <= begunMs) unchained++
        else if (inserted.length < FINDINGS_MAX) inserted.push(insertedFinding(record))
        return
      }
      if (topic !== TOPICS.outcomes.name) begunMs = Math.min(begunMs, record.appendedAtMs)
      if (rows.push(row) > RECORDS_MAX)
        throw new AppError('usage', `the topics hold more than ${RECORDS_MAX} records of the audit chain: verify what ClickHouse holds, without --log`)
    })
  }
  const settled = new Map<string, number>()
  for (const { chain, seq, atMs } of rows) if (atMs <= nowMs - ARRIVAL_MS) settled.set(chain, Math.max(seq, settled.get(chain) ?? 0))
  const verifier = auditVerifier({
    anchors: anchors.filter(({ chain, seq, atMs }) => seq <= (settled.get(chain) ?? 0) || atMs <= nowMs - ARRIVAL_MS),
    fromBeginning: isWhole
  })
  rows.sort((a, b) => (a.chain < b.chain ? -1 : a.chain > b.chain ? 1 : a.seq - b.seq))
  for (const row of rows) if (row.seq <= (settled.get(row.chain) ?? 0)) verifier.take(row)
  for (const anchor of forged) verifier.reportForged(anchor)
  for (const finding of inserted) verifier.report(finding)
  return { ...verifier.end(), anchors: trust, unchained }
}

function insertedFinding({ topic, partition, offset, headers }: LogRecord): AuditFinding {
  const { ce_id: id = '', ce_type: type = '', ce_time: time = '' } = headers
  const detail = `it is in no chain, though control's records are since before it (${topic}/${partition}, offset ${offset})`
  return { chain: '', seq: 0, id, type, atMs: Date.parse(time), fault: 'inserted', detail }
}
