// The audit chain: every decision, command and outcome names the one before it by hash, so that none can be changed, taken out,
// put in or moved unseen. A chain belongs to one writer (decide, or the ledger of one actuator), which keeps its head with its state.
//
//   hash = SHA-256("homeostat.audit.v1" LF, then each as length ':' utf8: chain, seq, prev, type, id, key, digest)
//   digest = SHA-256 of the payload's bytes, hex        prev = hash of the record before, 64 zeros for the first
//
// The hash covers the payload by its digest, so whoever holds the bytes (ClickHouse, the log) can digest them where they lie.
// A record is sealed once, before it is published for the first time, and kept as bytes until it is: a repeat is the same record.

import { hash } from 'node:crypto'
import { type RecordType, type TextRecord, textRecord } from './envelope.ts'
import type { LogRecord, LogRecordInput } from './ports.ts'

/** CloudEvents extensions that carry the link, as headers. */
const HEADERS = { chain: 'ce_auditchain', seq: 'ce_auditseq', prev: 'ce_auditprev', hash: 'ce_audithash' } as const
/** What the hashed bytes begin with. */
export const AUDIT_FORMAT = 'homeostat.audit.v1\n'
/** `prev` of a chain's first record. */
export const AUDIT_GENESIS = '0'.repeat(64)
const encoder = new TextEncoder()

/** Where a chain stands: the last record's place and hash. */
export interface AuditHead {
  /** The writer: `decide/<id>`, `act/<id of the ledger>`. */
  chain: string
  /** Dense, from 1; 0 before the first record. */
  seq: number
  /** Lower-case hex. */
  hash: string
}

/** A record's place in its chain. */
export interface AuditLink extends AuditHead {
  prev: string
}

/** One record as verification sees it, from whatever holds it. */
export interface AuditRow extends AuditLink {
  type: string
  id: string
  key: string
  /** SHA-256 of the payload's bytes, lower-case hex. */
  digest: string
  /** When the record says that it was made, epoch ms. */
  atMs: number
}

/** A record with its link in the headers: what a checkpoint or a ledger keeps until it is published. */
export type SealedRecord = TextRecord

/** A chain without a record. */
export function emptyChain(chain: string): AuditHead {
  return { chain, seq: 0, hash: AUDIT_GENESIS }
}

/**
 * The record as the next of its chain, and the chain's head from then on.
 * @throws AppError `bug` when it does not fit its schema
 */
export function sealRecord<T>(type: RecordType<T>, record: T, head: AuditHead): { sealed: SealedRecord; head: AuditHead } {
  const { key, text, headers } = textRecord(type, record)
  const seq = head.seq + 1
  const of = { chain: head.chain, seq, prev: head.hash, type: type.type, id: type.id(record), key, digest: hash('sha256', text) }
  const next = { chain: head.chain, seq, hash: auditHash(of) }
  const link = { [HEADERS.chain]: next.chain, [HEADERS.seq]: String(seq), [HEADERS.prev]: head.hash, [HEADERS.hash]: next.hash }
  return { sealed: { key, text, headers: { ...headers, ...link } }, head: next }
}

/** As the log takes it; the same bytes each time. */
export function sealedInput({ key, text, headers }: SealedRecord): LogRecordInput {
  return { key, value: encoder.encode(text), headers }
}

/** Hash of a record at its place in its chain, lower-case hex. */
export function auditHash({ chain, seq, prev, type, id, key, digest }: Omit<AuditRow, 'hash' | 'atMs'>): string {
  const parts = [chain, String(seq), prev, type, id, key, digest]
  return hash('sha256', AUDIT_FORMAT + parts.map(part => `${Buffer.byteLength(part)}:${part}`).join(''))
}

/** The link that the headers carry; undefined when they carry none that can be read. */
export function auditLink(headers: Readonly<Record<string, string>>): AuditLink | undefined {
  const { [HEADERS.chain]: chain, [HEADERS.seq]: seq, [HEADERS.prev]: prev, [HEADERS.hash]: own } = headers
  if (chain === undefined || seq === undefined || prev === undefined || own === undefined) return undefined
  if (chain === '' || !/^[1-9]\d{0,15}$/.test(seq) || !Number.isSafeInteger(Number(seq))) return undefined
  return { chain, seq: Number(seq), prev, hash: own }
}

/** A record of the log as verification sees it; undefined when it is in no chain. */
export function auditRow({ key, value, headers }: Pick<LogRecord, 'key' | 'value' | 'headers'>): AuditRow | undefined {
  const link = auditLink(headers)
  if (link === undefined || value === null) return undefined
  const digest = hash('sha256', value)
  return { ...link, type: headers.ce_type ?? '', id: headers.ce_id ?? '', key: key ?? '', digest, atMs: Date.parse(headers.ce_time ?? '') }
}
