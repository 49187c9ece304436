// Cost budget: what acting may cost within a window, by class of actions (`driver/verb`) or altogether (`*`), over the whole
// environment. A command is charged when it is issued; one that was refused cost nothing.

import { actionsOf } from '../command.ts'
import { type Attempt, attemptsIn } from '../state.ts'
import { allow, type Guard, refuse, span, wait } from './guard.ts'

const EVERY_ACTION = '*'

export const costBudget: Guard = ({ nowMs, incident, policy, runbook, state }) => {
  const { costBudgets } = policy.spec
  const { cost } = runbook.spec
  const actions = actionsOf(runbook.spec.steps)
  const own = costBudgets.filter(({ action }) => action === EVERY_ACTION || actions.includes(action))
  const charged = own.length === 0 ? [] : attemptsIn(state, incident.environment, attempt => attempt.verdict !== 'refused' && (attempt.cost ?? 0) > 0)
  for (const { action, max, window } of own) {
    const inWindow = charged
      .filter(attempt => attempt.issuedAtMs > nowMs - window && (action === EVERY_ACTION || attempt.actions?.includes(action)))
      .sort((a, b) => a.issuedAtMs - b.issuedAtMs)
    const spent = inWindow.reduce((sum, attempt) => sum + attempt.cost!, 0)
    if (spent + cost <= max) continue
    const inputs = { action, cost, spent, max, windowMs: window }
    const reason = `${action} has cost ${spent} of ${max} within ${span(window)}, and ${runbook.name} costs ${cost}`
    if (cost > max) return refuse('cost_budget', inputs, reason, `A budget of at least ${cost}, or a cheaper runbook.`)
    return wait('cost_budget', inputs, reason, `A budget of at least ${spent + cost}, or time.`, refillMs(inWindow, spent + cost - max) + window)
  }
  const inputs = { action: actions.join(', '), cost, spent: null, max: null, windowMs: null }
  return allow('cost_budget', inputs, own.length === 0 ? 'no cost budget applies' : `${runbook.name} costs ${cost}, which every budget holds`)
}

/** Issue time of the command whose leaving frees at least `excess`, the oldest leaving first. */
function refillMs(inWindow: readonly Attempt[], excess: number): number {
  let freed = 0
  for (const attempt of inWindow) {
    freed += attempt.cost!
    if (freed >= excess) return attempt.issuedAtMs
  }
  return inWindow.at(-1)?.issuedAtMs ?? 0
}
