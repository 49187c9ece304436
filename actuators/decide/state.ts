// What decide remembers: open incidents with their last answer, targets with their attempts, what people said, what was learned.
//
// Plain JSON values, so that the checkpoint is the state itself. Owned by one reducer, which changes it in place.

import type { Control } from '../../schemas/control.ts'
import type { Decision } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Verdict } from '../../schemas/outcome.ts'
import type { CallState } from '../escalate/calls.ts'
import { type AuditState, emptyAudit } from './audit.ts'
import type { Rollout, StoppedRollout } from './rollout.ts'

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
  /** `DecideState.steppedMs` when it was issued, then when it ended; absent where that is not known. */
  steppedMs?: number
  /** Of the runbook; absent in checkpoints of earlier releases: 0. */
  cost?: number
  /** `driver/verb` of its steps, each once. */
  actions?: string[]
  /** Command whose act it takes back: no attempt at healing, so budgets of attempts do not count it. */
  undoes?: string
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
  /** `DecideState.steppedMs` when it was opened; absent in checkpoints of earlier releases. */
  steppedMs?: number
  /** Decisions published so far: part of the next one's id. */
  sequence: number
  /** What the last decision said, without times. */
  answer: string
  /** Of the last decision what is asked again: its guards fill most of a record, and this is saved with every batch. */
  last: Pick<Decision, 'policy' | 'runbook' | 'target' | 'commandId' | 'decidedAtMs'> | null
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
  /** Nothing is done, and nobody told: since when, less the time that does not count; since when it does not. null: it is attended to. */
  unattended?: { sinceMs: number; heldAtMs: number | null } | null
  /** Who said before any call that they have it. */
  takenBy?: string
  /** A step that is going through members in stages; absent or null: none. */
  rollout?: Rollout | null
  /** Runbooks whose rollout was stopped within this incident. */
  stopped?: Record<string, StoppedRollout>
}

/** An incident that nothing was decided about, as it was opened just now. */
export function newWatch(incident: Incident, { steppedMs }: Pick<DecideState, 'steppedMs'>): Watch {
  return {
    ...{ incident, steppedMs },
    sequence: 0,
    answer: '',
    last: null,
    retryAtMs: null,
    attempts: incident.attempts,
    ask: null,
    holdUntilMs: null,
    escalated: false,
    paged: false
  }
}

/** What a watch remembers of a decision. */
export function lastOf({ policy, runbook, target, commandId, decidedAtMs }: Decision): NonNullable<Watch['last']> {
  return { policy, runbook, target, commandId, decidedAtMs }
}

/** Beta posterior of a runbook against a signature: successes and failures so far. */
export interface TrackRecord {
  successes: number
  failures: number
}

/** A decision whose rightness can be told afterwards: an act, or one that was only recorded (shadow). */
export interface Trial {
  decisionId: string
  incidentId: string
  environment: string
  target: string
  runbook: string
  atMs: number
  mode: 'act' | 'shadow'
  /** null: not known yet, or never. */
  result: 'right' | 'wrong' | null
  /** What told so. */
  why: string
  /** When the target was healed by it; a relapse makes it wrong. */
  healedAtMs: number | null
  /** Anomalies whose labels say more. */
  anomalyIds: string[]
}

/** What a policy's own record earned or cost it. */
export interface Trust {
  /** Each takes one level away from that of its file, until a person gives it back. Oldest first. */
  demotions: { atMs: number; reason: string }[]
  /** Newest last. */
  trials: Trial[]
  /** Level that was last proposed to people. */
  proposed: string | null
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
  /** What others did to targets, by id. */
  changes: Record<string, ControlOf<'change'>>
  /** `environment/group` → size. */
  groups: Record<string, ControlOf<'group'>>
  /** `environment/service` → state of its objective. */
  errorBudgets: Record<string, ControlOf<'error_budget'>>
  /** Policy → its record. */
  trust: Record<string, Trust>
  /** Environment → when its last incidents opened, oldest first; also of those that are over. */
  openings: Record<string, { incidentId: string; atMs: number }[]>
  /** `environment|guard` → when people were last told that it holds automation back. */
  heldTold: Record<string, number>
  /** By how much the wall clock was set while somebody looked, in all; forward is more than 0. */
  steppedMs: number
  /** Incidents that were resolved, the last OVER_MAX of them. */
  over: string[]
  /** Set of policies by which the open incidents were decided last; by another one they are decided again. */
  policiesVersion: string
  /** Heads of audit chains: its own, and those of the actuators. */
  audit: AuditState
}

/** Targets remembered; the one unused longest makes room unless it is frozen or in flight. Fences follow the clock, so forgetting one is safe. */
export const TARGETS_MAX = 10_000
const ONSETS_MAX = 50
const TRUST_MAX = 1_000 // Policies.
/** Trials kept a policy: a Wilson bound gains little from more, and older ones tell of another fleet. */
export const TRIALS_MAX = 200
const OPENINGS_MAX = 500 // Far above what the storm brake counts.
/** Records of an incident arrive within seconds of each other; a thousand later resolutions are far beyond any straggler. */
export const OVER_MAX = 1_000

export function emptyState(): DecideState {
  return {
    watches: {},
    targets: {},
    learned: {},
    killSwitches: {},
    maintenance: {},
    approvals: {},
    changes: {},
    groups: {},
    errorBudgets: {},
    trust: {},
    openings: {},
    heldTold: {},
    steppedMs: 0,
    calls: {},
    pages: [],
    over: [],
    audit: emptyAudit(),
    policiesVersion: ''
  }
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
  return attemptsIn(state, environment, attempt => attempt.verdict === null)
}

export function addOnset(target: TargetState, incident: Incident): void {
  if (target.onsets.some(onset => onset.incidentId === incident.id)) return
  target.onsets.push({ incidentId: incident.id, atMs: incident.openedAtMs })
  if (target.onsets.length > ONSETS_MAX) target.onsets.shift()
}

/** Notes that an incident opened, for the storm brake: it counts also when it is over within seconds. */
export function addOpening(state: DecideState, { id, environment, openedAtMs }: Incident): void {
  const openings = state.openings[environment] ?? []
  state.openings[environment] = openings
  if (openings.some(opening => opening.incidentId === id)) return
  openings.push({ incidentId: id, atMs: openedAtMs })
  if (openings.length > OPENINGS_MAX) openings.shift()
}

/** The policy's record, made when it is not there. */
export function trustOf(state: DecideState, policy: string): Trust {
  const known = state.trust[policy]
  if (known !== undefined) return known
  const made: Trust = { demotions: [], trials: [], proposed: null }
  state.trust[policy] = made
  trim(state.trust, TRUST_MAX)
  return made
}

/** Attempts of the environment that `isWanted`, target by target. No array per target: decisions are made by the thousand in a storm. */
export function attemptsIn(state: DecideState, environment: string, isWanted: (attempt: Attempt) => boolean): Attempt[] {
  const prefix = `${environment}|`
  const wanted: Attempt[] = []
  for (const key in state.targets) {
    if (!key.startsWith(prefix)) continue
    for (const attempt of state.targets[key]!.attempts) if (isWanted(attempt)) wanted.push(attempt)
  }
  return wanted
}

export function learnedOf(state: DecideState, runbook: string, signature: string): TrackRecord {
  return state.learned[`${runbook}|${signature}`] ?? { successes: 0, failures: 0 }
}

/** Forgets the oldest keys beyond `max`. */
export function trim(map: Record<string, unknown>, max: number): void {
  const keys = Object.keys(map)
  for (const key of keys.slice(0, Math.max(0, keys.length - max))) delete map[key]
}
