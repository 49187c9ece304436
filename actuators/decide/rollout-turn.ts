// Whose turn it is in a runbook whose step goes through members in stages: the next of the rollout that runs, or the first of one
// that would begin now. Pure.
//
// Who the members are is what the last control record of the group says by name. Where it says nothing, or said it long ago, nobody
// knows whom the act would reach, and nothing is begun. The cause's own instance comes first: there a canary tells most.

import { entityService } from '../../schemas/entity.ts'
import { derivedId } from '../../schemas/ids.ts'
import type { Cause, Incident } from '../../schemas/incident.ts'
import type { RunbookStep } from '../../schemas/runbook.ts'
import { span } from './guards/guard.ts'
import type { LoadedPolicy, LoadedRunbook } from './policy-file.ts'
import { type Rollout, stageEnds } from './rollout.ts'
import type { DecideState, Watch } from './state.ts'

/** A member to act on, or to take the act back from. `problem`: why nobody can say who the members are. */
export type RolloutTurn = { rollout: Rollout; member: string; undoes: string | null } | { group: string; problem: string; counterfactual: string }

/** The command whose act the turn takes back; null where it acts, and where there are no turns. */
export function undoesOf(turn: RolloutTurn | undefined): string | null {
  return turn === undefined || 'problem' in turn ? null : turn.undoes
}

/** The step of a runbook that goes through members in stages, or undefined. Loading sees that it is the only one. */
export function stagedStepOf({ spec }: LoadedRunbook): RunbookStep | undefined {
  return spec.steps.find(({ stages }) => stages !== undefined)
}

/** The first turn of a rollout that would begin now; undefined when the runbook acts on one target. */
export function firstTurn(
  state: DecideState,
  watch: Watch,
  policy: LoadedPolicy,
  runbook: LoadedRunbook,
  cause: Cause,
  nowMs: number
): RolloutTurn | undefined {
  const step = stagedStepOf(runbook)
  if (step === undefined) return undefined
  const { incident } = watch
  const known = membersOf(state, incident, cause, step, nowMs)
  if ('problem' in known) return known
  const members = known.members.toSorted((a, b) => Number(b === cause.entity) - Number(a === cause.entity))
  const rollout: Rollout = {
    id: derivedId('rollout', incident.id, policy.version, runbook.name, runbook.version, watch.attempts),
    policy: policy.name,
    policyVersion: policy.version,
    runbook,
    cause,
    group: entityService(cause.entity),
    members,
    ends: stageEnds(step.stages!, members.length),
    acts: [],
    stopped: null
  }
  return { rollout, member: members[0]!, undoes: null }
}

/** The turn of `member` in a rollout that runs: its members must still be known, and it one of them. */
export function memberTurn(state: DecideState, incident: Incident, cause: Cause, rollout: Rollout, member: string, nowMs: number): RolloutTurn {
  const known = membersOf(state, incident, cause, rollout.runbook.spec.steps[0]!, nowMs)
  if ('problem' in known) return known
  if (known.members.includes(member)) return { rollout, member, undoes: null }
  return { group: rollout.group, problem: `${member} is a member of ${rollout.group} no more`, counterfactual: 'A control record of the group that names it.' }
}

type Members = { members: readonly string[] } | Extract<RolloutTurn, { problem: string }>

function membersOf(state: DecideState, { environment }: Incident, cause: Cause, { targets }: RunbookStep, nowMs: number): Members {
  const group = entityService(cause.entity)
  const told = state.groups[`${environment}/${group}`]
  const unknown = (problem: string): Members => ({
    group,
    problem,
    counterfactual: `A control record that names all members (homeostat announce group environment=${environment} group=${group} size=… members=…).`
  })
  const { members = [], size = 0, atMs = 0 } = told ?? {}
  if (told === undefined || members.length === 0) return unknown(`who the members of ${group} are is not known`)
  if (nowMs - atMs > targets!.staleAfter)
    return unknown(`who the members of ${group} are was said ${span(nowMs - atMs)} ago, ${span(targets!.staleAfter)} is too long`)
  const distinct = new Set(members)
  if (distinct.size !== size) return unknown(`${distinct.size} of ${size} members of ${group} are known by name`)
  const foreign = members.find(name => entityService(name) !== group)
  if (foreign !== undefined) return unknown(`${foreign} is named as a member of ${group}, and is none`)
  if (cause.entity !== group && !distinct.has(cause.entity)) return unknown(`${cause.entity} is not among the members of ${group} that were named`)
  return { members: [...distinct] }
}

/** The rollout knows of the command from now on; its first one begins it. */
export function noteTurn(watch: Watch, turn: RolloutTurn | undefined, commandId: string): void {
  if (turn === undefined || 'problem' in turn) return
  const { rollout, member, undoes } = turn
  watch.rollout = rollout
  if (undoes === null) rollout.acts.push({ member, commandId, verdict: null, isDone: false, isUndone: false, undo: null })
  const act = rollout.acts.find(known => known.commandId === undoes)
  if (act !== undefined) act.undo = { commandId, verdict: null, tries: (act.undo?.tries ?? 0) + 1 }
}
