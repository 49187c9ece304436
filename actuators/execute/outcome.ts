// From what the steps came to, to the one outcome of a command.

import type { Command } from '../../schemas/command.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Outcome, Verdict } from '../../schemas/outcome.ts'
import type { LogRecord } from '../../schemas/ports.ts'
import { noEvidence } from './evidence.ts'
import type { CommandRow, StepFinding } from './rows.ts'
import type { Refusal } from './signer.ts'

const CLAIM_LENGTH_MAX = 64 // Of ids that nobody vouches for, in a reason.

/** The outcome's id follows from the command's: a replay repeats it. */
export const outcomeIdOf = (commandId: string): string => derivedId('outcome', commandId)

/** @param findings of the steps that were come to, in order; at least one */
export function outcomeOf(row: CommandRow, findings: readonly StepFinding[], recordedAtMs: number, escalated: boolean): Outcome {
  const { verdict, reason, refusedBy, healedAtMs } = summary(findings)
  const acted = findings.some(({ result }) => result.begunAtMs !== null)
  return {
    ...common(row.command, row.receivedAtMs, recordedAtMs),
    verdict,
    reason,
    refusedBy,
    steps: findings.map(({ result }) => result),
    evidence: row.evidence ?? noEvidence(),
    begunAtMs: row.begunAtMs,
    healedAtMs,
    cost: acted ? row.command.cost : 0,
    escalated
  }
}

/** The outcome of a command that was never taken. */
export function refusalOf(command: Command, id: string, nowMs: number, by: string, reason: string): Outcome {
  const nothing = { steps: [], evidence: noEvidence(), begunAtMs: null, healedAtMs: null, cost: 0, escalated: false }
  return { ...common(command, nowMs, nowMs), id, verdict: 'refused', reason, refusedBy: by, ...nothing }
}

/**
 * The outcome of a record that is not what it says, or from nobody who may command. Its ids follow from the record's place, not from what
 * it claims: neither may it stand in the way of the real command of that id, nor may its outcome pass for that command's with whoever
 * waits for it. What it claims is told in words.
 */
export function forgedOutcome({ topic, partition, offset }: LogRecord, command: Command, nowMs: number, { by, reason }: Refusal): Outcome {
  const id = derivedId('outcome', 'forged', topic, partition, offset)
  const claims = `it claims to be command ${command.id.slice(0, CLAIM_LENGTH_MAX)} of incident ${command.incidentId.slice(0, CLAIM_LENGTH_MAX)}`
  const refusal = refusalOf(command, id, nowMs, by, `${reason}; nothing in the command is authenticated, ${claims}`)
  return { ...refusal, commandId: id, incidentId: id, decisionId: id }
}

/** What the steps together say: the last one that acted decides; nothing done at all is a refusal by what stopped it. */
export function summary(findings: readonly StepFinding[]): { verdict: Verdict; reason: string; refusedBy: string | null; healedAtMs: number | null } {
  const acted = findings.filter(({ result }) => result.begunAtMs !== null)
  const last = acted.at(-1)
  const stop = findings.at(-1)!
  if (last === undefined) return { verdict: 'refused', reason: stop.reason, refusedBy: stop.refusedBy, healedAtMs: null }
  const stopped = stop === last ? '' : `; then ${stop.result.name} did not begin: ${stop.reason}`
  // A driver that did nothing left things as they were.
  const verdict = last.result.verdict ?? acted.findLast(({ result }) => result.verdict !== null)?.result.verdict ?? 'ineffective'
  return { verdict, reason: `${last.result.name}: ${last.reason}${stopped}`, refusedBy: null, healedAtMs: verdict === 'healed' ? last.healedAtMs : null }
}

function common(command: Command, receivedAtMs: number, recordedAtMs: number) {
  const { incidentId, decisionId, environment, target, runbook, policy, attempt } = command
  return {
    id: outcomeIdOf(command.id),
    commandId: command.id,
    incidentId,
    decisionId,
    environment,
    target,
    runbook,
    policy,
    attempt,
    receivedAtMs,
    recordedAtMs
  }
}
