// Recorded incidents, outcomes and people's words through the deciding code once more, by other policies. Pure: records in, decisions out.
//
//   records in order of time ─► decide(…) at their own times, ticks between them when something falls due ─► decisions
//
// The same records and policies give the same decisions, byte for byte: no chance (jitter is none), no clock but the records'.
// What became of an act is known only where the same act really happened: same incident, target, runbook, attempt. Any other
// act is taken to end inconclusive when its plan is over. The incident itself goes on as it was recorded.

import type { Command } from '../../schemas/command.ts'
import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import type { Random } from '../../schemas/ports.ts'
import { addAttempt, attemptOf, settleOutcome } from './attempts.ts'
import { applyControl } from './controls.ts'
import type { UnsignedCommand } from './command.ts'
import { type DecideEffect, type DecideEvent, decide } from './decide.ts'
import type { PolicySet } from './policy-file.ts'
import { type DecideState, emptyState, targetOf } from './state.ts'
import { scoreControl, scoreOutcome } from './trust.ts'

/** What happened: within the window, and before it as far as it still counts. */
export interface RecordedHistory {
  /** Every version. */
  incidents: readonly Incident[]
  commands: readonly Command[]
  outcomes: readonly Outcome[]
  controls: readonly Control[]
  /** What was decided then: which question an approval answered. */
  decisions: readonly RecordedDecision[]
}
export type RecordedDecision = Pick<
  Decision,
  'id' | 'incidentId' | 'environment' | 'decidedAtMs' | 'policy' | 'policyVersion' | 'runbook' | 'target' | 'outcome' | 'blockedBy' | 'attempt' | 'reason'
>

export interface SimulationRules {
  policies: PolicySet
  environments: readonly string[]
  commandExpiryMs: number
  fromMs: number
  /** Not included. */
  toMs: number
}
export interface Simulation {
  decisions: Decision[]
  /** Acts whose outcome is recorded, and acts that never happened. */
  acts: { known: number; assumed: number }
}

/** As the worker's own tick: nothing is looked at oftener. */
const TICK_MS = 500
const NO_CHANCE: Random = { next: () => 0.5, uuid: () => 'simulated' }

type Dated = { atMs: number; id: string; event: DecideEvent }

/** Decides what happened within [fromMs, toMs) by `policies`. */
export function simulatePolicies(history: RecordedHistory, { policies, environments, commandExpiryMs, fromMs, toMs }: SimulationRules): Simulation {
  const rules = { config: { commandExpiry: commandExpiryMs }, policies, environments }
  const state = stateBefore(history, fromMs)
  state.policiesVersion = policies.version
  const known = knownOutcomes(history)
  const questions = new Map(history.decisions.map(decision => [decision.id, decision]))
  /** Recorded command → the one that stands for it here. */
  const standIns = new Map<string, UnsignedCommand>()
  const assumed: Outcome[] = []
  const decisions: Decision[] = []
  const acts = { known: 0, assumed: 0 }
  let tickedMs = Number.NEGATIVE_INFINITY

  function take(effects: readonly DecideEffect[], nowMs: number): void {
    for (const effect of effects) {
      if (effect.kind === 'publish_decision') decisions.push(effect.record)
      if (effect.kind !== 'publish_command') continue
      const recorded = known.get(actKey(effect.record))
      if (recorded !== undefined && recorded.recordedAtMs >= nowMs) {
        standIns.set(recorded.commandId, effect.record)
        acts.known++
      } else {
        assumed.push(assumedOutcome(effect.record))
        acts.assumed++
      }
    }
  }

  function feed(event: DecideEvent, nowMs: number): void {
    take(decide(state, readdressed(event, state, standIns, questions), nowMs, NO_CHANCE, rules), nowMs)
  }

  /** Everything that falls due before `untilMs`, in order. */
  function passTime(untilMs: number): void {
    for (;;) {
      assumed.sort((a, b) => a.recordedAtMs - b.recordedAtMs)
      const outcome = assumed[0]
      const dueMs = Math.max(nextDueMs(state), tickedMs + TICK_MS)
      if (Math.min(dueMs, outcome?.recordedAtMs ?? Number.POSITIVE_INFINITY) >= untilMs) return
      if (outcome !== undefined && outcome.recordedAtMs <= dueMs) {
        assumed.shift()
        take(decide(state, { kind: 'outcome', record: outcome }, outcome.recordedAtMs, NO_CHANCE, rules), outcome.recordedAtMs)
      } else {
        tickedMs = dueMs
        feed({ kind: 'tick' }, dueMs)
      }
    }
  }

  for (const { atMs, event } of eventsOf(history, fromMs, toMs)) {
    passTime(atMs)
    feed(event, atMs)
  }
  passTime(toMs)
  return { decisions, acts }
}

/** Attempts, verdicts and people's words from before the window, as a state that is rebuilt has them. */
function stateBefore({ commands, outcomes, controls }: RecordedHistory, fromMs: number): DecideState {
  const state = emptyState()
  const before = <T>(records: readonly T[], atMs: (record: T) => number): T[] => records.filter(one => atMs(one) < fromMs).sort((a, b) => atMs(a) - atMs(b))
  for (const command of before(commands, ({ issuedAtMs }) => issuedAtMs)) {
    const target = targetOf(state, command.environment, command.target)
    target.fence = Math.max(target.fence, command.fence)
    addAttempt(target, attemptOf(command, 0))
  }
  for (const outcome of before(outcomes, ({ recordedAtMs }) => recordedAtMs)) {
    settleOutcome(state, outcome)
    scoreOutcome(state, outcome)
  }
  for (const control of before(controls, ({ atMs }) => atMs)) {
    applyControl(state, control)
    scoreControl(state, control)
  }
  return state
}

function eventsOf({ incidents, outcomes, controls }: RecordedHistory, fromMs: number, toMs: number): Dated[] {
  const dated: Dated[] = [
    ...incidents.map(record => ({
      atMs: record.updatedAtMs,
      id: `${record.id}-${String(record.version).padStart(9, '0')}`,
      event: { kind: 'incident' as const, record }
    })),
    ...outcomes.map(record => ({ atMs: record.recordedAtMs, id: record.id, event: { kind: 'outcome' as const, record } })),
    ...controls.map(record => ({ atMs: record.atMs, id: JSON.stringify(record), event: { kind: 'control' as const, record } }))
  ]
  return dated
    .filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
    .sort((a, b) => a.atMs - b.atMs || (a.event.kind < b.event.kind ? -1 : a.event.kind > b.event.kind ? 1 : a.id < b.id ? -1 : 1))
}

/** The same act, whoever decided it: its policy plays no part. */
function actKey({ incidentId, target, runbook, attempt }: Pick<Command, 'incidentId' | 'target' | 'runbook' | 'attempt'>): string {
  return JSON.stringify([incidentId, target, runbook, attempt])
}

function knownOutcomes({ outcomes }: RecordedHistory): Map<string, Outcome> {
  return new Map(outcomes.map(outcome => [actKey(outcome), outcome]))
}

/** A recorded outcome or approval speaks of what stands for its command or question here. */
function readdressed(
  event: DecideEvent,
  state: DecideState,
  standIns: ReadonlyMap<string, UnsignedCommand>,
  questions: ReadonlyMap<string, RecordedDecision>
): DecideEvent {
  if (event.kind === 'outcome') {
    const command = standIns.get(event.record.commandId)
    if (command === undefined) return event
    const { id: commandId, decisionId, policy } = command
    return { kind: 'outcome', record: { ...event.record, commandId, decisionId, policy } }
  }
  if (event.kind !== 'control' || event.record.kind !== 'approval') return event
  const asked = questions.get(event.record.decisionId)
  const watch = state.watches[event.record.incidentId]
  const isSame = watch?.ask != null && asked?.runbook === watch.last?.runbook && asked?.target === watch.last?.target
  return isSame ? { kind: 'control', record: { ...event.record, decisionId: watch.ask!.decisionId } } : event
}

/** When the plan is over, whatever its steps take; nobody can say what it would have done. */
function assumedOutcome(command: UnsignedCommand): Outcome {
  const planMs = command.steps.reduce((sum, { step }) => sum + step.timeout + step.settle + step.verify.deadline, 0)
  const { id: commandId, incidentId, decisionId, environment, target, runbook, policy, attempt, issuedAtMs, cost } = command
  return {
    ...{ commandId, incidentId, decisionId, environment, target, runbook, policy, attempt, cost },
    id: `assumed-${commandId}`,
    verdict: 'inconclusive',
    reason: 'this act never happened: nobody can say how it would have ended',
    refusedBy: null,
    steps: [],
    evidence: { signals: [], logs: [], spans: [], facts: {} },
    receivedAtMs: issuedAtMs,
    begunAtMs: issuedAtMs,
    healedAtMs: null,
    recordedAtMs: issuedAtMs + planMs,
    escalated: false
  }
}

/** When a tick has something to do next; infinity when nothing is awaited. */
function nextDueMs(state: DecideState): number {
  let dueMs = Number.POSITIVE_INFINITY
  for (const { retryAtMs, holdUntilMs } of Object.values(state.watches)) dueMs = Math.min(dueMs, retryAtMs ?? dueMs, holdUntilMs ?? dueMs)
  for (const { attempts } of Object.values(state.targets))
    for (const { verdict, deadlineMs } of attempts) if (verdict === null) dueMs = Math.min(dueMs, deadlineMs)
  return dueMs
}
