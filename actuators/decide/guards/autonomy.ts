// Autonomy: how far this policy is trusted. Nothing acts by default: `observe` and `suggest` only record what would be done.

import { approvalState } from './approval.ts'
import { allow, type Guard, refuse } from './guard.ts'

export const autonomy: Guard = context => {
  const level = context.policy.spec.autonomy
  const inputs = { level, policy: context.policy.name }
  if (level === 'auto') return allow('autonomy', inputs, `${context.policy.name} may act by itself`)
  if (level === 'approve') return allow('autonomy', inputs, `${context.policy.name} may act when people approve`)
  if (level === 'suggest' && approvalState(context).kind === 'approved') return allow('autonomy', inputs, 'a person took the suggestion')
  const raise = level === 'observe' ? 'Autonomy suggest, approve or auto.' : 'A person who approves the suggestion, or autonomy approve or auto.'
  return refuse('autonomy', inputs, `${context.policy.name} is at level ${level}: it records what it would do`, raise)
}
