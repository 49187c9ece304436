// The level that a policy has now: that of its file, one lower for each demotion.

import { AUTONOMY_LEVELS, type Autonomy } from '../../../schemas/decision.ts'
import type { LoadedPolicy } from '../policy-file.ts'
import type { DecideState } from '../state.ts'

/** The file's level less the demotions. What is not in the state was never demoted. */
export function levelOf(policy: Pick<LoadedPolicy, 'name' | 'spec'>, state: Pick<DecideState, 'trust'>): Autonomy {
  const demotions = state.trust[policy.name]?.demotions.length ?? 0
  return AUTONOMY_LEVELS[Math.max(0, AUTONOMY_LEVELS.indexOf(policy.spec.autonomy) - demotions)]!
}

/** The level one step up, or undefined from `auto`. */
export function nextLevel(level: Autonomy): Autonomy | undefined {
  return AUTONOMY_LEVELS[AUTONOMY_LEVELS.indexOf(level) + 1]
}
