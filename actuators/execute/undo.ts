// The undo of a step that did no good: an effect of its own, and itself verified.
//
// Its row is opened when the undo is decided upon; after a crash the row says how far it came. It holds as undone only
// when everything that passed before the act passes again. What a command did that has its outcome already is taken back by
// a command of its own (`undoes`), whose step is that undo: judged here in the same way.

import type { CommandStep } from '../../schemas/command.ts'
import type { Verdict } from '../../schemas/outcome.ts'
import { verifyUndone } from '../verify/verify.ts'
import { latestBeginMs, stepBudgetMs } from './admission.ts'
import type { ExecuteContext } from './context.ts'
import { performEffect } from './effect.ts'
import { finding } from './findings.ts'
import type { CommandRow, StepRow } from './rows.ts'

/** @returns undefined when the actuator is closing: the undo's row carries on next time */
export async function undoStep(
  context: ExecuteContext,
  command: CommandRow,
  index: number,
  acted: StepRow
): Promise<{ undo: 'undone' | 'failed'; reason: string } | undefined> {
  const act = command.command.steps[index]!.step.undo!
  let row = context.ledger.openUndo(acted, { ...act, target: act.target ?? acted.order.target })
  if (row.result === null) {
    const decided = await decideUndo(context, command, index, acted, row)
    if (decided === undefined) return undefined
    row = decided
    context.meter.count('homeostat.act.undos', 1, { state: row.state })
  }
  return { undo: row.state === 'verified' ? 'undone' : 'failed', reason: row.reason }
}

async function decideUndo(context: ExecuteContext, command: CommandRow, index: number, acted: StepRow, row: StepRow): Promise<StepRow | undefined> {
  const step = command.command.steps[index]!
  // The undo may use the time of its step's budget: it belongs to that act and is no new decision.
  const untilMs = latestBeginMs(command.command, index) + stepBudgetMs(step.step)
  const effect = await performEffect(context, row, { command: command.command, timeoutMs: step.step.timeout, latestBeginMs: untilMs })
  if (effect.kind === 'not_begun') {
    if (effect.refusedBy === 'closing') return undefined
    const refused = { ...finding(row, step, 'refused', undefined), reason: effect.reason, refusedBy: effect.refusedBy }
    return context.ledger.passOver(row.key, refused)
  }
  const { state, appliedAtMs, begunAtMs, key } = effect.row
  if (state !== 'applied') return context.ledger.verified(key, 'unverified', finding(effect.row, step, state === 'failed' ? 'failed' : 'unknown', undefined))
  const held = await verifyUndone(context, {
    subject: { command: command.command, actTarget: acted.order.target, sinceMs: begunAtMs! },
    step: step.step,
    appliedAtMs: appliedAtMs!,
    baseline: acted.baseline,
    signal: context.stopping
  })
  if (held === undefined) return undefined
  const found = finding(effect.row, step, 'applied', undefined)
  const reason = held ? found.reason : `${found.reason}; what passed before the act does not pass again`
  return context.ledger.verified(key, held ? 'verified' : 'unverified', { ...found, reason })
}

/** The verdict of a command that takes the act of the command `undoes` back. @returns undefined when the actuator is closing */
export async function judgeTakingBack(
  context: ExecuteContext,
  command: CommandRow,
  step: CommandStep,
  row: StepRow,
  undoes: string
): Promise<StepRow | undefined> {
  const said = (state: 'verified' | 'unverified', verdict: Verdict, reason: string): StepRow => {
    const found = finding(row, step, row.state === 'failed' ? 'failed' : 'applied', { verdict, reason, checks: [], healedAtMs: null })
    // Counted as the undo within a command is (M7).
    return context.ledger.verified(row.key, state, { ...found, result: { ...found.result, undo: state === 'verified' ? 'undone' : 'failed' } })
  }
  if (row.state === 'failed') return said('unverified', 'inconclusive', `${row.detail}; what ${undoes} did is still there`)
  const key = context.ledger.command(undoes)?.command.steps.find(({ name }) => name === step.name)?.idempotencyKey
  const acted = key === undefined ? undefined : context.ledger.step(key)
  if (acted === undefined || acted.baseline.length === 0)
    return said('unverified', 'inconclusive', `${row.detail}; how it was before ${undoes} is not known here`)
  const held = await verifyUndone(context, {
    subject: { command: command.command, actTarget: row.order.target, sinceMs: row.begunAtMs! },
    step: step.step,
    appliedAtMs: row.appliedAtMs!,
    baseline: acted.baseline,
    signal: context.stopping
  })
  if (held === undefined) return undefined
  if (!held) return said('unverified', 'inconclusive', `${row.detail}; what passed before the act does not pass again`)
  return said('verified', 'undone', `${row.detail}; what passed before ${undoes} passes again`)
}
