// What policies decide about the incidents of a fleet: the shipped deciding code, on the replay's own time.
//
//   incidents of the run, every version ─► simulatePolicies (decide, and its ticks when something falls due) ─► decisions; an act is a command
//
// Each set of policies has a state of its own. Nothing of what it orders is done: the fleet goes on as it does, and an act is taken to
// end inconclusive when its plan is over, so that it neither blocks the next one for good nor counts as a success.

import { simulatePolicies } from '../../../actuators/decide/policy-simulate.ts'
import { configSchema } from '../../../schemas/config.ts'
import type { Decision } from '../../../schemas/decision.ts'
import { ENVIRONMENT } from './points.ts'
import type { NamedPolicySet } from './policy-sets.ts'
import type { HealthyRun } from './run.ts'
import type { Scenario } from './scenario.ts'

export interface HealthyDecision {
  policySet: string
  decision: Decision
  /** About an entity that was silent indeed: what acts then is no false act. */
  isOfSilence: boolean
}

/** @returns decisions in order of set and time, each change of an answer once */
export function decideHealthy(
  { published, incidentsOfSilence }: Pick<HealthyRun, 'published' | 'incidentsOfSilence'>,
  { fromMs, toMs }: Pick<Scenario, 'fromMs' | 'toMs'>,
  policySets: readonly NamedPolicySet[]
): HealthyDecision[] {
  const { commandExpiry: commandExpiryMs } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).decide
  const history = { incidents: published, commands: [], outcomes: [], controls: [], decisions: [] }
  const silent = new Set(incidentsOfSilence.map(({ id }) => id))
  return policySets.flatMap(({ name, set: policies }) => {
    // What happens in the last step belongs to the run.
    const { decisions } = simulatePolicies(history, { policies, environments: [ENVIRONMENT], commandExpiryMs, fromMs, toMs: toMs + 1 })
    return decisions.map(decision => ({ policySet: name, decision, isOfSilence: silent.has(decision.incidentId) }))
  })
}

/** An act is a command that was ordered. */
export function isAct({ decision }: HealthyDecision): boolean {
  return decision.commandId !== null
}
