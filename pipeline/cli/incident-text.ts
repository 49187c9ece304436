// An incident for people: the row of a list, the story of one, the state of the whole pipeline.

import type { IncidentStory } from '../console/live-view.ts'
import type { PipelineHealth } from '../self/health-routes.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { CheckResult, Outcome } from '../../schemas/outcome.ts'
import { formatDuration, formatTable, formatUtcSecond, paint, wrapped } from './output.ts'

const MEMBERS_SHOWN_MAX = 8
/** As wide as a time with the spaces around it. */
const BELOW_TIME = ' '.repeat(13)

export function incidentRow(incident: Incident): Record<string, unknown> {
  const cause = incident.causes[0]
  return {
    id: incident.id.slice(0, 8),
    'opened (UTC)': formatUtcSecond(incident.openedAtMs),
    severity: incident.severity,
    status: incident.status,
    cause: cause ? `${cause.entity} (${cause.signature})` : '–',
    anomalies: incident.members.length + incident.membersOmitted,
    actions: incident.attempts,
    'healed after': incident.healedAtMs === null ? '–' : formatDuration(incident.healedAtMs - incident.startedAtMs)
  }
}

/** The whole story of one incident: the answer first, then what was seen, and each action with its checks. */
export function incidentText(story: IncidentStory & { explanation: string[] }): string {
  const { incident, outcomes, explanation } = story
  const [title = incident.title, ...explained] = explanation
  const healthy =
    incident.healedAtMs === null ? '' : `, healthy again ${clock(incident.healedAtMs)} (after ${formatDuration(incident.healedAtMs - incident.startedAtMs)})`
  const lines = [
    paint('bold', title),
    `${incident.severity}; began ${clock(incident.startedAtMs)}, seen ${clock(incident.openedAtMs)}${healthy}; incident ${incident.id}`,
    '',
    ...explained.map(inLines)
  ]
  lines.push('', paint('bold', 'What was seen'))
  for (const member of incident.members.slice(0, MEMBERS_SHOWN_MAX)) lines.push(`  ${clock(member.sinceMs)}  ${wrapped(member.reason, BELOW_TIME).trimStart()}`)
  const more = incident.members.length + incident.membersOmitted - MEMBERS_SHOWN_MAX
  if (more > 0) lines.push(`  … and ${more} more`)
  for (const outcome of outcomes) lines.push('', ...outcomeText(outcome).map(inLines))
  return lines.join('\n')
}

/** In lines of the terminal's width, each as far in as the first. */
function inLines(line: string): string {
  const text = line.trimStart()
  return wrapped(text, ' '.repeat(line.length - text.length))
}

/** The value of a check that has one; '' of others, which say what they saw. */
function measured({ value, samples }: CheckResult): string {
  if (value === null) return ''
  return `, value ${Number(value.toPrecision(3))}${samples === 1 ? '' : ` of ${samples} samples`}`
}

/** UTC, as reasons and logs have it: nobody translates between two clocks at night. */
function clock(atMs: number): string {
  return `${formatUtcSecond(atMs).slice(11)}Z`
}

function outcomeText(outcome: Outcome): string[] {
  const lines = [
    `${paint('bold', `Action ${outcome.attempt}: ${outcome.runbook} on ${outcome.target}`)} → ${paint(outcome.verdict === 'healed' ? 'green' : 'yellow', outcome.verdict)}`,
    `  ${outcome.reason}`
  ]
  for (const step of outcome.steps) {
    lines.push(
      `  ${step.begunAtMs === null ? '        ' : clock(step.begunAtMs)}  ${step.name}: ${step.driver} ${step.verb} ${step.target}, ${step.result}${step.waited?.untilMs ? ` after a wait of ${formatDuration(step.waited.untilMs - step.waited.sinceMs)}` : ''}${step.detail ? ` (${step.detail})` : ''}${step.undo === 'none' ? '' : `, ${step.undo}`}`
    )
    for (const check of step.checks)
      lines.push(`            check ${check.name}: ${check.result}${measured(check)}, wanted ${check.expect}${check.detail ? `: ${check.detail}` : ''}`)
  }
  return lines
}

export function statusText(health: PipelineHealth): string {
  const addresses = Object.entries(health.addresses).map(([name, address]) => ({ door: name, address }))
  const counters = Object.entries(health.counters).map(([counter, value]) => ({ counter, value }))
  return [
    `${health.ready ? paint('green', 'ready') : paint('red', 'not ready')}  version ${health.version}, environment ${health.environment}, up ${formatDuration(Date.now() - health.startedAtMs)}`,
    `roles here: ${health.roles.join(', ')}`,
    '',
    formatTable(addresses, ['door', 'address']),
    '',
    formatTable(
      health.checks.map(({ name, ok, detail }) => ({ check: name, ok: ok ? 'yes' : 'NO', detail })),
      ['check', 'ok', 'detail']
    ),
    ...Object.entries(health.warnings).map(([what, detail]) => `\n${paint('yellow', what)}: ${detail}`),
    '',
    formatTable(
      Object.entries(health.lag).map(([consumer, records]) => ({ consumer, 'records behind': records })),
      ['consumer', 'records behind']
    ),
    '',
    formatTable(counters, ['counter', 'value'])
  ].join('\n')
}
