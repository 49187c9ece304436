// What must not stand against a step at the moment of acting, whatever was true when it was decided: the kill switch, planned
// work, another's hand on the target, and that its incident is over.
//
// Pure: the views are read to the end of their topics just before (effect.ts). The policy's own settings travel in the signed
// command; the same guards that decide asks are asked again, so that both mean the same.

import { type Command, type Holds, NO_HOLDS } from '../../schemas/command.ts'
import type { Cause, Incident } from '../../schemas/incident.ts'
import type { HoldContext } from '../decide/guards/guard.ts'
import { deployOf } from '../decide/guards/deploy-window.ts'
import { maintenance } from '../decide/guards/maintenance.ts'
import { ownership } from '../decide/guards/ownership.ts'
import type { ExecuteContext } from './context.ts'
import type { StepRow } from './rows.ts'

export type Gate = 'kill_switch' | 'maintenance_window' | 'deploy_window' | 'ownership' | 'cleared'
export interface GateRefusal {
  refusedBy: Gate
  reason: string
}

/**
 * The first gate that is closed for the step, or undefined.
 *
 * The end of the incident calls off what has not begun. It does not stop an undo, which restores what an act of ours changed, nor
 * the question what became of an act that was interrupted: that act may be why the incident is over. The other gates stop those as
 * well: people who are at work on the target are not to be surprised, and the outcome says that the undo is missing.
 */
export function closedGate(
  context: Pick<ExecuteContext, 'control' | 'incidents' | 'environment' | 'clock'>,
  command: Command,
  row: StepRow
): GateRefusal | undefined {
  const { control, incidents, environment, clock } = context
  const killed = control.killedBy(environment, command.policy)
  if (killed) return { refusedBy: 'kill_switch', reason: `kill switch ${killed.scope} is on (${killed.by}: ${killed.reason})` }
  const nowMs = clock.nowMs()
  for (const target of new Set([command.target, row.order.target])) {
    const held = heldBy(holdContext(command, target, control.holds, nowMs), command.issuedAtMs)
    if (held !== undefined) return held
  }
  if (row.kind === 'undo' || row.state !== 'accepted') return undefined
  const cleared = incidents.clearedBy(command)
  return cleared === undefined ? undefined : { refusedBy: 'cleared', reason: `${cleared}: there is nothing left to act upon` }
}

function heldBy(context: HoldContext, issuedAtMs: number): GateRefusal | undefined {
  const planned = maintenance(context)
  if (planned.verdict !== 'allow') return { refusedBy: 'maintenance_window', reason: planned.reason }
  const { during } = context.policy.spec.deploys
  const deploy = during === 'allow' ? undefined : deployOf(context)
  // What people were asked about, and answered, is not asked again; a deploy that began since then was in nobody's question.
  if (deploy !== undefined && (during === 'wait' || deploy.atMs > issuedAtMs))
    return { refusedBy: 'deploy_window', reason: `${deploy.actor} is deploying ${deploy.target}, or it has not settled yet` }
  const owned = ownership({ ...context, inFlight: [] })
  return owned.verdict === 'allow' ? undefined : { refusedBy: 'ownership', reason: owned.reason }
}

function holdContext(command: Command, target: string, state: HoldContext['state'], nowMs: number): HoldContext {
  const spec: Holds = command.holds ?? NO_HOLDS
  // As they were decided upon, and signed.
  const incident = command.incident as unknown as Incident
  const cause = command.cause as unknown as Cause
  return { nowMs, incident: { ...incident, environment: command.environment }, cause, target, policy: { spec }, state }
}
