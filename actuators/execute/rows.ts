// The rows of the command ledger: what is kept of a command, its steps, its targets and what still has to be sent.
//
// JSON values only. `open` marks work that a restart resumes. execute/ledger.ts writes them, nothing else does.

import type { AuditHead, SealedRecord } from '../../schemas/audit.ts'
import type { Command } from '../../schemas/command.ts'
import type { CheckResult, Outcome, StepResult } from '../../schemas/outcome.ts'
import type { DriverOrder } from '../../schemas/ports.ts'

export type CommandState = 'accepted' | 'recorded'

/** Key: command id. */
export interface CommandRow {
  key: string
  open: boolean
  state: CommandState
  command: Command
  receivedAtMs: number
  /** Captured before the first act; null until then. */
  evidence: Outcome['evidence'] | null
  /** When the first step began; null while nothing has. */
  begunAtMs: number | null
}

export type StepState = 'accepted' | 'begun' | 'applied' | 'failed' | 'unknown' | 'verified' | 'unverified' | 'recorded'

/** Key: idempotency key. One row an effect: a step's act, or its undo. */
export interface StepRow {
  key: string
  open: boolean
  state: StepState
  commandId: string
  kind: 'act' | 'undo'
  driver: string
  order: Omit<DriverOrder, 'deadlineMs'>
  /** How often the driver was called; 0 = never. */
  attempt: number
  begunAtMs: number | null
  /** Of a step with `waitFor`: from its first look on, until it ended (null: it goes on). */
  waited?: { sinceMs: number; untilMs: number | null }
  /** When the driver's call returned, or was found to have been applied. */
  appliedAtMs: number | null
  detail: string
  /** The checks as they stood just before the act: what "before" means in partial and harmful. */
  baseline: CheckResult[]
  /** Set once the step is decided: verified, unverified, or never begun (skipped, refused). */
  result: StepResult | null
  /** Why the result is what it is, one sentence. */
  reason: string
  /** The gate or condition that kept the step from beginning. */
  refusedBy: string | null
  /** From when on everything was good; null unless healed. */
  healedAtMs: number | null
}

/** What a step came to. */
export type StepFinding = Pick<StepRow, 'reason' | 'refusedBy' | 'healedAtMs'> & { result: StepResult }

/** Key: target. Holds the newest fence and whether the target is frozen. `open` = frozen. */
export interface TargetRow {
  key: string
  open: boolean
  fence: number
  frozen: { sinceMs: number; commandId: string; reason: string } | null
}

/** Key: nonce. */
export interface NonceRow {
  key: string
  open: false
  commandId: string
  seenAtMs: number
  /** Of its command: past it, and a margin for clocks, the row may be forgotten, for the expiry refuses a replay by itself. */
  expiresAtMs: number
}

/** Key: `identity`. Open, so that it is never pruned: another ledger has another id, and commands belong to one of them. */
export interface LedgerRow {
  key: string
  open: true
  id: string
}

/** Key: `audit`. Where the ledger's audit chain stands; open, so that it is never pruned. */
export interface AuditHeadRow extends AuditHead {
  key: string
  open: true
}

/** Key: `outcome/<outcome id>`. Open until the log has it. */
export interface OutcomeOutboxRow {
  key: string
  open: boolean
  kind: 'outcome'
  outcome: Outcome
  /** In its place of the audit chain, from just before it is published for the first time until it was. */
  sealed?: SealedRecord | undefined
}

/** Key: `page/<incident id>`. Open while people have not been told what they should be. */
export interface PageOutboxRow {
  key: string
  open: boolean
  kind: 'page'
  incidentId: string
  channel: string
  desired: 'trigger' | 'resolve'
  delivered: 'none' | 'trigger' | 'resolve'
  severity: 'critical' | 'warning' | 'info'
  summary: string
  details: Readonly<Record<string, unknown>>
  sinceMs: number
  attempts: number
  nextAtMs: number
}

export type OutboxRow = OutcomeOutboxRow | PageOutboxRow
