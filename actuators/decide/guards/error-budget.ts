// Error budget: how bold automation may be follows from how much failure the service can still afford.
//
//   nothing left                      → everything asks
//   burning fast, or nothing known    → low risk acts, the rest asks
//   else                              → the policy's own level
//
// Read from what people or an SLO engine said (control topic) and from the incident's own anomalies: an error ratio of the
// target against the objective is a burn rate. Source: Beyer et al., "The Site Reliability Workbook" (2018), chapter 5:
// burn rate = error ratio / (1 − objective). Silence is no good news: a budget that was gone stays gone until someone says otherwise.

import { entityService, overlap } from '../../../schemas/entity.ts'
import { allow, ask, type Guard, type GuardContext } from './guard.ts'
import { approvalState } from './question.ts'

const ERROR_RATIO = /(^|[._])error_ratio$/

export const errorBudget: Guard = context => {
  const setting = context.policy.spec.errorBudget
  const { risk } = context.runbook.spec
  if (setting === undefined) return allow('error_budget', { risk, remainingRatio: null, burnRate: null }, 'the policy heeds no error budget')
  const { remainingRatio, burnRate, source } = errorBudgetOf(context)
  const { burnRateMax, remainingMin } = setting
  const inputs = { risk, remainingRatio, remainingMin, burnRate, burnRateMax, source }
  const reason = errorBudgetAsks(context)
  if (reason === undefined) {
    const left = remainingRatio === null ? 'the budget is not known' : `${percent(remainingRatio)} of the budget are left`
    return allow('error_budget', inputs, `${left}, burning at ${burnRate === null ? 'an unknown rate' : rounded(burnRate)}: ${risk} risk may act`)
  }
  if (approvalState(context).kind === 'approved') return allow('error_budget', inputs, `${reason}; people approved`)
  const more =
    remainingRatio !== null && remainingRatio <= remainingMin
      ? `More than ${percent(remainingMin)} of the budget left`
      : `A known burn rate below ${burnRateMax}, a low-risk runbook`
  return ask('error_budget', inputs, reason, `${more}, or a person's yes.`, null)
}

/** Why the budget makes this a question for people, or undefined. */
export function errorBudgetAsks(context: GuardContext): string | undefined {
  const setting = context.policy.spec.errorBudget
  if (setting === undefined) return undefined
  const { remainingRatio, burnRate } = errorBudgetOf(context)
  const { risk } = context.runbook.spec
  if (remainingRatio !== null && remainingRatio <= setting.remainingMin)
    return `${percent(remainingRatio)} of the error budget are left: nothing is done without people`
  if (risk === 'low') return undefined
  if (burnRate !== null && burnRate >= setting.burnRateMax) return `the error budget burns ${rounded(burnRate)} times too fast: ${risk} risk needs people`
  return remainingRatio === null && burnRate === null ? `the error budget is not known: ${risk} risk needs people` : undefined
}

/** What is known of the target's budget, the nearest source first; null for what is not. */
export function errorBudgetOf(context: GuardContext): { remainingRatio: number | null; burnRate: number | null; source: string | null } {
  const { nowMs, incident, target, policy, state } = context
  const setting = policy.spec.errorBudget
  const service = entityService(target)
  const said =
    state.errorBudgets[`${incident.environment}/${service}`] ??
    state.errorBudgets[`${incident.environment}/${context.cause.service}`] ??
    state.errorBudgets[`${incident.environment}/*`]
  const seen = seenBurnRate(context)
  if (said === undefined || setting === undefined) return { remainingRatio: null, burnRate: seen, source: seen === null ? null : 'anomalies' }
  const isFresh = nowMs - said.atMs <= setting.staleAfter
  const rates = [...(isFresh ? [said.burnRate] : []), ...(seen === null ? [] : [seen])]
  const isGone = said.remainingRatio <= setting.remainingMin
  return {
    remainingRatio: isFresh || isGone ? said.remainingRatio : null,
    burnRate: rates.length === 0 ? null : Math.max(...rates),
    source: said.by
  }
}

/** From the highest error ratio that an open anomaly of the target, or of a caller of it, observed. */
function seenBurnRate({ incident, target, policy }: GuardContext): number | null {
  const objective = policy.spec.errorBudget?.objective
  if (objective === undefined) return null
  const ratios = incident.members
    .filter(member => member.closedAtMs === null && member.observed !== null && ERROR_RATIO.test(member.metric))
    .filter(member => overlap(member.entity, target) || overlap(member.attributes.peer ?? member.attributes['peer.service'] ?? '', entityService(target)))
    .map(member => member.observed!)
  return ratios.length === 0 ? null : Math.max(...ratios) / (1 - objective)
}

function percent(ratio: number): string {
  return `${rounded(ratio * 100)} %`
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10
}
