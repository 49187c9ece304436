// The question that was put to people about an act: where it stands, who may answer it, and how many must.
//
// An answer counts for the policy version, runbook and target that were shown, and until the question expires.

import type { Decision, GuardResult } from '../../../schemas/decision.ts'
import type { Risk } from '../../../schemas/runbook.ts'
import type { GuardContext } from './guard.ts'
import { stages } from './stages.ts'

const RISKS: readonly Risk[] = ['low', 'medium', 'high']

export type ApprovalState =
  | { kind: 'unasked' }
  | { kind: 'pending'; yes: string[]; missingRoles: string[]; expiresAtMs: number }
  | { kind: 'approved'; yes: string[] }
  | { kind: 'denied'; by: string }
  | { kind: 'expired'; expiresAtMs: number }

/** What the question is about: answers to another question do not count. Where members take turns a yes is for all of a stage. */
export function askSubject(
  asked: Pick<Decision, 'policyVersion' | 'runbook' | 'runbookVersion' | 'target' | 'attempt'>,
  guards: readonly GuardResult[]
): string {
  const { rollout, stage } = guards.find(({ guard }) => guard === 'stages')?.inputs ?? {}
  const whom = rollout === undefined ? [asked.target, asked.attempt] : [rollout, stage]
  return [asked.policyVersion, asked.runbook, asked.runbookVersion, ...whom].join('|')
}

/** Where the question of this incident stands. */
export function approvalState(context: GuardContext): ApprovalState {
  const { nowMs, policy, runbook, target, watch, state, turn } = context
  const asked = { policyVersion: policy.version, runbook: runbook.name, runbookVersion: runbook.version, target, attempt: watch.attempts + 1 }
  const subject = askSubject(asked, turn === undefined ? [] : [stages(context, turn)])
  if (watch.ask === null || watch.ask.subject !== subject) return { kind: 'unasked' }
  const expiresAtMs = watch.ask.askedAtMs + policy.spec.approval.expiresAfter
  const answers = (state.approvals[watch.ask.decisionId] ?? []).filter(answer => answer.incidentId === watch.incident.id && answer.atMs < expiresAtMs)
  const no = answers.find(answer => !answer.approved)
  if (no !== undefined) return { kind: 'denied', by: no.by }
  const { roles } = policy.spec.approval
  const listed = Object.values(roles).flat().map(personOf)
  const people = new Map(answers.map(answer => [personOf(answer.by), answer.by]))
  const yes = [...people].flatMap(([person, by]) => (listed.length === 0 || listed.includes(person) ? [by] : [])).sort()
  // A yes in time is good until the question expires: acting hours later would be acting on another situation.
  if (nowMs >= expiresAtMs) return { kind: 'expired', expiresAtMs }
  const missingRoles = rolesMissing(roles, yes.map(personOf))
  return yes.length >= approversNeeded(context) && missingRoles.length === 0 ? { kind: 'approved', yes } : { kind: 'pending', yes, missingRoles, expiresAtMs }
}

/** How many people: the policy's number, two at least from its two-person risk on, one a role at least. */
export function approversNeeded({ policy, runbook }: Pick<GuardContext, 'policy' | 'runbook'>): number {
  const { approvers, roles, twoPersonRisk } = policy.spec.approval
  const twoPersons = twoPersonRisk !== undefined && RISKS.indexOf(runbook.spec.risk) >= RISKS.indexOf(twoPersonRisk)
  return Math.max(approvers, twoPersons ? 2 : 1, Object.keys(roles).length)
}

/** Roles that nobody stands for when each person stands for one at most: the largest matching, by augmenting paths (roles are few). */
export function rolesMissing(roles: Readonly<Record<string, readonly string[]>>, people: readonly string[]): string[] {
  const roleOf = new Map<string, string>()
  const place = (role: string, tried: Set<string>): boolean =>
    people.some(person => {
      if (tried.has(person) || !roles[role]!.map(personOf).includes(person)) return false
      tried.add(person)
      const other = roleOf.get(person)
      if (other !== undefined && !place(other, tried)) return false
      roleOf.set(person, role)
      return true
    })
  return Object.keys(roles).filter(role => !place(role, new Set()))
}

/** Ada and ` ada ` are one person. */
function personOf(by: string): string {
  return by.trim().toLowerCase()
}
