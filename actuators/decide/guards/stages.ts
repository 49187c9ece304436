// Stages: in a step that goes through members, is it this member's turn? Asked of such steps only.
//
// A stage begins when every member of the one before was verified. The first that is not ends it: the runbook is not tried again
// on the incident, what it did is taken back, and another runbook, or a person, has the next word.

import type { GuardResult } from '../../../schemas/decision.ts'
import { stageOf } from '../rollout.ts'
import type { RolloutTurn } from '../rollout-turn.ts'
import { allow, type GuardContext, refuse, wait } from './guard.ts'

export function stages({ runbook, watch }: Pick<GuardContext, 'runbook' | 'watch'>, turn: RolloutTurn): GuardResult {
  const stopped = watch.stopped?.[runbook.name]
  if (stopped !== undefined)
    return refuse('stages', { stopped: true }, `${runbook.name} was stopped: ${stopped.why}`, 'Another runbook of the policy, or a look by a person.')
  if ('problem' in turn) return wait('stages', { group: turn.group, membersKnown: false }, turn.problem, turn.counterfactual, null)
  const { rollout, member } = turn
  const { members, acts, ends, group } = rollout
  const stage = stageOf(rollout, member)
  const done = acts.filter(({ isDone }) => isDone).length
  const inputs = {
    group,
    rollout: rollout.id,
    stage,
    stages: ends.length,
    member: members.indexOf(member) + 1,
    members: members.length,
    done,
    inFlight: acts.filter(({ verdict }) => verdict === null).length,
    undo: turn.undoes !== null
  }
  if (turn.undoes !== null) return allow('stages', inputs, `takes back what was done to ${member}: ${rollout.stopped}`)
  const earlier = stage === 1 ? 0 : ends[stage - 2]!
  const verified = earlier === 1 ? 'the one before was verified' : `all ${earlier} before were verified`
  const before = stage === 1 ? `${ends[0]} of ${members.length} first` : verified
  return allow('stages', inputs, `stage ${stage} of ${ends.length}, member ${inputs.member} of ${members.length}: ${before}`)
}
