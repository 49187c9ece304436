// Deploy window: while a new version of the target rolls out, and until it has settled, most of what looks broken is the
// deploy itself, and acting would fight it. The policy says whether to wait, to ask or to go on.

import { allow, ask, type Guard, type GuardContext, type HoldContext, span, time, wait } from './guard.ts'
import { changesOf } from './ownership.ts'
import { approvalState } from './question.ts'

/** A deploy whose end nobody told is taken to be over after this: a lost word must not stop healing for ever. */
export const DEPLOY_MS_MAX = 2 * 3_600_000

export const deployWindow: Guard = context => {
  const { nowMs, policy, target } = context
  const { during, settle } = policy.spec.deploys
  const open = deployOf(context)
  const inputs = {
    during,
    settleMs: settle,
    deploy: open?.id ?? null,
    by: open?.actor ?? null,
    startedAtMs: open?.fromMs ?? null,
    untilMs: open?.untilMs ?? null
  }
  if (open === undefined) return allow('deploy_window', inputs, `no deploy of ${target} is under way`)
  const goesOn = open.toMs === null || nowMs < open.toMs
  const what = goesOn
    ? `${open.actor} is deploying ${open.target} since ${time(open.fromMs)}`
    : `${open.actor} deployed ${open.target}: it settles until ${time(open.untilMs)}`
  if (during === 'allow') return allow('deploy_window', inputs, `${what}, which the policy allows`)
  const counterfactual = `The end of the deploy and ${span(settle)} after it.`
  if (during === 'ask' && approvalState(context).kind === 'approved') return allow('deploy_window', inputs, `${what}; people approved`)
  if (during === 'ask') return ask('deploy_window', inputs, what, `${counterfactual} Or a person's yes.`, open.untilMs)
  return wait('deploy_window', inputs, what, counterfactual, open.untilMs)
}

/** Whether a deploy makes this a question for people. */
export function deployAsks(context: GuardContext): boolean {
  return context.policy.spec.deploys.during === 'ask' && deployOf(context) !== undefined
}

/** The deploy of the target that lasts longest, settling included. */
export function deployOf(context: HoldContext) {
  const { settle } = context.policy.spec.deploys
  return changesOf(context)
    .filter(change => change.what === 'deploy')
    .map(change => ({ ...change, untilMs: (change.toMs ?? change.fromMs + DEPLOY_MS_MAX) + settle }))
    .filter(change => context.nowMs < change.untilMs)
    .sort((a, b) => b.untilMs - a.untilMs)[0]
}
