// From what the steps came to, to the one outcome of a command.

import type { Command } from '../../schemas/command.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Outcome, Verdict } from '../../schemas/outcome.ts'
import { noEvidence } from './evidence.ts'
import type { CommandRow, StepFinding } from './rows.ts'

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
