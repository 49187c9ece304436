// "Why did it act, or not, and what would have changed that?" as lines for a terminal: the answer first, then each decision.
//
// Text only restates records; the console shows the same fields. No colour here: the caller knows its terminal.

import type { Decision, GuardResult } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import { explainAnswer, gaveUpQuietly, hinderingGuards, tellsOfCall } from './explain-answer.ts'
import { span } from './guards/guard.ts'

const DECISIONS_SHOWN_MAX = 20 // The latest; an incident with more has a story that nobody reads line by line.
const EPOCH_MS_MIN = 1e11 // 1973: no wait is as long, no time of ours as early.
const MARKS: Readonly<Record<GuardResult['verdict'], string>> = { allow: '+', wait: '~', ask: '?', refuse: '-' }
const WORDS: Readonly<Record<GuardResult['verdict'], string>> = { allow: 'allows', wait: 'waits', ask: 'asks', refuse: 'refuses' }
const HEADLINES: Readonly<Record<Decision['outcome'], string>> = {
  act: 'acted',
  would_act: 'would have acted',
  ask: 'asked people',
  blocked: 'did not act yet',
  none: 'did nothing',
  escalate: 'gave up and called people'
}

export interface ExplainOptions {
  /** telling: those that stood in the way, with their inputs; all: every guard with its inputs. */
  guards: 'telling' | 'all'
}

/** Lines for one incident; `decisions` and `outcomes` in any order. Times are UTC, without the date where it is that of the onset. */
export function explain(
  incident: Incident,
  decisions: readonly Decision[],
  outcomes: readonly Outcome[] = [],
  { guards }: ExplainOptions = { guards: 'telling' }
): string[] {
  const own = decisions.filter(decision => decision.incidentId === incident.id).sort((a, b) => a.decidedAtMs - b.decidedAtMs)
  const lines = [
    `${incident.title} (${incident.status}${incident.resolution === null ? '' : `, ${incident.resolution}`})`,
    ...explainAnswer(incident, own, outcomes)
  ]
  const cause = incident.causes[0]
  if (cause !== undefined)
    lines.push('', `Cause: ${cause.entity}, ${cause.signature}, score ${cause.score}`, ...cause.evidence.map(sentence => `  ${sentence}`))
  if (own.length > DECISIONS_SHOWN_MAX) lines.push('', `… ${own.length - DECISIONS_SHOWN_MAX} earlier decisions`)
  for (const decision of own.slice(-DECISIONS_SHOWN_MAX)) lines.push('', ...explainDecision(decision, { guards }))
  return lines.map(line => withoutDay(line, incident.startedAtMs))
}

/** Lines for one decision. */
function explainDecision(decision: Decision, { guards }: ExplainOptions): string[] {
  const { decidedAtMs, outcome, reason, runbook, target } = decision
  const hindering = hinderingGuards(decision)
  // What hinders says why; only what nothing hinders needs the reason itself.
  const what = hindering.length === 0 || runbook === null ? reason : `${runbook} on ${target}`
  const called = tellsOfCall(decision) ? ', and called people' : ''
  const headline = gaveUpQuietly(decision) ? 'gave up' : `${HEADLINES[outcome]}${called}`
  const lines = [`${new Date(decidedAtMs).toISOString()}  ${headline}: ${what}`]
  for (const candidate of decision.candidates) lines.push(`  ${candidate.chosen ? '→' : ' '} ${candidate.runbook}: ${candidate.reason}`)
  for (const result of guards === 'all' ? decision.guards : hindering) lines.push(...explainGuard(result))
  const allowing = decision.guards.filter(({ verdict }) => verdict === 'allow').map(({ guard }) => guard)
  if (guards === 'telling' && allowing.length > 0) lines.push(`  + allowed by ${allowing.join(', ')}`)
  const policy = decision.policy === null ? 'no policy' : `policy ${decision.policy}@${decision.policyVersion}, autonomy ${decision.autonomy}`
  lines.push(`  ${policy}; decision ${decision.id}${decision.commandId === null ? '' : `, command ${decision.commandId}`}`)
  return lines
}

function explainGuard({ guard, verdict, reason, inputs, retryAtMs }: GuardResult): string[] {
  const again = retryAtMs === null ? '' : ` (looked at again ${new Date(retryAtMs).toISOString()})`
  const seen = Object.entries(inputs).map(([name, value]) => `${name}=${shown(name, value)}`)
  return [`  ${MARKS[verdict]} ${guard} ${WORDS[verdict]}: ${reason}${again}`, `      ${seen.join(' ')}`]
}

function shown(name: string, value: string | number | boolean | null): string {
  if (value === null || value === '') return 'none'
  if (typeof value !== 'number' || !name.endsWith('Ms')) return String(value)
  return value > EPOCH_MS_MIN ? new Date(value).toISOString() : span(value)
}

/** `2026-01-05T12:00:01.250Z` → `12:00:01Z`, or `2026-01-05 12:00:01Z` on another day: nobody reads milliseconds at night. */
function withoutDay(line: string, dayMs: number): string {
  const day = new Date(dayMs).toISOString().slice(0, 10)
  return line.replaceAll(/(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.\d+)?Z/g, (_whole, date: string, time: string) =>
    date === day ? `${time}Z` : `${date} ${time}Z`
  )
}
