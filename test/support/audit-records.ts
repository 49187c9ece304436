// A chain of records as one writer makes it, and as the store role lays it into ClickHouse: for tests and the benchmark.

import { generateKeyPairSync } from 'node:crypto'
import { publicKeyId } from '../../actuators/execute/signer.ts'
import { recordRows } from '../../pipeline/store/rows/record-rows.ts'
import type { TableRow } from '../../pipeline/store/rows/values.ts'
import { type Anchor, anchorRecord, signAnchor } from '../../schemas/anchor.ts'
import { type AuditHead, emptyChain, type SealedRecord, sealedInput, sealRecord } from '../../schemas/audit.ts'
import { commandRecord } from '../../schemas/command.ts'
import { type Decision, decisionRecord } from '../../schemas/decision.ts'
import { encodeRecord, type RecordType } from '../../schemas/envelope.ts'
import { outcomeRecord } from '../../schemas/outcome.ts'
import type { LogRecordInput, Store } from '../../schemas/ports.ts'
import { aCommand, aDecision, anOutcome, aStep } from './store-records.ts'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
export const PUBLIC_KEY_PEM = publicKey.export({ type: 'spki', format: 'pem' }).toString()
export const KEY_ID = publicKeyId(PUBLIC_KEY_PEM)
/** Keys that may sign anchors, as verification takes them. */
export const KEYS = { [KEY_ID]: PUBLIC_KEY_PEM }

const GUARD_NAMES = ['evidence', 'freshness', 'ownership', 'cooldown', 'blast_radius', 'approval', 'autonomy', 'kill_switch'] as const
/** Of the size that decisions really have with all of their guards: about 4 kB. */
const GUARDS: Decision['guards'] = [...GUARD_NAMES, ...GUARD_NAMES].map(guard => ({
  guard,
  verdict: 'allow',
  inputs: { causeScore: 0.8731, membersCount: 4, confirmForMs: 0, target: 'shop/orders@orders-1', note: 'é "quoted" \\ {[' },
  reason: 'the cause is sure enough: 0.87 of at least 0.5, from 4 anomalies of 2 services',
  counterfactual: '',
  retryAtMs: null
}))

export interface ChainRecord {
  sealed: SealedRecord
  head: AuditHead
  atMs: number
}

/** Decisions, commands and outcomes in turn, one every `everyMs`. */
export function* chainRecords(chain: string, count: number, startMs: number, everyMs = 100): Generator<ChainRecord> {
  let head = emptyChain(chain)
  const next = <T>(type: RecordType<T>, record: T, atMs: number): ChainRecord => {
    const made = sealRecord(type, record, head)
    head = made.head
    return { ...made, atMs }
  }
  for (let seq = 1; seq <= count; seq++) {
    const id = `${chain}-${seq}`
    const atMs = startMs + seq * everyMs + 0.25
    if (seq % 3 === 1) yield next(decisionRecord, aDecision(id, `incident of ${id}`, { guards: GUARDS, decidedAtMs: atMs, blockedBy: ['cooldown'] }), atMs)
    else if (seq % 3 === 2) yield next(commandRecord, { ...aCommand(), id, issuedAtMs: atMs, startedAtMs: atMs - 5_000.125, cause: { entity: 'e' } }, atMs)
    else yield next(outcomeRecord, anOutcome(id, 'i', 'd', { recordedAtMs: atMs, steps: [aStep()], healedAtMs: null, cost: 0.1 }), atMs)
  }
}

/** The row of its table. */
export function storedRow(input: LogRecordInput): TableRow {
  const made = recordRows({ value: input.value, headers: input.headers ?? {} })
  if (!made.ok) throw new Error(made.reason)
  return made.rows[0]!
}

export const chainRow = ({ sealed }: ChainRecord): TableRow => storedRow(sealedInput(sealed))
export const anchorRow = (anchor: Anchor): TableRow => storedRow(encodeRecord(anchorRecord, anchor))
/** The signature under the chain as it was after the record. */
export const anchorAfter = ({ head, atMs }: ChainRecord): Anchor => signAnchor(head, atMs + 500, KEY_ID, privateKey)

/** Inserts rows of any tables. @param token unique a call */
export async function insertRows(store: Pick<Store, 'insert'>, rows: readonly TableRow[], token: string): Promise<void> {
  for (const [table, own] of Map.groupBy(rows, row => row.table))
    await store.insert(
      table,
      own.map(({ row }) => row),
      { token: `${token}/${table}` }
    )
}
