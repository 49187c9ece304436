// All acceptance cases, in the order in which they are run. A new case is a folder beside this file and one line here.

import type { AcceptanceCase } from './case.ts'
import { GUARD_CASES } from './guards/index.ts'
import { crashLoopUnderCrashes } from './s1/index.ts'
import { inStages } from './stages/index.ts'
import { crashLoop } from './uc1/index.ts'
import { badCanary } from './uc5/index.ts'
import { rogueSpawning } from './uc6/index.ts'

export const CASES: readonly AcceptanceCase[] = [crashLoop, crashLoopUnderCrashes, badCanary, rogueSpawning, inStages, ...GUARD_CASES]
