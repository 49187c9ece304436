// A step's row and what was found out, as the record that the outcome carries.

import type { CommandStep } from '../../schemas/command.ts'
import type { StepResult } from '../../schemas/outcome.ts'
import type { Verification } from '../verify/verify.ts'
import type { StepFinding, StepRow } from './rows.ts'

/** What a step that was called came to. */
export function finding(row: StepRow, step: CommandStep, result: StepResult['result'], verification: Verification | undefined): StepFinding {
  const reason = verification?.reason ?? row.detail
  return { result: resultOf(row, step, result, verification), reason, refusedBy: null, healedAtMs: verification?.healedAtMs ?? null }
}

/** The step as the outcome shows it. */
export function resultOf(row: StepRow, step: CommandStep, result: StepResult['result'], verification: Verification | undefined): StepResult {
  return {
    idempotencyKey: row.key,
    name: step.name,
    driver: row.driver,
    verb: row.order.verb,
    target: row.order.target,
    result,
    detail: row.detail,
    waited: row.waited ?? null,
    begunAtMs: row.begunAtMs,
    appliedAtMs: row.appliedAtMs,
    verdict: verification?.verdict ?? (result === 'unknown' ? 'unknown' : null),
    checks: verification?.checks ?? [],
    undo: 'none'
  }
}
