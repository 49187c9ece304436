// Ownership: one controller a target. One command in flight, for two would judge each other's effect. Where another's hand was
// at work we keep ours off for a while. Who undid twice what we did wants another state: we stop, and say who it is.
//
// A service and an instance of it overlap: `shop/orders` in flight holds `shop/orders@orders-1` too.

import type { Control } from '../../../schemas/control.ts'
import type { GuardResult } from '../../../schemas/decision.ts'
import { overlap } from '../../../schemas/entity.ts'
import { allow, type GuardContext, type HoldContext, refuse, span, time, wait } from './guard.ts'

/** Once may be chance or a rollback for another reason; twice is a controller with another will. */
export const REVERTS_MAX = 2

type Change = Extract<Control, { kind: 'change' }>

export function ownership(context: HoldContext & Pick<GuardContext, 'inFlight'>): GuardResult {
  const { nowMs, policy, target, inFlight } = context
  const { handsOff, revertWindow } = policy.spec.ownership
  const running = inFlight.find(attempt => overlap(attempt.target, target))
  const changes = changesOf(context)
  const reverts = mostReverts(changes, nowMs - revertWindow)
  const last = changes.filter(change => change.what !== 'deploy').sort((a, b) => endOf(b) - endOf(a))[0]
  const untilMs = last === undefined ? 0 : endOf(last) + handsOff
  const inputs = {
    target,
    commandInFlight: running?.commandId ?? null,
    runbookInFlight: running?.runbook ?? null,
    deadlineMs: running?.deadlineMs ?? null,
    lastChangeBy: last?.actor ?? null,
    lastChangeAtMs: last === undefined ? null : endOf(last),
    lastChangeTarget: last?.target ?? null,
    handsOffMs: handsOff,
    reverts: reverts.count,
    revertedBy: reverts.actor
  }
  if (reverts.count >= REVERTS_MAX) {
    const reason = `${reverts.actor} undid what was done to ${target} ${reverts.count} times within ${span(revertWindow)}: it wants another state`
    return refuse('ownership', inputs, reason, `A person settles it with ${reverts.actor}, then releases the target (homeostat release ${target}).`)
  }
  if (running !== undefined) {
    return wait('ownership', inputs, `${running.runbook} is in flight for ${running.target}`, 'The outcome of the command in flight.', running.deadlineMs)
  }
  if (last !== undefined && nowMs < untilMs) {
    const reason = `${last.actor} changed ${last.target} (${last.what}) at ${time(endOf(last))}: hands off until ${time(untilMs)}`
    const released = last.target === '*' ? `all of ${last.environment} (homeostat release '*')` : `the target (homeostat release ${target})`
    return wait('ownership', inputs, reason, `${span(untilMs - nowMs)} more, or a person who releases ${released}.`, untilMs)
  }
  return allow('ownership', inputs, 'no command is in flight for the target, and nobody else changed it lately')
}

/** What others did to the target, or to all of its environment. */
export function changesOf({ incident, target, state, nowMs }: HoldContext): Change[] {
  return Object.values(state.changes).filter(
    change => change.environment === incident.environment && change.fromMs <= nowMs && (change.target === '*' || overlap(change.target, target))
  )
}

function mostReverts(changes: readonly Change[], sinceMs: number): { actor: string | null; count: number } {
  const counts = new Map<string, number>()
  for (const { actor, what, fromMs } of changes) if (what === 'revert' && fromMs >= sinceMs) counts.set(actor, (counts.get(actor) ?? 0) + 1)
  const [actor, count] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0] ?? [null, 0]
  return { actor, count }
}

/** A change that goes on is as new as its last word. */
function endOf(change: Change): number {
  return change.toMs ?? Math.max(change.fromMs, change.atMs)
}
