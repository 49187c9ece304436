// Do the audit chains hold? Rows in, findings out: which record was changed, removed, inserted, moved or cut off.
//
// Pure, one pass, memory for one row a chain and a bounded list of findings. Rows come chain by chain, by growing seq; several rows
// of one seq are a fork unless they are the same record stored twice.

import { type Anchor, anchorRecord } from './anchor.ts'
import type { AuditRow } from './audit.ts'
import { type AuditChainReport, type AuditFinding, type AuditVerifyOptions, type ChainVerifier, chainVerifier, FINDINGS_MAX } from './audit-chain.ts'

export interface AuditReport {
  rows: number
  chains: AuditChainReport[]
  findings: AuditFinding[]
  /** Findings beyond those listed. */
  findingsOmitted: number
}

export interface AuditVerifier {
  /** Rows of one chain after another, seq growing within each. */
  take(row: AuditRow): void
  /** As `take` for each, and for the rows between them, which were found sound and linked elsewhere: the chain's ends and anchors are judged here. */
  takeStretch(landmarks: readonly AuditRow[]): void
  /** A fault that was found elsewhere, e.g. a column that does not say what the payload says. */
  report(finding: AuditFinding): void
  /** An anchor whose signature is not that of its key. */
  reportForged(anchor: Anchor): void
  /** Nothing comes any more. */
  end(): AuditReport
}

/**
 * Verifies all of `rows`, which come chain by chain, by growing seq.
 * @returns what was found; no findings: every chain holds
 */
export async function verifyAuditRows(rows: AsyncIterable<AuditRow> | Iterable<AuditRow>, options: AuditVerifyOptions): Promise<AuditReport> {
  const verifier = auditVerifier(options)
  for await (const row of rows) verifier.take(row)
  return verifier.end()
}

/** @returns a verifier for one pass */
export function auditVerifier(options: AuditVerifyOptions): AuditVerifier {
  const findings: AuditFinding[] = []
  const chains: AuditChainReport[] = []
  const anchors = Map.groupBy(options.anchors, anchor => anchor.chain)
  let omitted = 0
  let chain: ChainVerifier | undefined
  const report = (finding: AuditFinding): void => {
    if (findings.length < FINDINGS_MAX) findings.push(finding)
    else omitted++
  }
  const judge = (name: string): ChainVerifier => {
    const own = (anchors.get(name) ?? []).toSorted((a, b) => a.seq - b.seq)
    anchors.delete(name)
    return chainVerifier(name, own, options, report)
  }
  const endChain = (): void => {
    const ended = chain?.end()
    if (ended !== undefined) chains.push(ended)
  }
  const chainOf = (name: string): ChainVerifier => {
    if (chain?.name === name) return chain
    endChain()
    chain = judge(name)
    return chain
  }
  return {
    take: row => chainOf(row.chain).take(row),
    takeStretch(landmarks) {
      for (const [index, row] of landmarks.entries()) {
        const of = chainOf(row.chain)
        if (index > 0 && row.seq > landmarks[index - 1]!.seq + 1) of.pass(row)
        of.take(row)
      }
    },
    report,
    reportForged({ chain: name, seq, atMs, keyId }) {
      report({ chain: name, seq, id: '', type: anchorRecord.type, atMs, fault: 'inserted', detail: `its signature is not that of key ${keyId}` })
    },
    end() {
      endChain()
      // Chains of which nothing is left but somebody's word that they were.
      for (const name of [...anchors.keys()]) judge(name).end()
      findings.sort((a, b) => (a.chain < b.chain ? -1 : a.chain > b.chain ? 1 : a.seq - b.seq))
      return { rows: chains.reduce((sum, { rows }) => sum + rows, 0), chains, findings, findingsOmitted: omitted }
    }
  }
}
