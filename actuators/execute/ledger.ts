// The command ledger: the one place that decides whether an effect happens, and happens once.
//
//   command:  (new) ──► accepted ──────────────────────────────────────────────────────► recorded
//   step:     (new) ──► accepted ──► begun(attempt) ──► applied | failed | unknown ──► verified | unverified ──► recorded
//                          │           └──► begun(attempt+1), only after the driver's class allowed it             ▲
//                          └── never begun (skipped, refused, not needed) ────────────────────────────────────────┘
//
// Each arrow is one durable transaction; an arrow that is not drawn is a bug and throws; `recorded` rows never change.
// The outcome lies in the outbox from the same transaction as `recorded`, so that a crash can neither lose nor fork it; its place in
// the ledger's audit chain is durable before it is published, so that what is published again is the same record.
// After a crash the open rows are the whole truth: only the gap between `begun` and its successor is ambiguous.
// Longer than 300 lines because every transaction of the protocol stands here, and nowhere else.

import { emptyChain, sealRecord, type SealedRecord } from '../../schemas/audit.ts'
import type { Command } from '../../schemas/command.ts'
import { assert } from '../../schemas/errors.ts'
import { derivedId } from '../../schemas/ids.ts'
import { type Outcome, outcomeRecord } from '../../schemas/outcome.ts'
import type { LedgerKind, LedgerRows, LedgerStore } from '../../schemas/ports.ts'
import type {
  AuditHeadRow,
  CommandRow,
  LedgerRow,
  NonceRow,
  OutboxRow,
  OutcomeOutboxRow,
  PageOutboxRow,
  StepFinding,
  StepRow,
  StepState,
  TargetRow
} from './rows.ts'

/** Commands accepted and not yet recorded; beyond it the log keeps them (retry). One runs for minutes, so this is hours of work. */
export const OPEN_COMMANDS_MAX = 1_000
/** Outbox rows looked at in one round; far above what a day without a channel leaves behind (one page an incident). */
const OUTBOX_ROWS_MAX = 5_000

const IDENTITY = 'identity'
const AUDIT_HEAD = 'audit'

const STEP_ARROWS: Readonly<Record<StepState, readonly StepState[]>> = {
  accepted: ['begun', 'recorded'],
  begun: ['begun', 'applied', 'failed', 'unknown'],
  applied: ['verified', 'unverified'],
  failed: ['unverified'],
  unknown: ['unverified'],
  verified: ['recorded'],
  unverified: ['recorded'],
  recorded: []
}

/** What `admit` answers: taken, seen before (no effect, no second outcome), or refused by a named check. */
export type Admission = { kind: 'accepted' } | { kind: 'duplicate' } | { kind: 'refused'; by: string; reason: string } | { kind: 'full' }

export type CommandLedger = ReturnType<typeof commandLedger>

/** The protocol over a LedgerStore. Every method is one transaction; what it returns is a copy. */
export function commandLedger(store: LedgerStore) {
  const inTransaction = <T>(work: (rows: LedgerRows) => T): T => store.transaction(work)
  return {
    /** Names this ledger for as long as it lives; `draw` is asked when it is new. */
    identity: (draw: () => string): string => inTransaction(rows => identityOf(rows, draw)),
    /**
     * Takes an authenticated command: command row, step rows, nonce and fence, all or nothing.
     * @param judge the checks that need no ledger and come first; a reason refuses
     * @param refusal makes the outcome of a refused command, recorded in the same transaction
     */
    admit(command: Command, nowMs: number, judge: Judge, refusal: (by: string, reason: string) => Outcome): Admission {
      return inTransaction(rows => {
        if (read<CommandRow>(rows, 'command', command.id)) return { kind: 'duplicate' }
        if (rows.openCount('command') >= OPEN_COMMANDS_MAX) return { kind: 'full' }
        const refused = judge.before() ?? ledgerRefusal(rows, command) ?? judge.after()
        if (refused === undefined) accept(rows, command, nowMs)
        else refuse(rows, command, nowMs, refusal(refused.by, refused.reason))
        return refused === undefined ? { kind: 'accepted' } : { kind: 'refused', ...refused }
      })
    },
    /** The outcome of a record that nobody vouches for: only the outbox remembers it, so it cannot stand in a real command's way. */
    recordForgery(outcome: Outcome): void {
      inTransaction(rows => {
        if (!read(rows, 'outbox', outcomeKey(outcome.id))) write<OutcomeOutboxRow>(rows, 'outbox', outboxOf(outcome))
      })
    },
    command: (id: string): CommandRow | undefined => inTransaction(rows => read<CommandRow>(rows, 'command', id)),
    step: (key: string): StepRow | undefined => inTransaction(rows => read<StepRow>(rows, 'step', key)),
    openCommandCount: (): number => inTransaction(rows => rows.openCount('command')),
    openCommands: (): CommandRow[] => inTransaction(rows => [...rows.open('command', OPEN_COMMANDS_MAX)] as unknown as CommandRow[]),
    /** Evidence is written once, before anything is done. */
    keepEvidence(commandId: string, evidence: Outcome['evidence']): void {
      inTransaction(rows => {
        const row = openCommand(rows, commandId)
        assert(row.begunAtMs === null, `evidence of ${commandId} after it had begun`)
        write(rows, 'command', { ...row, evidence })
      })
    },
    /**
     * accepted | begun → begun(attempt + 1), unless the target is frozen or, for a command that has not begun, fenced.
     * @returns the row, or why the step may not begin
     */
    begin(key: string, nowMs: number, patch: Partial<Pick<StepRow, 'baseline'>> = {}): StepRow | { refusedBy: 'target_frozen' | 'fence'; reason: string } {
      return inTransaction(rows => {
        const row = stepRow(rows, key)
        const command = openCommand(rows, row.commandId)
        for (const target of new Set([command.command.target, row.order.target])) {
          const frozen = read<TargetRow>(rows, 'fence', target)?.frozen
          if (frozen) return { refusedBy: 'target_frozen', reason: `${target} is frozen: ${frozen.reason} (look at it, then: homeostat release ${target})` }
        }
        const newest = read<TargetRow>(rows, 'fence', command.command.target)?.fence ?? 0
        if (command.begunAtMs === null) {
          if (command.command.fence < newest) return { refusedBy: 'fence', reason: `fence ${command.command.fence} is older than ${newest}` }
          write(rows, 'command', { ...command, begunAtMs: nowMs })
        }
        return move(rows, row, 'begun', { ...patch, attempt: row.attempt + 1, begunAtMs: row.begunAtMs ?? nowMs })
      })
    },
    /** begun → applied | failed | unknown. `unknown` freezes the command's target and the step's in the same transaction. */
    settle(key: string, state: 'applied' | 'failed' | 'unknown', nowMs: number, detail: string): StepRow {
      return inTransaction(rows => {
        const row = stepRow(rows, key)
        const target = openCommand(rows, row.commandId).command.target
        if (state === 'unknown') {
          for (const frozen of new Set([target, row.order.target])) freeze(rows, frozen, { sinceMs: nowMs, commandId: row.commandId, reason: detail })
        }
        return move(rows, row, state, { detail, ...(state === 'applied' ? { appliedAtMs: nowMs } : {}) })
      })
    },
    /** applied | failed | unknown → verified | unverified, with what was found. */
    verified(key: string, state: 'verified' | 'unverified', finding: StepFinding): StepRow {
      return inTransaction(rows => move(rows, stepRow(rows, key), state, finding))
    },
    /** When a step began to wait, and when that ended: a restart goes on with the same wait. */
    waited(key: string, waited: NonNullable<StepRow['waited']>): StepRow {
      return inTransaction(rows => {
        const row = stepRow(rows, key)
        assert(row.state === 'accepted', `step ${key} is ${row.state}: only a step that has not begun can wait`)
        return write<StepRow>(rows, 'step', { ...row, waited })
      })
    },
    /** A step that never begins keeps its reason, so that a restart does not judge it anew. */
    passOver(key: string, finding: StepFinding): StepRow {
      return inTransaction(rows => {
        const row = stepRow(rows, key)
        assert(row.state === 'accepted', `step ${key} is ${row.state}: only a step that has not begun can be passed over`)
        return write<StepRow>(rows, 'step', { ...row, ...finding })
      })
    },
    /** The undo of a step: its own key and row, made when the undo is decided upon. Returns the row that exists already after a crash. */
    openUndo(step: StepRow, act: { driver: string; target: string; verb: string; args: Readonly<Record<string, unknown>> }): StepRow {
      const key = undoKey(step.key)
      return inTransaction(rows => {
        const known = read<StepRow>(rows, 'step', key)
        if (known) return known
        const order = { idempotencyKey: key, target: act.target, verb: act.verb, args: act.args, fence: step.order.fence }
        return write<StepRow>(rows, 'step', newStep(step.commandId, 'undo', act.driver, order))
      })
    },
    /** Everything of the command → recorded, its outcome and page into the outbox: one transaction, the last one of a command. */
    record(commandId: string, outcome: Outcome, page: (known: PageOutboxRow | undefined) => PageOutboxRow | undefined): void {
      inTransaction(rows => {
        const row = openCommand(rows, commandId)
        for (const { idempotencyKey } of row.command.steps) {
          for (const key of [idempotencyKey, undoKey(idempotencyKey)]) {
            const step = read<StepRow>(rows, 'step', key)
            if (step) move(rows, step, 'recorded', {})
          }
        }
        write<CommandRow>(rows, 'command', { ...row, state: 'recorded', open: false })
        write<OutcomeOutboxRow>(rows, 'outbox', outboxOf(outcome))
        const known = read<PageOutboxRow>(rows, 'outbox', pageKey(outcome.incidentId))
        const wanted = page(known)
        if (wanted && wanted !== known) write<PageOutboxRow>(rows, 'outbox', wanted)
      })
    },
    page: (incidentId: string): PageOutboxRow | undefined => inTransaction(rows => read<PageOutboxRow>(rows, 'outbox', pageKey(incidentId))),
    outbox: (): OutboxRow[] => inTransaction(rows => [...rows.open('outbox', OUTBOX_ROWS_MAX)] as unknown as OutboxRow[]),
    /**
     * The outcome as the next record of this ledger's audit chain, the same each time it is asked for.
     * @param draw names the ledger when it is new
     */
    seal(key: string, draw: () => string): SealedRecord {
      return inTransaction(rows => {
        const row = outcomeRow(rows, key)
        if (row.sealed !== undefined) return row.sealed
        const known = read<AuditHeadRow>(rows, 'ledger', AUDIT_HEAD)
        const { sealed, head } = sealRecord(outcomeRecord, row.outcome, known ?? emptyChain(`act/${identityOf(rows, draw)}`))
        write<AuditHeadRow>(rows, 'ledger', { key: AUDIT_HEAD, open: true, ...head })
        write<OutcomeOutboxRow>(rows, 'outbox', { ...row, sealed })
        return sealed
      })
    },
    /** Marks an outcome as published. */
    sent(key: string): void {
      inTransaction(rows => {
        const { sealed: _published, ...row } = outcomeRow(rows, key)
        write<OutcomeOutboxRow>(rows, 'outbox', { ...row, open: false })
      })
    },
    /** Replaces a page row by what `change` makes of the newest one: it may have been asked for more while a delivery ran. */
    changePage(key: string, change: (row: PageOutboxRow) => PageOutboxRow): void {
      inTransaction(rows => {
        const row = read<PageOutboxRow>(rows, 'outbox', key)
        assert(row, `page row ${key} is gone`)
        write(rows, 'outbox', change(row))
      })
    },
    frozenCount: (): number => inTransaction(rows => rows.openCount('fence')),
    /** A person has looked at the target. Only a release that is younger than the freeze counts: control records are read again after a restart. */
    release(target: string, atMs: number): boolean {
      return inTransaction(rows => {
        const row = read<TargetRow>(rows, 'fence', target)
        if (!row?.frozen || row.frozen.sinceMs > atMs) return false
        write<TargetRow>(rows, 'fence', { ...row, open: false, frozen: null })
        return true
      })
    },
    close: (): void => store.close()
  }
}

/** Checks around those of the ledger, in the order of the protocol. */
export interface Judge {
  before(): { by: string; reason: string } | undefined
  after(): { by: string; reason: string } | undefined
}

/** The key of a step's undo. */
export const undoKey = (stepKey: string): string => derivedId('undo', stepKey)
export const pageKey = (incidentId: string): string => `page/${incidentId}`
const outcomeKey = (outcomeId: string): string => `outcome/${outcomeId}`

function ledgerRefusal(rows: LedgerRows, command: Command): { by: string; reason: string } | undefined {
  const nonce = read<NonceRow>(rows, 'nonce', command.nonce)
  if (nonce) return { by: 'nonce', reason: `the nonce was used by command ${nonce.commandId}` }
  const fence = read<TargetRow>(rows, 'fence', command.target)?.fence
  if (fence !== undefined && command.fence <= fence) return { by: 'fence', reason: `fence ${command.fence} of ${command.target} is not newer than ${fence}` }
  for (const { idempotencyKey, name } of command.steps) {
    const step = read<StepRow>(rows, 'step', idempotencyKey)
    if (step) return { by: 'idempotency_key', reason: `step ${name} has the idempotency key of a step of command ${step.commandId}` }
  }
  return undefined
}

function accept(rows: LedgerRows, command: Command, nowMs: number): void {
  write<CommandRow>(rows, 'command', { key: command.id, open: true, state: 'accepted', command, receivedAtMs: nowMs, evidence: null, begunAtMs: null })
  for (const { idempotencyKey, step } of command.steps) {
    const { driver, verb, args, target = command.target } = step.action
    write<StepRow>(
      rows,
      'step',
      newStep(command.id, command.undoes === undefined ? 'act' : 'undo', driver, { idempotencyKey, target, verb, args, fence: command.fence })
    )
  }
  write<NonceRow>(rows, 'nonce', { key: command.nonce, open: false, commandId: command.id, seenAtMs: nowMs, expiresAtMs: command.expiresAtMs })
  const target = read<TargetRow>(rows, 'fence', command.target)
  write<TargetRow>(rows, 'fence', { key: command.target, open: false, frozen: null, ...target, fence: command.fence })
}

/** A refused command is recorded at once; its nonce is burnt, its fence and its keys are not. */
function refuse(rows: LedgerRows, command: Command, nowMs: number, outcome: Outcome): void {
  const row: CommandRow = { key: command.id, open: false, state: 'recorded', command, receivedAtMs: nowMs, evidence: null, begunAtMs: null }
  write(rows, 'command', row)
  if (!read(rows, 'nonce', command.nonce)) {
    write<NonceRow>(rows, 'nonce', { key: command.nonce, open: false, commandId: command.id, seenAtMs: nowMs, expiresAtMs: command.expiresAtMs })
  }
  write<OutcomeOutboxRow>(rows, 'outbox', outboxOf(outcome))
}

function newStep(commandId: string, kind: StepRow['kind'], driver: string, order: StepRow['order']): StepRow {
  const nothing = { attempt: 0, begunAtMs: null, appliedAtMs: null, detail: '', baseline: [], result: null, reason: '', refusedBy: null, healedAtMs: null }
  return { key: order.idempotencyKey, open: true, state: 'accepted', commandId, kind, driver, order, ...nothing }
}

function freeze(rows: LedgerRows, target: string, frozen: NonNullable<TargetRow['frozen']>): void {
  const row = read<TargetRow>(rows, 'fence', target)
  write<TargetRow>(rows, 'fence', { key: target, open: true, fence: row?.fence ?? 0, frozen })
}

function move(rows: LedgerRows, row: StepRow, to: StepState, patch: Partial<StepRow>): StepRow {
  assert(STEP_ARROWS[row.state].includes(to), `step ${row.key}: ${row.state} → ${to} is no arrow of the protocol`)
  return write<StepRow>(rows, 'step', { ...row, ...patch, state: to, open: to !== 'recorded' })
}

function stepRow(rows: LedgerRows, key: string): StepRow {
  const row = read<StepRow>(rows, 'step', key)
  assert(row, `the ledger has no step ${key}`)
  return row
}

function outcomeRow(rows: LedgerRows, key: string): OutcomeOutboxRow {
  const row = read<OutcomeOutboxRow>(rows, 'outbox', key)
  assert(row, `outbox row ${key} is gone`)
  return row
}

function identityOf(rows: LedgerRows, draw: () => string): string {
  const known = read<LedgerRow>(rows, 'ledger', IDENTITY)
  return (known ?? write<LedgerRow>(rows, 'ledger', { key: IDENTITY, open: true, id: draw() })).id
}

function openCommand(rows: LedgerRows, id: string): CommandRow {
  const row = read<CommandRow>(rows, 'command', id)
  assert(row, `the ledger has no command ${id}`)
  assert(row.state === 'accepted', `command ${id} is ${row.state}: its row never changes again`)
  return row
}

const outboxOf = (outcome: Outcome): OutcomeOutboxRow => ({ key: outcomeKey(outcome.id), open: true, kind: 'outcome', outcome })

function read<Row>(rows: LedgerRows, kind: LedgerKind, key: string): Row | undefined {
  return rows.get(kind, key) as Row | undefined
}

function write<Row extends { key: string }>(rows: LedgerRows, kind: LedgerKind, row: Row): Row {
  rows.put(kind, row.key, row as unknown as Readonly<Record<string, unknown>>)
  return row
}
