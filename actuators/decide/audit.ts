// Decide's part in the audit chain: it seals what it publishes, follows the actuators' chains, and signs where each of them stands.
//
// All of it is part of decide's state, so that a record's place is saved together with the record before it is published: what
// is repeated after a crash is the same record in the same place. A state that was rebuilt from the log begins a chain of its
// own, for it cannot know what was sealed last (infra/docs/decisions/0006-audit-chain.md).

import { type Anchor, anchorRecord } from '../../schemas/anchor.ts'
import { type AuditHead, type AuditRow, auditHash, emptyChain, type SealedRecord, sealRecord } from '../../schemas/audit.ts'
import { type RecordType, textRecord } from '../../schemas/envelope.ts'
import { derivedId } from '../../schemas/ids.ts'

export interface AuditState {
  /** Of decide's own chain; null before its first record. */
  own: AuditHead | null
  /** Of every chain, its own and those that outcomes came in, with the place that was signed last. The one heard of last is last. */
  heads: Record<string, AuditHead & { anchoredSeq: number }>
  anchoredAtMs: number | null
}

export type SignAnchor = (head: AuditHead, atMs: number) => Anchor

/** How often the heads that moved are signed. */
export const ANCHOR_INTERVAL_MS = 60_000
/** Chains that are followed: one a ledger. */
const CHAINS_MAX = 1_000

export function emptyAudit(): AuditState {
  return { own: null, heads: {}, anchoredAtMs: null }
}

/** The record as the next of decide's chain. */
export function seal<T>(audit: AuditState, type: RecordType<T>, record: T, nowMs: number): SealedRecord {
  audit.own ??= emptyChain(`decide/${derivedId('chain', type.id(record), nowMs)}`)
  const { sealed, head } = sealRecord(type, record, audit.own)
  audit.own = head
  follow(audit, head)
  return sealed
}

/**
 * Takes a record of another writer's chain in.
 * @returns why it is no continuation of what was heard before; undefined when it is, or was known
 */
export function hear(audit: AuditState, row: AuditRow): string | undefined {
  const known = audit.heads[row.chain]
  if (row.chain === audit.own?.chain || auditHash(row) !== row.hash) return `the hash of ${row.id} does not fit it`
  if (known !== undefined && row.seq <= known.seq) return undefined
  follow(audit, { chain: row.chain, seq: row.seq, hash: row.hash })
  if (known === undefined || (row.seq === known.seq + 1 && row.prev === known.hash)) return undefined
  return `record ${row.seq} of chain ${row.chain} does not follow ${known.seq}`
}

/** Signatures that are due: of each head that moved since its last, once a minute at most. */
export function anchorsDue(audit: AuditState, nowMs: number, sign: SignAnchor): SealedRecord[] {
  // A clock that was set back must not silence them.
  const isDue = audit.anchoredAtMs === null || Math.abs(nowMs - audit.anchoredAtMs) >= ANCHOR_INTERVAL_MS
  return isDue ? anchorsNow(audit, nowMs, sign) : []
}

/** Signatures of each head that moved since its last. */
export function anchorsNow(audit: AuditState, nowMs: number, sign: SignAnchor): SealedRecord[] {
  const moved = Object.values(audit.heads).filter(head => head.seq > head.anchoredSeq)
  if (moved.length === 0) return []
  audit.anchoredAtMs = nowMs
  return moved.map(head => {
    head.anchoredSeq = head.seq
    return textRecord(anchorRecord, sign(head, nowMs))
  })
}

function follow(audit: AuditState, head: AuditHead): void {
  const anchoredSeq = audit.heads[head.chain]?.anchoredSeq ?? 0
  delete audit.heads[head.chain]
  audit.heads[head.chain] = { ...head, anchoredSeq }
  const chains = Object.keys(audit.heads)
  if (chains.length > CHAINS_MAX) delete audit.heads[chains[0]!]
}
