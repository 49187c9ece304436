// Approval: at level `approve` enough people must say yes to this very question before it expires; one no ends it.
//
// The question is the decision that asked: an answer counts for the policy version, runbook and target that were shown.

import type { Decision } from '../../../schemas/decision.ts'
import { allow, ask, type Guard, type GuardContext, refuse, time } from './guard.ts'

export type ApprovalState =
  | { kind: 'unasked' }
  | { kind: 'pending'; yes: string[]; expiresAtMs: number }
  | { kind: 'approved'; yes: string[] }
  | { kind: 'denied'; by: string }
  | { kind: 'expired'; expiresAtMs: number }

export const approval: Guard = context => {
  const { policy, watch } = context
  const { approvers } = policy.spec.approval
  const level = policy.spec.autonomy
  if (level !== 'approve') return allow('approval', { level, approvers: 0, answers: '' }, `not needed at level ${level}`)
  const state = approvalState(context)
  const answers = state.kind === 'pending' || state.kind === 'approved' ? state.yes.join(', ') : ''
  const inputs = { level, approvers, answers, askedAtMs: watch.ask?.askedAtMs ?? null }
  switch (state.kind) {
    case 'approved':
      return allow('approval', inputs, `approved by ${answers}`)
    case 'denied':
      return refuse('approval', inputs, `${state.by} said no`, 'Another answer is not awaited: a person has it.')
    case 'expired':
      return refuse('approval', inputs, `nobody approved before ${time(state.expiresAtMs)}`, `${approvers} approvals in time.`)
    case 'pending': {
      const missing = approvers - state.yes.length
      return ask(
        'approval',
        inputs,
        `${missing} of ${approvers} approvals are missing`,
        `${missing} approvals before ${time(state.expiresAtMs)}.`,
        state.expiresAtMs
      )
    }
    case 'unasked':
      return ask('approval', inputs, `${approvers} approvals are needed`, `${approvers} approvals.`, null)
  }
}

/** What the question is about: answers to another question do not count. */
export function askSubject(asked: Pick<Decision, 'policyVersion' | 'runbook' | 'runbookVersion' | 'target' | 'attempt'>): string {
  return [asked.policyVersion, asked.runbook, asked.runbookVersion, asked.target, asked.attempt].join('|')
}

/** Where the question of this incident stands. */
export function approvalState(context: GuardContext): ApprovalState {
  const { nowMs, policy, runbook, target, watch, state } = context
  const subject = askSubject({ policyVersion: policy.version, runbook: runbook.name, runbookVersion: runbook.version, target, attempt: watch.attempts + 1 })
  if (watch.ask === null || watch.ask.subject !== subject) return { kind: 'unasked' }
  const expiresAtMs = watch.ask.askedAtMs + policy.spec.approval.expiresAfter
  const answers = (state.approvals[watch.ask.decisionId] ?? []).filter(answer => answer.incidentId === watch.incident.id && answer.atMs < expiresAtMs)
  const no = answers.find(answer => !answer.approved)
  if (no !== undefined) return { kind: 'denied', by: no.by }
  const yes = answers.map(answer => answer.by).sort()
  // A yes in time is good until the question expires: acting hours later would be acting on another situation.
  if (nowMs >= expiresAtMs) return { kind: 'expired', expiresAtMs }
  return yes.length >= policy.spec.approval.approvers ? { kind: 'approved', yes } : { kind: 'pending', yes, expiresAtMs }
}
