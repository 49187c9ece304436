// An outcome as one row of homeostat_outcomes and a row of homeostat_checks for each check result of its steps.

import type { CheckResult, Outcome, StepResult } from '../../../schemas/outcome.ts'
import { count, float, msText, nullableMsText, type Row, serviceName, type TableRow } from './values.ts'

/** @param common Timestamp and RecordId of the outcome */
export function outcomeRows(outcome: Outcome, common: Row): TableRow[] {
  const shared = {
    OutcomeId: outcome.id,
    CommandId: outcome.commandId,
    IncidentId: outcome.incidentId,
    TraceId: outcome.incidentId,
    Environment: outcome.environment,
    Target: outcome.target,
    ServiceName: serviceName(outcome.target)
  }
  const rows: TableRow[] = [{ table: 'homeostat_outcomes', row: { ...common, ...shared, ...outcomeColumns(outcome) } }]
  for (const step of outcome.steps) {
    for (const [index, check] of step.checks.entries()) {
      const row = { ...shared, ...checkColumns(step, check), Timestamp: msText(check.atMs), RecordId: `${outcome.id}/${step.name}/${index}` }
      rows.push({ table: 'homeostat_checks', row })
    }
  }
  return rows
}

function outcomeColumns(outcome: Outcome): Row {
  const steps = (matches: (step: StepResult) => boolean): number => outcome.steps.filter(matches).length
  return {
    DecisionId: outcome.decisionId,
    Runbook: outcome.runbook,
    Policy: outcome.policy,
    Attempt: count(outcome.attempt),
    Verdict: outcome.verdict,
    Reason: outcome.reason,
    RefusedBy: outcome.refusedBy ?? '',
    ReceivedAt: msText(outcome.receivedAtMs),
    BegunAt: nullableMsText(outcome.begunAtMs),
    HealedAt: nullableMsText(outcome.healedAtMs),
    RecordedAt: msText(outcome.recordedAtMs),
    Cost: float(outcome.cost),
    Escalated: outcome.escalated,
    StepsCount: outcome.steps.length,
    StepsApplied: steps(step => step.result === 'applied'),
    StepsUndone: steps(step => step.undo === 'undone'),
    UndosFailed: steps(step => step.undo === 'failed')
  }
}

function checkColumns(step: StepResult, check: CheckResult): Row {
  return {
    StepName: step.name,
    IdempotencyKey: step.idempotencyKey,
    CheckName: check.name,
    CheckType: check.type,
    Result: check.result,
    Value: check.value,
    Samples: count(check.samples, Number.MAX_SAFE_INTEGER),
    Expect: check.expect,
    Detail: check.detail
  }
}
