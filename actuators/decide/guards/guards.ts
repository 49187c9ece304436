// The guards, in the order in which they are asked and shown. A new guard is one file and one line here.

import type { GuardResult } from '../../../schemas/decision.ts'
import { approval } from './approval.ts'
import { attemptBudget } from './attempt-budget.ts'
import { autonomy } from './autonomy.ts'
import { blastRadius } from './blast-radius.ts'
import { cooldown } from './cooldown.ts'
import { costBudget } from './cost-budget.ts'
import { deployWindow } from './deploy-window.ts'
import { errorBudget } from './error-budget.ts'
import { evidence } from './evidence.ts'
import { flapping } from './flapping.ts'
import { freshness } from './freshness.ts'
import { frozen } from './frozen.ts'
import type { Guard, GuardContext } from './guard.ts'
import { killSwitch } from './kill-switch.ts'
import { maintenance } from './maintenance.ts'
import { ownership } from './ownership.ts'
import { stages } from './stages.ts'
import { storm } from './storm.ts'

/** What is wrong first, what was tried second, who may third. */
export const GUARDS: readonly Guard[] = [
  evidence,
  freshness,
  frozen,
  ownership,
  maintenance,
  deployWindow,
  cooldown,
  attemptBudget,
  flapping,
  blastRadius,
  storm,
  errorBudget,
  costBudget,
  approval,
  autonomy,
  killSwitch
]

/** Taking back what was done needs no evidence and no budget: only that nobody holds hands off, and that it adds to no crowd. */
export const UNDO_GUARDS: readonly Guard[] = [frozen, ownership, maintenance, deployWindow, blastRadius, killSwitch]

/** Every guard's answer, in order; none is skipped because another already said no. Where members take turns, that comes last. */
export function askGuards(context: GuardContext, guards: readonly Guard[] = GUARDS): GuardResult[] {
  const { turn } = context
  const results = guards.map(guard => guard(context))
  return turn === undefined ? results : [...results, stages(context, turn)]
}
