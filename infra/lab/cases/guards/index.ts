// The cases of guard rails and failure modes: each on a Homeostat of its own, or several on one.

import type { AcceptanceCase } from '../case.ts'
import { approval, errorBudget } from './approval.ts'
import { costCap } from './cost.ts'
import { flapping } from './flapping.ts'
import { killSwitch } from './kill-switch.ts'
import { partialFix } from './partial.ts'
import { racing } from './racing.ts'
import { randomAlarms } from './random-alarms.ts'
import { regression } from './regression.ts'
import { shadowMode } from './shadow.ts'
import { type GuardCase, playGuards } from './stage.ts'
import { stormBrake } from './storm.ts'
import { telemetryGaps } from './telemetry-gaps.ts'
import { unsafeCommands } from './unsafe.ts'
import { windows } from './windows.ts'

/** They take minutes, or put into the log what belongs to no incident: each has a run of its own. */
const ALONE: readonly GuardCase[] = [flapping, randomAlarms, telemetryGaps, unsafeCommands]
/** What limits acting. */
const LIMITS: readonly GuardCase[] = [racing, partialFix, costCap, regression, killSwitch]
/** What people say and see. The storm brake stays on for minutes, so it comes last. */
const PEOPLE: readonly GuardCase[] = [shadowMode, windows, approval, errorBudget, stormBrake]

export const GUARD_CASES: readonly AcceptanceCase[] = [
  ...ALONE.map(each => single(each)),
  ...LIMITS.map(each => single(each, 'LIMITS')),
  ...PEOPLE.map(each => single(each, 'PEOPLE')),
  together('LIMITS', LIMITS),
  together('PEOPLE', PEOPLE)
]

function single(guard: GuardCase, partOf?: string): AcceptanceCase {
  const { name, title } = guard
  return { name, title, run: run => playGuards(run, name, [guard]), ...(partOf === undefined ? {} : { partOf }) }
}

function together(name: string, cases: readonly GuardCase[]): AcceptanceCase {
  return { name, title: `${cases.map(each => each.name).join(', ')} on one Homeostat`, run: run => playGuards(run, name, cases) }
}
