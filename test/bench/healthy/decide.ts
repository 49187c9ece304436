// What policies decide about the incidents of a fleet: the shipped deciding code, on the replay's own time.
//
//   incidents of the run, every version ─► simulatePolicies (decide, and its ticks when something falls due) ─► decisions; an act is a command
//
// Each set of policies has a state of its own. Nothing of what it orders is done: the fleet goes on as it does, and an act is taken to
// end inconclusive when its plan is over, so that it neither blocks the next one for good nor counts as a success. Who the instances of
// a service are is announced as they come and go, and often enough: without it nothing is done in stages.

import { simulatePolicies } from '../../../actuators/decide/policy-simulate.ts'
import { configSchema } from '../../../schemas/config.ts'
import type { Control } from '../../../schemas/control.ts'
import type { Decision } from '../../../schemas/decision.ts'
import { entityService } from '../../../schemas/entity.ts'
import { ENVIRONMENT } from './points.ts'
import type { NamedPolicySet } from './policy-sets.ts'
import type { HealthyRun } from './run.ts'
import type { Instance, Scenario } from './scenario.ts'

/** Well within the day for which steps in stages believe it by default. */
const ANNOUNCED_EVERY_MS = 3_600_000

export interface HealthyDecision {
  policySet: string
  decision: Decision
  /** About an entity that was silent indeed: what acts then is no false act. */
  isOfSilence: boolean
}

/** @returns decisions in order of set and time, each change of an answer once */
export function decideHealthy(
  { published, incidentsOfSilence }: Pick<HealthyRun, 'published' | 'incidentsOfSilence'>,
  { fromMs, toMs, instances }: Pick<Scenario, 'fromMs' | 'toMs' | 'instances'>,
  policySets: readonly NamedPolicySet[]
): HealthyDecision[] {
  const { commandExpiry: commandExpiryMs } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).decide
  const history = { incidents: published, commands: [], outcomes: [], controls: groupsOf(instances, fromMs, toMs), decisions: [] }
  const silent = new Set(incidentsOfSilence.map(({ id }) => id))
  return policySets.flatMap(({ name, set: policies }) => {
    // What happens in the last step belongs to the run.
    const { decisions } = simulatePolicies(history, { policies, environments: [ENVIRONMENT], commandExpiryMs, fromMs, toMs: toMs + 1 })
    return decisions.map(decision => ({ policySet: name, decision, isOfSilence: silent.has(decision.incidentId) }))
  })
}

/** What a pipeline says of each service whenever an instance comes or goes, and every ANNOUNCED_EVERY_MS. */
function groupsOf(instances: readonly Instance[], fromMs: number, toMs: number): Control[] {
  const timesMs = Array.from({ length: Math.ceil((toMs - fromMs) / ANNOUNCED_EVERY_MS) }, (_, index) => fromMs + index * ANNOUNCED_EVERY_MS)
  return [...Map.groupBy(instances, ({ entity }) => entityService(entity))].flatMap(([group, ofGroup]) => {
    const changesMs = ofGroup.flatMap(instance => [instance.fromMs, instance.toMs])
    return [...new Set([...timesMs, ...changesMs])].map((atMs): Control => {
      const members = ofGroup.filter(instance => instance.fromMs <= atMs && atMs < instance.toMs).map(({ entity }) => entity)
      return { kind: 'group', environment: ENVIRONMENT, group, size: members.length, members, atMs, by: 'pipeline' }
    })
  })
}

/** An act is a command that was ordered. */
export function isAct({ decision }: HealthyDecision): boolean {
  return decision.commandId !== null
}
