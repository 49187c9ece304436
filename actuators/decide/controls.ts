// What people and other controllers say, as decide remembers it: the newest word on a subject holds.

import type { Control } from '../../schemas/control.ts'
import { overlap } from '../../schemas/entity.ts'
import { type DecideState, trim, trustOf } from './state.ts'

const APPROVALS_MAX = 5_000 // Decisions with answers; the oldest are of incidents long closed.
const MAINTENANCE_MAX = 1_000
const CHANGES_MAX = 2_000 // A day of a busy fleet; hands-off periods are minutes.
const GROUPS_MAX = 10_000

/** What people said, as far as decisions read it. */
export function applyControl(state: DecideState, control: Control): void {
  noteHold(state, control)
  if (control.kind === 'kill_switch') state.killSwitches[control.scope] = control
  else if (control.kind === 'approval') {
    const others = (state.approvals[control.decisionId] ?? []).filter(answer => answer.by !== control.by)
    state.approvals[control.decisionId] = [...others, control]
    trim(state.approvals, APPROVALS_MAX)
  } else if (control.kind === 'release_target') {
    for (const [key, target] of Object.entries(state.targets)) {
      if (key.slice(key.indexOf('|') + 1) !== control.target) continue
      if (target.frozen !== null && target.frozen.sinceMs > control.atMs) continue // An old release frees nothing newer.
      target.frozen = null
      target.quarantined = Object.fromEntries(Object.entries(target.quarantined).filter(([, sinceMs]) => sinceMs > control.atMs))
      target.escalatedAtMs = null
    }
  } else if (control.kind === 'group') {
    state.groups[`${control.environment}/${control.group}`] = control
    trim(state.groups, GROUPS_MAX)
  } else if (control.kind === 'error_budget') {
    state.errorBudgets[`${control.environment}/${control.service}`] = control
    trim(state.errorBudgets, GROUPS_MAX)
  } else if (control.kind === 'autonomy') {
    const trust = trustOf(state, control.policy)
    trust.demotions = trust.demotions.filter(demotion => demotion.atMs > control.atMs) // It does not speak of what came after.
  }
}

/** What people said of times and targets that are not ours to act in: decide and the actuator read it in the same way. */
export function noteHold({ maintenance, changes }: Pick<DecideState, 'maintenance' | 'changes'>, control: Control): void {
  if (control.kind === 'maintenance') {
    maintenance[control.id] = control
    trim(maintenance, MAINTENANCE_MAX)
  } else if (control.kind === 'change') {
    delete changes[control.id] // The newest are last, so that the oldest go first.
    changes[control.id] = control
    trim(changes, CHANGES_MAX)
  } else if (control.kind === 'release_target') {
    for (const [id, change] of Object.entries(changes)) {
      if (overlap(change.target, control.target) && change.atMs <= control.atMs) delete changes[id]
    }
  }
}
