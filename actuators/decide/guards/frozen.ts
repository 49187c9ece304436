// Frozen and quarantined: where an act may or may not have happened, or where this runbook did harm, a person looks first.

import { allow, type Guard, refuse, time } from './guard.ts'

export const frozen: Guard = ({ target, targetState, runbook }) => {
  const quarantinedSinceMs = targetState.quarantined[runbook.name] ?? null
  const inputs = { target, frozen: targetState.frozen !== null, frozenSinceMs: targetState.frozen?.sinceMs ?? null, quarantinedSinceMs }
  const release = `A person looks at ${target} and releases it (homeostat release ${target}).`
  if (targetState.frozen !== null) {
    return refuse('target_frozen', inputs, `frozen since ${time(targetState.frozen.sinceMs)}: ${targetState.frozen.reason}`, release)
  }
  if (quarantinedSinceMs !== null) {
    return refuse('target_frozen', inputs, `${runbook.name} did harm to ${target} at ${time(quarantinedSinceMs)}`, release)
  }
  return allow('target_frozen', inputs, 'neither frozen nor in quarantine')
}
