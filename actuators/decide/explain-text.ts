// "Why did it act, or not?" as lines for a terminal: each decision with every guard, what it looked at, and what would change it.
//
// Text only restates records; the console shows the same fields. No colour here: the caller knows its terminal.

import type { Decision, GuardResult } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import { span } from './guards/guard.ts'

const DECISIONS_SHOWN_MAX = 20 // The latest; an incident with more has a story that nobody reads line by line.
const EPOCH_MS_MIN = 1e11 // 1973: no wait is as long, no time of ours as early.
const MARKS: Readonly<Record<GuardResult['verdict'], string>> = { allow: '+', wait: '~', ask: '?', refuse: '-' }
const HEADLINES: Readonly<Record<Decision['outcome'], string>> = {
  act: 'acted',
  would_act: 'would have acted',
  ask: 'asked people',
  blocked: 'did not act yet',
  none: 'did nothing',
  escalate: 'gave up and called people'
}

/** Lines for one incident; `decisions` in any order. */
export function explain(incident: Incident, decisions: readonly Decision[]): string[] {
  const own = decisions.filter(decision => decision.incidentId === incident.id).sort((a, b) => a.decidedAtMs - b.decidedAtMs)
  const lines = [`${incident.title} (${incident.status}${incident.resolution === null ? '' : `, ${incident.resolution}`})`]
  const cause = incident.causes[0]
  if (cause !== undefined) lines.push(`cause: ${cause.entity}, ${cause.signature}, score ${cause.score}`, ...cause.evidence.map(sentence => `  ${sentence}`))
  if (own.length === 0) lines.push('', 'No decision yet.')
  if (own.length > DECISIONS_SHOWN_MAX) lines.push('', `… ${own.length - DECISIONS_SHOWN_MAX} earlier decisions`)
  for (const decision of own.slice(-DECISIONS_SHOWN_MAX)) lines.push('', ...explainDecision(decision))
  return lines
}

/** Lines for one decision. */
export function explainDecision(decision: Decision): string[] {
  const lines = [`${new Date(decision.decidedAtMs).toISOString()}  ${HEADLINES[decision.outcome]}: ${decision.reason}`]
  const policy = decision.policy === null ? 'no policy' : `policy ${decision.policy}@${decision.policyVersion}, autonomy ${decision.autonomy}`
  lines.push(`  ${policy}; decision ${decision.id}${decision.commandId === null ? '' : `, command ${decision.commandId}`}`)
  for (const candidate of decision.candidates) lines.push(`  ${candidate.chosen ? '→' : ' '} ${candidate.runbook}: ${candidate.reason}`)
  for (const result of decision.guards) lines.push(...explainGuard(result))
  const counterfactuals = decision.guards.filter(result => result.counterfactual !== '')
  if (counterfactuals.length > 0) lines.push(`  what would change it: ${counterfactuals.map(result => result.counterfactual).join(' ')}`)
  return lines
}

function explainGuard(result: GuardResult): string[] {
  const again = result.retryAtMs === null ? '' : ` (looked at again ${new Date(result.retryAtMs).toISOString()})`
  const inputs = Object.entries(result.inputs).map(([name, value]) => `${name}=${shown(name, value)}`)
  return [`  ${MARKS[result.verdict]} ${result.guard}: ${result.reason}${again}`, `      ${inputs.join(' ')}`]
}

function shown(name: string, value: string | number | boolean | null): string {
  if (value === null || value === '') return 'none'
  if (typeof value !== 'number' || !name.endsWith('Ms')) return String(value)
  return value > EPOCH_MS_MIN ? new Date(value).toISOString() : span(value)
}
