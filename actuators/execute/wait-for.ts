// The wait of a step: until its `waitFor` holds nothing is done, and when it does not hold in time nothing was done.
//
//   accepted ─► waiting (since, in the ledger) ──all checks pass──► the step goes on
//                  ├──timeout, expiry──► refused by `wait_for`
//                  └──a gate closes (kill switch, planned work, the incident is over)──► refused by that gate
//
// A crash neither lengthens nor forgets a wait: the time from its first look on counts. A command that waits holds its place
// among those that run (act.concurrencyMax) and its targets, as one that acts does.

import { lookAtAll } from '../verify/checks.ts'
import { LOOK_INTERVAL_MS } from '../verify/verify.ts'
import { latestBeginMs } from './admission.ts'
import type { ExecuteContext } from './context.ts'
import { closedGate, type Gate } from './gates.ts'
import type { CommandRow, StepRow } from './rows.ts'

export type Waited = { kind: 'held'; row: StepRow } | { kind: 'given_up'; row: StepRow; refusedBy: 'wait_for' | Gate; reason: string } | { kind: 'closing' }

/** Waits for what the step waits for. A step without `waitFor` has nothing to wait for. */
export async function waitForStep(context: ExecuteContext, command: CommandRow, index: number, row: StepRow): Promise<Waited> {
  const step = command.command.steps[index]!
  const plan = step.step.waitFor
  if (plan === undefined) return { kind: 'held', row }
  const { clock, ledger, logger } = context
  const sinceMs = row.waited?.sinceMs ?? clock.nowMs()
  let current = row.waited === undefined ? ledger.waited(row.key, { sinceMs, untilMs: null }) : row
  const untilMs = Math.min(sinceMs + plan.timeout, latestBeginMs(command.command, index))
  // Measured by what runs on evenly; a clock that was set back must not make a wait longer than it was meant to be.
  const endMs = clock.monotonicMs() + Math.min(plan.timeout, Math.max(0, untilMs - clock.nowMs()))
  logger.info({ commandId: row.commandId, target: row.order.target, untilMs }, 'a step waits before it acts')
  for (;;) {
    const looks = await lookAtAll(context, { command: command.command, actTarget: row.order.target, sinceMs: null }, plan.checks)
    if (context.stopping.aborted) return { kind: 'closing' }
    // Asked again at the act itself, after reading to the end of their topics; here a closed gate need only be seen soon.
    const stop = closedGate(context, command.command, current)
    const lacking = looks.filter(({ result }) => result.result !== 'pass')
    const isOver = clock.monotonicMs() >= endMs
    if (stop !== undefined || lacking.length === 0 || isOver) {
      current = ledger.waited(row.key, { sinceMs, untilMs: Math.max(sinceMs, clock.nowMs()) })
      if (stop !== undefined) return { kind: 'given_up', row: current, ...stop }
      if (lacking.length === 0) return { kind: 'held', row: current }
      const why = lacking.map(({ result }) => `${result.name} (${result.detail})`).join('; ')
      return { kind: 'given_up', row: current, refusedBy: 'wait_for', reason: `${waitedText(current.waited!)} in vain for ${why}` }
    }
    await clock.sleep(LOOK_INTERVAL_MS, context.stopping)
    if (context.stopping.aborted) return { kind: 'closing' }
  }
}

/** `waited 12 s`, for reasons that people read. */
function waitedText({ sinceMs, untilMs }: { sinceMs: number; untilMs: number | null }): string {
  return `waited ${Math.round(((untilMs ?? sinceMs) - sinceMs) / 1_000)} s`
}
