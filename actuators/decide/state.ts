// What decide remembers: open incidents with their last answer, targets with their attempts, what people said, what was learned.
//
// Plain JSON values, so that the checkpoint is the state itself. Owned by one reducer, which changes it in place.

import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Verdict } from '../../schemas/outcome.ts'
import type { CallState } from '../escalate/calls.ts'

/** One command for a target, from its issue to its verdict. */
export interface Attempt {
  commandId: string
  incidentId: string
  environment: string
  target: string
  policy: string
  runbook: string
  signature: string
  issuedAtMs: number
  /** Without an outcome by then it is an orphan. */
  deadlineMs: number
  /** Drawn when issued, −1..1: the same cooldown however often it is computed. */
  jitter: number
  /** null: in flight. */
  verdict: Verdict | null
  endedAtMs: number | null
  healedAtMs: number | null
}

export interface TargetState {
  /** Of the last command; each new one is larger. */
  fence: number
  /** Something may or may not have happened here: nobody acts until a person releases it. */
  frozen: { sinceMs: number; reason: string } | null
  /** Runbooks that did harm here → since when. */
  quarantined: Record<string, number>
  /** Newest last. */
  attempts: Attempt[]
  /** Incidents whose first cause is here: id and when they opened, newest last. */
  onsets: { incidentId: string; atMs: number }[]
  /** When people were last paged because automation gave up here. */
  escalatedAtMs: number | null
}

/** An open incident and where its decision stands. */
export interface Watch {
  incident: Incident
  /** Decisions published so far: part of the next one's id. */
  sequence: number
  /** What the last decision said, without times. */
  answer: string
  last: Decision | null
  /** When to look again though nothing happens. */
  retryAtMs: number | null
  /** Commands so far. */
  attempts: number
  /** The question that people are to approve. */
  ask: { decisionId: string; askedAtMs: number; subject: string } | null
  /** After a healed verdict that diagnose has not taken in yet: no decision before this time. */
  holdUntilMs: number | null
  escalated: boolean
  paged: boolean
}

/** Beta posterior of a runbook against a signature: successes and failures so far. */
export interface TrackRecord {
  successes: number
  failures: number
}

type ControlOf<Kind extends Control['kind']> = Extract<Control, { kind: Kind }>

export interface DecideState extends CallState {
  watches: Record<string, Watch>
  /** `environment|entity` → state. */
  targets: Record<string, TargetState>
  /** `runbook|signature` → record. */
  learned: Record<string, TrackRecord>
  killSwitches: Record<string, ControlOf<'kill_switch'>>
  maintenance: Record<string, ControlOf<'maintenance'>>
  /** Decision id → answers. */
  approvals: Record<string, ControlOf<'approval'>[]>
  /** Incidents that were resolved, the last OVER_MAX of them. */
  over: string[]
}

/** Targets remembered; the one unused longest makes room unless it is frozen or in flight. Fences follow the clock, so forgetting one is safe. */
export const TARGETS_MAX = 10_000
/** Attempts kept a target: budgets count at most tens within their window. */
export const ATTEMPTS_MAX = 100
const ONSETS_MAX = 50
const APPROVALS_MAX = 5_000 // Decisions with answers; the oldest are of incidents long closed.
const MAINTENANCE_MAX = 1_000
/** Records of an incident arrive within seconds of each other; a thousand later resolutions are far beyond any straggler. */
export const OVER_MAX = 1_000

export function emptyState(): DecideState {
  return { watches: {}, targets: {}, learned: {}, killSwitches: {}, maintenance: {}, approvals: {}, calls: {}, pages: [], over: [] }
}

export function targetKey(environment: string, target: string): string {
  return `${environment}|${target}`
}

/** The target's state, made when it is not there. */
export function targetOf(state: DecideState, environment: string, target: string): TargetState {
  const key = targetKey(environment, target)
  const known = state.targets[key]
  if (known !== undefined) return known
  const made: TargetState = { fence: 0, frozen: null, quarantined: {}, attempts: [], onsets: [], escalatedAtMs: null }
  state.targets[key] = made
  const keys = Object.keys(state.targets)
  if (keys.length > TARGETS_MAX) {
    const idle = keys.find(other => other !== key && isIdle(state.targets[other]!))
    if (idle !== undefined) delete state.targets[idle]
  }
  return made
}

function isIdle(target: TargetState): boolean {
  return target.frozen === null && Object.keys(target.quarantined).length === 0 && target.attempts.every(attempt => attempt.verdict !== null)
}

/** Commands without an outcome, over all targets of an environment. */
export function inFlight(state: DecideState, environment: string): Attempt[] {
  const prefix = `${environment}|`
  return Object.entries(state.targets).flatMap(([key, target]) => (key.startsWith(prefix) ? target.attempts.filter(attempt => attempt.verdict === null) : []))
}

export function addAttempt(target: TargetState, attempt: Attempt): void {
  if (target.attempts.some(known => known.commandId === attempt.commandId)) return
  target.attempts.push(attempt)
  if (target.attempts.length > ATTEMPTS_MAX) target.attempts.shift()
}

export function addOnset(target: TargetState, incident: Incident): void {
  if (target.onsets.some(onset => onset.incidentId === incident.id)) return
  target.onsets.push({ incidentId: incident.id, atMs: incident.openedAtMs })
  if (target.onsets.length > ONSETS_MAX) target.onsets.shift()
}

export function learnedOf(state: DecideState, runbook: string, signature: string): TrackRecord {
  return state.learned[`${runbook}|${signature}`] ?? { successes: 0, failures: 0 }
}

/** What people said, as far as decisions read it. */
export function applyControl(state: DecideState, control: Control): void {
  if (control.kind === 'kill_switch') state.killSwitches[control.scope] = control
  else if (control.kind === 'maintenance') {
    state.maintenance[control.id] = control
    trim(state.maintenance, MAINTENANCE_MAX)
  } else if (control.kind === 'approval') {
    const others = (state.approvals[control.decisionId] ?? []).filter(answer => answer.by !== control.by)
    state.approvals[control.decisionId] = [...others, control]
    trim(state.approvals, APPROVALS_MAX)
  } else if (control.kind === 'release_target') {
    for (const [key, target] of Object.entries(state.targets)) {
      if (key.slice(key.indexOf('|') + 1) !== control.target) continue
      if (target.frozen !== null && target.frozen.sinceMs > control.atMs) continue // An old release does not free a new freeze.
      target.frozen = null
      target.quarantined = {}
      target.escalatedAtMs = null
    }
  }
}

function trim(map: Record<string, unknown>, max: number): void {
  const keys = Object.keys(map)
  for (const key of keys.slice(0, Math.max(0, keys.length - max))) delete map[key]
}
