// What people are told after an outcome: one page an incident, and its end when the incident is healed after all.
//
// The page row says what people should know (`desired`) and what they were told (`delivered`); execute/outbox.ts makes
// the second follow the first. Repeats carry the incident's id as dedup key, so the channel shows one page.

import type { Command } from '../../schemas/command.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { PageOutboxRow } from '../execute/rows.ts'

const TEXT_LENGTH_MAX = 500

/**
 * The page row after this outcome, or `known` when nothing changes for people.
 * @param known   the incident's page so far
 * @param channel absent: nobody can be told
 */
export function pageAfter(known: PageOutboxRow | undefined, outcome: Outcome, command: Command, channel: string | undefined): PageOutboxRow | undefined {
  if (outcome.verdict === 'healed') return known?.desired === 'trigger' ? turned(known, 'resolve', `Healed: ${outcome.target}`, outcome) : known
  if (outcome.verdict === 'refused' || outcome.verdict === 'undone' || channel === undefined) return known
  if (known?.desired === 'trigger') return known
  const summary = `${outcome.runbook} on ${outcome.target} was ${outcome.verdict}: ${outcome.reason}`.slice(0, TEXT_LENGTH_MAX)
  if (known) return turned(known, 'trigger', summary, outcome)
  const severity = severityOf(command)
  const key = `page/${outcome.incidentId}`
  const untold = { delivered: 'none', attempts: 0, nextAtMs: 0 } as const
  return { key, open: true, kind: 'page', incidentId: outcome.incidentId, channel, desired: 'trigger', ...untold, severity, ...said(summary, outcome) }
}

function turned(known: PageOutboxRow, desired: 'trigger' | 'resolve', summary: string, outcome: Outcome): PageOutboxRow {
  return { ...known, desired, open: true, attempts: 0, nextAtMs: 0, ...said(summary, outcome) }
}

function said(summary: string, outcome: Outcome) {
  const { incidentId, commandId, decisionId, environment, target, runbook, policy, attempt, verdict, reason } = outcome
  const steps = outcome.steps.map(({ name, result, verdict, detail }) => ({ name, result, verdict, detail: detail.slice(0, TEXT_LENGTH_MAX) }))
  const frozen = verdict === 'unknown'
  const details = { incidentId, commandId, decisionId, environment, target, runbook, policy, attempt, verdict, reason, frozen, steps }
  return { summary, details, sinceMs: outcome.recordedAtMs }
}

function severityOf(command: Command): PageOutboxRow['severity'] {
  const severity = (command.incident as { severity?: unknown }).severity
  return severity === 'critical' || severity === 'info' ? severity : 'warning'
}
