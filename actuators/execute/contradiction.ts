// Whether raw signals contradict the alarm: looked up right before the first act on it, for alarms can be wrong.
//
// Only what is certain calls an act off: every check of the step passes on samples since the onset alone, at least one of them
// reads the very metric that raised the alarm, and that was good all the while, and nearer to what was expected than to what was
// alarming. Too few samples since the onset say nothing, and the act goes on: a policy's `confirmFor` gives them time to come.

import type { Command } from '../../schemas/command.ts'
import type { IncidentMember } from '../../schemas/incident.ts'
import type { Check } from '../../schemas/runbook.ts'
import { lookAtAll, type Look } from '../verify/checks.ts'
import { checkPorts, type ExecuteContext } from './context.ts'
import type { StepRow } from './rows.ts'

/** @returns why there is nothing to heal, or undefined. Never throws */
export async function contradiction(context: ExecuteContext, command: Command, row: StepRow): Promise<string | undefined> {
  const step = command.steps.find(({ idempotencyKey }) => idempotencyKey === row.key)?.step
  const members = (command.incident as { members?: readonly IncidentMember[] }).members
  if (step === undefined || !Array.isArray(members)) return undefined
  const { checks } = step.verify
  const alarmed = checks.map(check => memberOf(check, members, command.target))
  if (alarmed.every(member => member === undefined)) return undefined
  const windowMs = Math.max(...checks.map(check => (check.type === 'metric' ? check.window : 0)))
  const sinceMs = Math.max(command.startedAtMs, context.clock.nowMs() - windowMs)
  const looks = await lookAtAll(checkPorts(context), { command, actTarget: row.order.target, sinceMs }, checks)
  const isWell = looks.every((look, index) => look.result.result === 'pass' && isAsExpected(look, alarmed[index]))
  return isWell ? `since the alarm began its own signal is as expected: ${detailsOf(looks)}` : undefined
}

/** The open anomaly that the check's metric raised. */
function memberOf(check: Check, members: readonly IncidentMember[], target: string): IncidentMember | undefined {
  if (check.type !== 'metric') return undefined
  return members.find(({ metric, entity, closedAtMs }) => metric === check.metric && entity === (check.entity ?? target) && closedAtMs === null)
}

function isAsExpected({ result: { value }, isGoodThroughout }: Look, member: IncidentMember | undefined): boolean {
  if (member === undefined) return true // Another check's matter.
  const { observed, expected } = member
  if (isGoodThroughout !== true || value === null || typeof observed !== 'number' || typeof expected !== 'number') return false
  return Math.abs(value - expected) < Math.abs(value - observed)
}

const detailsOf = (looks: readonly Look[]): string => looks.map(({ result }) => result.detail).join('; ')
