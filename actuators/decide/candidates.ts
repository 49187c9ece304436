// Which runbooks answer a cause, best first: those not yet tried in vain on this incident, then by learned success, then lightest.
//
// Success is the mean of a Beta(1, 1) posterior over outcomes of (runbook, signature): one success in one try is 0.67, not 1.
// Means that are close are equal: the lightest risk wins among them, so that a lucky first try does not outrank a gentler step.

import type { Cause } from '../../schemas/incident.ts'
import type { Runbook } from '../../schemas/runbook.ts'
import { times } from './guards/guard.ts'
import type { LoadedPolicy, LoadedRunbook, PolicySet } from './policy-file.ts'
import { type Attempt, type DecideState, learnedOf } from './state.ts'

/** Means within this of the best are near-equal; a handful of outcomes moves a mean by as much. */
export const NEAR_EQUAL = 0.1
const RISK_ORDER: Readonly<Record<Runbook['spec']['risk'], number>> = { low: 0, medium: 1, high: 2 }

export interface Candidate {
  runbook: LoadedRunbook
  successMean: number
  successes: number
  failures: number
  /** Attempts within this incident that did not heal. */
  triedInVain: number
  reason: string
}

/** @param attempts of the target. @returns empty when no runbook of the policy answers the signature. Deterministic. */
export function rankCandidates(
  policy: LoadedPolicy,
  set: PolicySet,
  cause: Cause,
  state: DecideState,
  attempts: readonly Attempt[],
  incidentId: string
): Candidate[] {
  const candidates: Candidate[] = []
  for (const name of new Set(policy.spec.runbooks)) {
    const runbook = set.runbooks.get(name)
    if (runbook === undefined || !runbook.spec.signatures.includes(cause.signature)) continue
    const triedInVain = attempts.filter(
      ({ incidentId: of, runbook: tried, verdict, undoes }) =>
        of === incidentId && tried === name && undoes === undefined && verdict !== null && verdict !== 'healed'
    ).length
    candidates.push(candidateOf(runbook, cause, state, triedInVain))
  }
  const groups = Map.groupBy(candidates, candidate => candidate.triedInVain)
  return [...groups.keys()].sort((a, b) => a - b).flatMap(tried => inOrder(groups.get(tried)!))
}

/** A runbook with its record against the cause's signature. */
export function candidateOf(runbook: LoadedRunbook, { signature }: Cause, state: DecideState, triedInVain = 0): Candidate {
  const { successes, failures } = learnedOf(state, runbook.name, signature)
  const successMean = posteriorMean(successes, failures)
  const inVain = triedInVain > 0 ? `, tried ${times(triedInVain)} in vain here` : ''
  const reason = `${runbook.spec.risk} risk, ${successes} of ${successes + failures} healed (${successMean.toFixed(2)})${inVain}`
  return { runbook, successMean, successes, failures, triedInVain, reason }
}

/** Mean of Beta(1 + successes, 1 + failures). */
export function posteriorMean(successes: number, failures: number): number {
  return (successes + 1) / (successes + failures + 2)
}

/** Takes the best mean, orders all that are near it by risk, and goes on with the rest: nearness alone is no order. */
function inOrder(candidates: readonly Candidate[]): Candidate[] {
  const rest = [...candidates].sort((a, b) => b.successMean - a.successMean || byName(a, b))
  const ordered: Candidate[] = []
  while (rest.length > 0) {
    const best = rest[0]!.successMean
    const count = rest.findIndex(candidate => candidate.successMean < best - NEAR_EQUAL)
    const near = rest.splice(0, count === -1 ? rest.length : count)
    ordered.push(...near.sort((a, b) => RISK_ORDER[a.runbook.spec.risk] - RISK_ORDER[b.runbook.spec.risk] || b.successMean - a.successMean || byName(a, b)))
  }
  return ordered
}

function byName(a: Candidate, b: Candidate): number {
  return a.runbook.name < b.runbook.name ? -1 : 1
}
