// Approval: at level `approve` enough people must say yes to this very question before it expires; one no ends it.
//
// Roles are lists of people in the policy: where there are any, someone of each must say yes, one person for one role, and
// nobody else counts. Two people are two names, however they are written. Any other guard that asks is answered here too.
// The question is the decision that asked: an answer counts for the policy version, runbook and target that were shown.

import type { Autonomy } from '../../../schemas/decision.ts'
import { deployAsks } from './deploy-window.ts'
import { errorBudgetAsks } from './error-budget.ts'
import { allow, ask, type Guard, type GuardContext, refuse, time } from './guard.ts'
import { levelOf } from './level.ts'
import { approvalState, approversNeeded } from './question.ts'

export { type ApprovalState, approvalState, askSubject } from './question.ts'

export const approval: Guard = context => {
  const { policy, watch } = context
  const approvers = approversNeeded(context)
  const level = decidingLevel(context)
  if (level !== 'approve') return allow('approval', { level, approvers: 0, answers: '' }, `not needed at level ${level}`)
  const state = approvalState(context)
  const answers = state.kind === 'pending' || state.kind === 'approved' ? state.yes.join(', ') : ''
  const roles = Object.keys(policy.spec.approval.roles).join(', ')
  const inputs = { level, approvers, roles, answers, askedAtMs: watch.ask?.askedAtMs ?? null }
  switch (state.kind) {
    case 'approved':
      return allow('approval', inputs, `approved by ${answers}`)
    case 'denied':
      return refuse('approval', inputs, `${state.by} said no`, 'Another answer is not awaited: a person has it.')
    case 'expired':
      return refuse('approval', inputs, `nobody approved before ${time(state.expiresAtMs)}`, `${approvals(approvers)} in time.`)
    case 'pending': {
      const missing = Math.max(0, approvers - state.yes.length)
      const ofRoles = state.missingRoles.length === 0 ? '' : `; nobody yet for ${state.missingRoles.join(', ')}`
      const counterfactual = `${approvals(Math.max(missing, state.missingRoles.length))} before ${time(state.expiresAtMs)}.`
      return ask(
        'approval',
        inputs,
        `${missing} of ${approvals(approvers)} ${missing === 1 ? 'is' : 'are'} missing${ofRoles}`,
        counterfactual,
        state.expiresAtMs
      )
    }
    case 'unasked':
      return ask(
        'approval',
        inputs,
        `${approvals(approvers)} ${approvers === 1 ? 'is' : 'are'} needed${roles === '' ? '' : ` (${roles})`}`,
        `${approvals(approvers)}.`,
        null
      )
  }
}

/** The level at which this is decided: that of the policy, and `approve` instead of `auto` while another guard wants people. */
export function decidingLevel(context: GuardContext): Autonomy {
  const level = levelOf(context.policy, context.state)
  return level === 'auto' && (errorBudgetAsks(context) !== undefined || deployAsks(context)) ? 'approve' : level
}

const approvals = (count: number): string => `${count} ${count === 1 ? 'approval' : 'approvals'}`
