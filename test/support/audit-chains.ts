// What the audit chains in a memory log come to: for tests of whoever seals.

import { anchorRecord } from '../../schemas/anchor.ts'
import { type AuditRow, auditRow } from '../../schemas/audit.ts'
import { type AuditReport, verifyAuditRows } from '../../schemas/audit-verify.ts'
import { decodeRecord } from '../../schemas/envelope.ts'
import { TOPICS } from '../../schemas/topics.ts'
import type { MemoryLog } from './memory-log.ts'

/** Verification of all records of the topics, with every anchor of the log; records in no chain are left out. */
export async function auditOf(log: MemoryLog, topics: readonly string[]): Promise<AuditReport & { anchors: number }> {
  const rows = topics.flatMap(topic => log.records(topic)).flatMap<AuditRow>(record => auditRow(record) ?? [])
  const anchors = log.records(TOPICS.anchors.name).flatMap(record => {
    const decoded = decodeRecord(anchorRecord, record)
    return decoded.ok ? [decoded.record] : []
  })
  rows.sort((a, b) => (a.chain < b.chain ? -1 : a.chain > b.chain ? 1 : a.seq - b.seq))
  return { ...(await verifyAuditRows(rows, { anchors, fromBeginning: true })), anchors: anchors.length }
}
