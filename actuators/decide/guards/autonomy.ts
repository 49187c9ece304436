// Autonomy: how far this policy is trusted. Nothing acts by default: `observe` and `suggest` only record what would be done.
//
// A level is earned: the record shows the precision so far, what it would take for the next level, and what cost a level.

import { earned } from '../trust-record.ts'
import { approvalState } from './approval.ts'
import { allow, type Guard, refuse, time } from './guard.ts'
import { levelOf } from './level.ts'

export const autonomy: Guard = context => {
  const { policy, state } = context
  const level = levelOf(policy, state)
  const demotion = state.trust[policy.name]?.demotions.at(-1)
  const { precision, precisionLower, trials, proposal } = earned(state.trust[policy.name], policy.spec.trust, level)
  const inputs = {
    level,
    fileLevel: policy.spec.autonomy,
    policy: policy.name,
    demotions: state.trust[policy.name]?.demotions.length ?? 0,
    trials,
    precision,
    precisionLower,
    proposal: proposal ?? null
  }
  if (level === 'auto') return allow('autonomy', inputs, `${policy.name} may act by itself`)
  const why = demotion === undefined || level === policy.spec.autonomy ? '' : ` (demoted at ${time(demotion.atMs)}: ${demotion.reason})`
  if (level === 'approve') return allow('autonomy', inputs, `${policy.name} may act when people approve${why}`)
  if (level === 'suggest' && approvalState(context).kind === 'approved') return allow('autonomy', inputs, `a person took the suggestion${why}`)
  const raise = level === 'observe' ? 'Autonomy suggest, approve or auto.' : 'A person who approves the suggestion, or autonomy approve or auto.'
  const back = why === '' ? raise : `A person gives ${policy.name} its level back. ${raise}`
  return refuse('autonomy', inputs, `${policy.name} is at level ${level}${why}: it records what it would do`, back)
}
