// One step of a command, from its condition to its verdict, and its undo when it did no good.
//
// Re-entrant: it begins where the step's ledger row stands, so a run after a crash and a first run are the same code.
//   accepted ─ (evidence, wait)? ─ facts, condition, evidence, baseline ─► effect ─► verify ─► undo? ─► result
// The undo is an effect of its own (key, row), and is itself verified.

import type { CommandStep } from '../../schemas/command.ts'
import type { CheckResult } from '../../schemas/outcome.ts'
import type { Observation } from '../../schemas/ports.ts'
import { factsOf, lookAtAll, scope } from '../verify/checks.ts'
import { STEP_VARIABLES } from '../verify/conditions.ts'
import type { Direction } from '../verify/verdict.ts'
import { verify } from '../verify/verify.ts'
import { latestBeginMs } from './admission.ts'
import type { ExecuteContext } from './context.ts'
import { type EffectInput, performEffect } from './effect.ts'
import { captureEvidence } from './evidence.ts'
import { finding, resultOf } from './findings.ts'
import type { CommandRow, StepFinding, StepRow } from './rows.ts'
import { judgeTakingBack, undoStep } from './undo.ts'
import { waitForStep } from './wait-for.ts'

const OBSERVE_MS_MAX = 5_000 // Facts that take longer are unknown facts.

/** @returns undefined when the actuator is closing: the ledger's row carries on next time */
export async function runStep(context: ExecuteContext, command: CommandRow, index: number): Promise<StepFinding | undefined> {
  const step = command.command.steps[index]!
  const key = step.idempotencyKey
  let row = context.ledger.step(key)!
  if (row.state === 'accepted' && row.result === null) {
    // What ends a wait is acted on at once: how things looked is kept before it.
    const witnessed = step.step.waitFor === undefined ? command : await keepEvidence(context, command, row)
    if (witnessed === undefined) return undefined
    const waited = await waitForStep(context, witnessed, index, row)
    if (waited.kind === 'closing') return undefined
    row = waited.row
    if (waited.kind === 'given_up') return passOver(context, row, step, { ...waited, result: 'refused' })
    const prepared = await prepare(context, witnessed, step, row)
    if (prepared === 'closing') return undefined
    if ('refusedBy' in prepared) return passOver(context, row, step, prepared)
    const effect = await performEffect(context, row, effectInput(command, index, step, prepared.baseline))
    if (effect.kind === 'not_begun') return effect.refusedBy === 'closing' ? undefined : passOver(context, row, step, { ...effect, result: 'refused' })
    row = effect.row
  } else if (row.state === 'begun') {
    const effect = await performEffect(context, row, effectInput(command, index, step))
    // A row that has begun always settles, unless the actuator closes.
    if (effect.kind === 'not_begun') return undefined
    row = effect.row
  }
  if (row.result === null) {
    const judged = await judge(context, command, step, row)
    if (judged === undefined) return undefined
    row = judged
  }
  const found: StepFinding = { result: row.result!, reason: row.reason, refusedBy: row.refusedBy, healedAtMs: row.healedAtMs }
  if (step.step.undo === undefined || row.state === 'accepted') return found
  if (found.result.verdict !== 'ineffective' && found.result.verdict !== 'harmful') return found
  const undone = await undoStep(context, command, index, row)
  return undone === undefined ? undefined : { ...found, result: { ...found.result, undo: undone.undo }, reason: `${found.reason}; undo: ${undone.reason}` }
}

type Prepared = { baseline: CheckResult[] } | 'closing' | { refusedBy: string; reason: string; result: 'skipped' | 'refused' }

/** Facts read again now, the step's condition, the evidence and how the checks stand: everything before the durable `begun`. */
async function prepare(context: ExecuteContext, command: CommandRow, step: CommandStep, row: StepRow): Promise<Prepared> {
  const observed = await observe(context, row)
  const facts = factsOf(observed)
  if (step.step.when !== undefined) {
    const { answer, reason } = context.conditions.ask(step.step.when, STEP_VARIABLES, { ...scope(command.command), facts })
    const why = `condition ${step.step.when} over ${JSON.stringify(facts)}: ${reason}`
    if (answer === 'no') return { refusedBy: 'condition', reason: why, result: 'skipped' }
    // Unknown is not true, and a heavier step must not follow from not knowing.
    if (answer === 'unknown') return { refusedBy: 'condition', reason: why, result: 'refused' }
  }
  if ((await keepEvidence(context, command, row, facts)) === undefined) return 'closing'
  const looks = await lookAtAll(context, { command: command.command, actTarget: row.order.target, sinceMs: null }, step.step.verify.checks)
  return context.stopping.aborted ? 'closing' : { baseline: looks.map(look => look.result) }
}

/** Evidence is captured once a command, before anything is done. @returns its row; undefined when the actuator is closing */
async function keepEvidence(context: ExecuteContext, command: CommandRow, row: StepRow, facts?: Facts): Promise<CommandRow | undefined> {
  if (command.evidence !== null || command.begunAtMs !== null) return command
  const evidence = await captureEvidence(context, command.command, facts ?? factsOf(await observe(context, row)))
  if (context.stopping.aborted) return undefined
  context.ledger.keepEvidence(command.key, evidence)
  return context.ledger.command(command.key)!
}

type Facts = ReturnType<typeof factsOf>

async function observe(context: ExecuteContext, row: StepRow): Promise<Observation> {
  const abort = new AbortController()
  const unknown: Observation = { state: 'unknown', facts: {} }
  try {
    const late = context.clock.sleep(OBSERVE_MS_MAX, abort.signal).then(() => unknown)
    return await Promise.race([context.drivers.get(row.driver)?.observe(row.order.target) ?? unknown, late])
  } catch (error) {
    context.logger.warn({ commandId: row.commandId, target: row.order.target, error }, 'the target could not be observed; its facts are unknown')
    return unknown
  } finally {
    abort.abort('answered') // A reason of our own: the default one is an exception with a stack.
  }
}

function effectInput(command: CommandRow, index: number, step: CommandStep, baseline?: CheckResult[]): EffectInput {
  const input = { command: command.command, timeoutMs: step.step.timeout, latestBeginMs: latestBeginMs(command.command, index) }
  return baseline === undefined ? input : { ...input, baseline }
}

/** applied, failed or unknown → the verdict, in the ledger. */
async function judge(context: ExecuteContext, command: CommandRow, step: CommandStep, row: StepRow): Promise<StepRow | undefined> {
  if (command.command.undoes !== undefined && row.state !== 'unknown') return judgeTakingBack(context, command, step, row, command.command.undoes)
  if (row.state === 'failed') return context.ledger.verified(row.key, 'unverified', finding(row, step, 'failed', undefined))
  if (row.state === 'unknown') return context.ledger.verified(row.key, 'unverified', finding(row, step, 'unknown', undefined))
  const subject = { command: command.command, actTarget: row.order.target, sinceMs: row.begunAtMs! }
  const verification = await verify(context, {
    subject,
    step: step.step,
    appliedAtMs: row.appliedAtMs!,
    baseline: row.baseline,
    collateral: () => context.collateral(command.command, row.begunAtMs!),
    direction: check => directionOf(command, step, check),
    signal: context.stopping
  })
  if (verification === undefined) return undefined
  context.meter.count('homeostat.act.verdicts', 1, { verdict: verification.verdict })
  return context.ledger.verified(row.key, verification.verdict === 'healed' ? 'verified' : 'unverified', finding(row, step, 'applied', verification))
}

/** Which way the check's metric hurts: said by the incident's member of the same metric. */
function directionOf(command: CommandRow, step: CommandStep, name: string): Direction {
  const check = step.step.verify.checks.find(other => other.name === name)
  const members = (command.command.incident as { members?: unknown }).members
  if (check?.type !== 'metric' || !Array.isArray(members)) return undefined
  const member = members.find(other => other?.metric === check.metric && other?.entity === (check.entity ?? command.command.target))
  return member?.direction === 'above' || member?.direction === 'below' ? member.direction : undefined
}

/** A step that does not begin: the reason is kept, so that a restart does not judge anew. */
function passOver(
  context: ExecuteContext,
  row: StepRow,
  step: CommandStep,
  refused: { refusedBy: string; reason: string; result: 'skipped' | 'refused' }
): StepFinding {
  const { reason, refusedBy } = refused
  const result = { ...resultOf(row, step, refused.result, undefined), detail: `${refusedBy}: ${reason}` }
  const found = { result, reason, refusedBy, healedAtMs: null }
  context.ledger.passOver(row.key, found)
  return found
}
