// From a decision to act to the order that carries it: steps with their idempotency keys, fence, expiry. Not yet signed.

import type { Command, Holds } from '../../schemas/command.ts'
import { assert } from '../../schemas/errors.ts'
import { derivedId, idempotencyKey } from '../../schemas/ids.ts'
import type { Cause, Incident } from '../../schemas/incident.ts'
import type { RunbookStep } from '../../schemas/runbook.ts'
import type { LoadedPolicy, LoadedRunbook } from './policy-file.ts'
import { stageOf } from './rollout.ts'
import type { RolloutTurn } from './rollout-turn.ts'

export type UnsignedCommand = Omit<Command, 'keyId' | 'signature'>

/** Beyond everything that a command may take by its own plan; an outcome that is later than this is lost. */
export const ORPHAN_GRACE_MS = 60_000

export interface CommandPlan {
  incident: Incident
  cause: Cause
  policy: LoadedPolicy
  runbook: LoadedRunbook
  /** Entity acted on: that of the cause, or the member whose turn it is. */
  target: string
  turn?: RolloutTurn | undefined
  decisionId: string
  /** From 1, within the incident. */
  attempt: number
  /** Fence of the last command for the target; 0 for none. */
  fenceBefore: number
  nonce: string
  nowMs: number
  expiryMs: number
}

/** The same plan gives the same ids, so a decision made twice around a crash is one command to the actuator. */
export function makeCommand(plan: CommandPlan): UnsignedCommand {
  const { incident, cause, policy, runbook, target, attempt, nowMs } = plan
  const { steps, ...inRollout } = ofRollout(plan)
  return {
    id: commandId(plan),
    incidentId: incident.id,
    decisionId: plan.decisionId,
    environment: incident.environment,
    target,
    runbook: runbook.name,
    runbookVersion: runbook.version,
    policy: policy.name,
    policyVersion: policy.version,
    holds: holdsOf(policy),
    attempt,
    risk: runbook.spec.risk,
    cost: inRollout.undoes === undefined ? runbook.spec.cost : 0,
    steps: steps.map(step => ({
      idempotencyKey: idempotencyKey(incident.id, policy.version, runbook.name, target, step.name, attempt),
      name: step.name,
      step
    })),
    incident: { ...incident },
    cause: { ...cause },
    startedAtMs: incident.startedAtMs,
    issuedAtMs: nowMs,
    expiresAtMs: nowMs + plan.expiryMs,
    // At least the clock: larger than any fence of a forgotten past.
    fence: Math.max(plan.fenceBefore + 1, nowMs),
    nonce: plan.nonce,
    ...inRollout
  }
}

/** The steps of the command, and its place among those of other members. */
function ofRollout({ runbook, turn }: CommandPlan): { steps: RunbookStep[] } & Pick<UnsignedCommand, 'rollout' | 'undoes'> {
  const { steps } = runbook.spec
  if (turn === undefined || 'problem' in turn) return { steps }
  const { rollout, member, undoes } = turn
  const { id, members, ends } = rollout
  const place = { id, stage: stageOf(rollout, member), stages: ends.length, member: members.indexOf(member) + 1, members: members.length }
  return undoes === null ? { steps, rollout: place } : { steps: steps.map(takingBack), rollout: place, undoes }
}

/** The step that takes back what this one did: without condition, wait or undo of its own. */
function takingBack({ undo, when: _condition, waitFor: _wait, ...step }: RunbookStep): RunbookStep {
  assert(undo !== undefined, `step ${step.name} has no undo: nothing can be taken back`)
  return { ...step, action: undo }
}

/** Windows in whole, and nothing that the file did not say. */
function holdsOf({ spec }: LoadedPolicy): Holds {
  const { deploys, ownership } = spec
  return { maintenanceWindows: spec.maintenanceWindows.map(window => ({ ...window })), deploys: { ...deploys }, ownership: { ...ownership } }
}

/** Derived: incident, policy version, runbook, target, attempt. */
export function commandId({ incident, policy, runbook, target, attempt }: Pick<CommandPlan, 'incident' | 'policy' | 'runbook' | 'target' | 'attempt'>): string {
  return derivedId('command', incident.id, policy.version, runbook.name, target, attempt)
}

/** Classes of actions in these steps, `driver/verb`, each once: what cost budgets are about. */
export function actionsOf(steps: readonly RunbookStep[]): string[] {
  return [...new Set(steps.map(({ action }) => `${action.driver}/${action.verb}`))]
}

/** By when the outcome of a command must have come: expiry, then every step with its wait, its checks and its verified undo. */
export function deadlineOf(expiresAtMs: number, steps: readonly RunbookStep[]): number {
  const planMs = steps.reduce(
    (sum, step) => sum + (step.waitFor?.timeout ?? 0) + 2 * (step.timeout + step.settle + step.verify.deadline + step.verify.holdFor),
    0
  )
  return expiresAtMs + planMs + ORPHAN_GRACE_MS
}
