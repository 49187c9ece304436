// A rollout: one step of a runbook that goes through the members of a group in stages, each verified before the next begins.
//
//   going on ──every member of the last stage done──► over, healed
//       └──a member not healed──► stopped: waits for what is in flight, takes the last act back first ──► over, not healed
//
// Pure: what was done and became of it in, what comes next out. Part of decide's state, so that one that is restored goes on at the
// same stage. Who may be acted on now is the guards' matter, member by member; here is only whose turn it is.

import type { Cause } from '../../schemas/incident.ts'
import type { Outcome, Verdict } from '../../schemas/outcome.ts'
import type { Stage } from '../../schemas/runbook.ts'
import type { LoadedRunbook } from './policy-file.ts'

export interface Rollout {
  id: string
  /** Name and version of the policy that it began under. */
  policy: string
  policyVersion: string
  /** As it was begun: what is taken back later is what was done. Its one step goes through the members. */
  runbook: LoadedRunbook
  /** What it was begun for. */
  cause: Cause
  /** `namespace/service`. */
  group: string
  /** In the order of acting; fixed when it began. */
  members: string[]
  /** How many members have been acted on at the end of each stage; ascends. */
  ends: number[]
  /** One a member, in the order of acting. What was refused before it began is not among them: its turn comes again. */
  acts: MemberAct[]
  /** Why it goes no further; null while it goes on. */
  stopped: string | null
}

export interface MemberAct {
  member: string
  commandId: string
  /** null: in flight. */
  verdict: Verdict | null
  /** Verified, or found to need nothing. */
  isDone: boolean
  /** Taken back, by the actuator itself or by a command for it. */
  isUndone: boolean
  /** The command that takes it back, its verdict (null: in flight), and how many there were. */
  undo: { commandId: string; verdict: Verdict | null; tries: number } | null
}

/** What is remembered of a rollout that was stopped. */
export interface StoppedRollout {
  why: string
  /** Something is left that nobody can vouch for: people first, before another runbook. */
  isForPeople: boolean
}

export type NextOfRollout =
  | { kind: 'act'; member: string }
  /** The outcome of a command in flight is the next news. */
  | { kind: 'await' }
  | { kind: 'undo'; act: MemberAct }
  | { kind: 'over'; isHealed: boolean }

/** Commands that try to take one act back: one that is refused again and again will not be taken. */
export const UNDO_TRIES_MAX = 3
/** After these something was changed that can be taken back. Harmful and ineffective acts the actuator undoes itself. */
const CHANGED: readonly (Verdict | null)[] = ['healed', 'partial', 'inconclusive']
/** The actuator saw that there was nothing to do: raw signals contradict the alarm, or the member's signs have closed. */
const SPARED_BY: readonly (string | null)[] = ['evidence', 'cleared']

/** Ends of the stages among `count` members: shares rounded up, each at least as far as the one before, none twice. */
export function stageEnds(stages: readonly Stage[], count: number): number[] {
  const ends: number[] = []
  for (const stage of stages) {
    const wanted = typeof stage === 'number' ? stage : Math.ceil((count * Number.parseInt(stage, 10)) / 100)
    const end = Math.min(count, wanted)
    if (end > (ends.at(-1) ?? 0)) ends.push(end)
  }
  return ends
}

/** Whose turn it is. O(members). */
export function nextOf({ acts, members, ends, runbook, stopped }: Rollout): NextOfRollout {
  if (stopped === null) {
    const end = ends.find(count => doneAmong(acts, members, count) < count)
    if (end === undefined) return { kind: 'over', isHealed: true }
    const member = members.slice(0, end).find(name => !acts.some(act => act.member === name))
    return member === undefined ? { kind: 'await' } : { kind: 'act', member }
  }
  if (hasInFlight(acts)) return { kind: 'await' }
  const act = runbook.spec.steps[0]!.undo === undefined ? undefined : acts.findLast(isToUndo)
  return act === undefined ? { kind: 'over', isHealed: false } : { kind: 'undo', act }
}

/** Whether a command of it has no outcome yet. */
export function hasInFlight(acts: readonly MemberAct[]): boolean {
  return acts.some(({ verdict, undo }) => verdict === null || (undo !== null && undo.verdict === null))
}

/** Stage of a member, from 1. */
export function stageOf({ members, ends }: Pick<Rollout, 'members' | 'ends'>, member: string): number {
  const index = members.indexOf(member)
  return ends.findIndex(end => index < end) + 1
}

/** Takes in what became of a command; of another's nothing. @param outcome undefined: given up, nobody knows what it did */
export function takeVerdict(rollout: Rollout, commandId: string, outcome: Pick<Outcome, 'verdict' | 'reason' | 'refusedBy' | 'steps'> | undefined): void {
  const verdict = outcome?.verdict ?? 'unknown'
  const undone = rollout.acts.find(({ undo }) => undo?.commandId === commandId)
  if (undone !== undefined) Object.assign(undone, { isUndone: verdict === 'undone', undo: { ...undone.undo!, verdict } })
  const act = rollout.acts.find(known => known.commandId === commandId)
  if (act === undefined) return
  act.isDone = verdict === 'healed' || (outcome !== undefined && isSpared(outcome))
  act.verdict = verdict
  act.isUndone = outcome?.steps.at(-1)?.undo === 'undone'
  if (act.isDone) return
  if (verdict === 'refused') rollout.acts = rollout.acts.filter(other => other !== act)
  else rollout.stopped ??= `${act.member} was ${verdict}${outcome === undefined ? '' : ` (${outcome.reason})`}`
}

/** What a stopped rollout that is over leaves to say. @param also more that is to be known of it, and is for people */
export function stoppedOf(rollout: Rollout, also?: string): StoppedRollout {
  const why = [rollout.stopped ?? '', remainsOf(rollout), placeOf(rollout), also ?? ''].filter(text => text !== '').join('; ')
  return { why, isForPeople: also !== undefined || rollout.acts.some(act => isInDoubt(act, rollout.runbook.spec.steps[0]!.undo !== undefined)) }
}

/** Nobody knows what it did, or it should have been taken back and was not. */
function isInDoubt({ verdict, isUndone, undo }: MemberAct, hasUndo: boolean): boolean {
  return !isUndone && (verdict === 'unknown' || undo !== null || (hasUndo && (verdict === 'ineffective' || verdict === 'harmful')))
}

/** What became of the acts, for people: `taken back: b, a; still as it left them: c`. '' when there is nothing to say. */
function remainsOf({ acts }: Rollout): string {
  const undone = acts.filter(({ isUndone }) => isUndone).map(({ member }) => member)
  const left = acts.filter(({ verdict, isUndone }) => verdict !== 'refused' && !isUndone).map(({ member }) => member)
  return [
    ...(undone.length === 0 ? [] : [`taken back: ${undone.join(', ')}`]),
    ...(left.length === 0 ? [] : [`still as it left them: ${left.join(', ')}`])
  ].join('; ')
}

/** How far it came, for people: `it ended in stage 2 of 3; 4 of 8 members were not acted on`. */
function placeOf({ acts, members, ends }: Rollout): string {
  const acted = new Set(acts.map(({ member }) => member))
  const stage = Math.max(0, ...[...acted].map(member => stageOf({ members, ends }, member)))
  return `it ended in stage ${stage} of ${ends.length}; ${members.length - acted.size} of ${members.length} members were not acted on`
}

function doneAmong(acts: readonly MemberAct[], members: readonly string[], count: number): number {
  const done = new Set(acts.filter(({ isDone }) => isDone).map(({ member }) => member))
  return members.slice(0, count).filter(member => done.has(member)).length
}

function isSpared({ verdict, refusedBy, steps }: Pick<Outcome, 'verdict' | 'refusedBy' | 'steps'>): boolean {
  return verdict === 'refused' && (SPARED_BY.includes(refusedBy) || steps.some(({ result }) => result === 'skipped'))
}

function isToUndo({ verdict, undo }: MemberAct): boolean {
  return CHANGED.includes(verdict) && (undo === null || (undo.verdict === 'refused' && undo.tries < UNDO_TRIES_MAX))
}
