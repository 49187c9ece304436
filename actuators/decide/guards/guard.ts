// A guard: one pure question about an intended act, answered allow | wait | ask | refuse with what it looked at.
//
// wait: time or another event will change the answer; ask: a person may; refuse: only new evidence or a person's order will.
// A guard never throws and never acts; every guard is asked every time, so that the record shows all of them.

import type { BlockReason, GuardResult } from '../../../schemas/decision.ts'
import type { Cause, Incident } from '../../../schemas/incident.ts'
import type { Policy } from '../../../schemas/runbook.ts'
import type { LoadedPolicy, LoadedRunbook } from '../policy-file.ts'
import type { RolloutTurn } from '../rollout-turn.ts'
import type { Attempt, DecideState, TargetState, Watch } from '../state.ts'

/** What guards may look at; nothing here may be changed. */
export interface GuardContext {
  readonly nowMs: number
  readonly incident: Incident
  /** The first cause. */
  readonly cause: Cause
  readonly policy: LoadedPolicy
  readonly runbook: LoadedRunbook
  /** Entity that would be acted on, and what is known of it. */
  readonly target: string
  readonly targetState: TargetState
  readonly watch: Watch
  readonly state: DecideState
  /** Commands without an outcome in the incident's environment. */
  readonly inFlight: readonly Attempt[]
  /** Of a step that goes through members in stages: whose turn it is. */
  readonly turn?: RolloutTurn | undefined
}

/** What is known of an act at the actuator too: enough for the guards that it asks again at the moment of acting. */
export interface HoldContext {
  readonly nowMs: number
  readonly incident: Pick<Incident, 'environment'>
  readonly cause: Pick<Cause, 'entity' | 'service'>
  readonly target: string
  readonly policy: { readonly spec: Pick<Policy['spec'], 'maintenanceWindows' | 'deploys' | 'ownership'> }
  readonly state: Pick<DecideState, 'maintenance' | 'changes'>
}

export type Guard = (context: GuardContext) => GuardResult

export type Inputs = GuardResult['inputs']

export function allow(guard: BlockReason, inputs: Inputs, reason: string): GuardResult {
  return { guard, verdict: 'allow', inputs, reason, counterfactual: '', retryAtMs: null }
}

/** @param retryAtMs when to look again; null when an event will say so */
export function wait(guard: BlockReason, inputs: Inputs, reason: string, counterfactual: string, retryAtMs: number | null): GuardResult {
  return { guard, verdict: 'wait', inputs, reason, counterfactual, retryAtMs }
}

export function ask(guard: BlockReason, inputs: Inputs, reason: string, counterfactual: string, retryAtMs: number | null): GuardResult {
  return { guard, verdict: 'ask', inputs, reason, counterfactual, retryAtMs }
}

export function refuse(guard: BlockReason, inputs: Inputs, reason: string, counterfactual: string): GuardResult {
  return { guard, verdict: 'refuse', inputs, reason, counterfactual, retryAtMs: null }
}

/** `2026-01-05T12:00:00Z`, for reasons that people read. */
export function time(atMs: number): string {
  return new Date(atMs).toISOString().replace('.000Z', 'Z')
}

/** `90 s`, `5 min`, `2 h`: two significant places at most. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`
  if (ms < 7_200_000) return `${Math.round(ms / 6_000) / 10} min`
  return `${Math.round(ms / 360_000) / 10} h`
}

/** `once`, `3 times`. */
export function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`
}
