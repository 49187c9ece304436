// One command from acceptance to its outcome: steps lightest first, the next only when the one before did not heal.
//
// Re-entrant like run-step: called again after a crash it walks the same steps, finds the decided ones in the ledger and
// goes on at the first that is not. Ends with one transaction: rows recorded, outcome and page in the outbox.

import type { StepResult } from '../../schemas/outcome.ts'
import { pageAfter } from '../escalate/page.ts'
import type { ExecuteContext } from './context.ts'
import { outcomeOf, summary } from './outcome.ts'
import type { CommandRow, StepFinding } from './rows.ts'
import { runStep } from './run-step.ts'

/** @returns false when the actuator is closing and the command goes on next time */
export async function runCommand(context: ExecuteContext, id: string): Promise<boolean> {
  const findings: StepFinding[] = []
  for (let index = 0; ; index++) {
    const row = context.ledger.command(id)!
    if (row.state === 'recorded') return true // It was, and what came after that failed.
    if (index >= row.command.steps.length) break
    const found = await runStep(context, row, index)
    if (found === undefined) return false
    findings.push(found)
    if (!mayGoOn(found.result)) break
  }
  record(context, context.ledger.command(id)!, findings)
  return true
}

/** After partial, ineffective, failed and skipped a heavier step may help. Harm, missing data and unknown effects are for people. */
function mayGoOn(result: StepResult): boolean {
  if (result.result === 'skipped' || result.result === 'failed') return true
  // An undo that failed leaves a state that nobody planned for.
  return result.result === 'applied' && (result.verdict === 'partial' || result.verdict === 'ineffective') && result.undo !== 'failed'
}

function record(context: ExecuteContext, row: CommandRow, findings: readonly StepFinding[]): void {
  const { ledger, clock, meter, logger, pageChannel } = context
  const nowMs = clock.nowMs()
  const { verdict, refusedBy } = summary(findings)
  // People are told of what was tried and did not help; a command that was stopped before it began did nothing to tell of.
  const failed = verdict !== 'healed' && verdict !== 'undone' && verdict !== 'refused'
  const outcome = outcomeOf(row, findings, nowMs, failed && pageChannel !== undefined)
  ledger.record(row.key, outcome, known => pageAfter(known, outcome, row.command, pageChannel))
  meter.count('homeostat.act.outcomes', 1, { verdict })
  if (refusedBy !== null) meter.count('homeostat.act.commands.refused', 1, { by: refusedBy })
  const { incidentId, target, healedAtMs, reason } = outcome
  logger.info({ commandId: row.key, incidentId, target, verdict, healedAtMs, reason }, 'a command has its outcome')
}
