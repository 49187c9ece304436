// The answer in a few lines, for whoever was just woken: what it did, why, what would change that, and what a person can do.
//
// Text only restates records. Every way of not acting has a line for what a person can do, or says that nothing need be done.

import type { BlockReason, Decision, GuardResult } from '../../schemas/decision.ts'
import type { Incident } from '../../schemas/incident.ts'
import type { Outcome, Verdict } from '../../schemas/outcome.ts'
import { span } from './guards/guard.ts'

const ID_SHOWN = 8 // Of an incident: commands take the beginning of an id.

const DONE: Readonly<Record<Decision['outcome'], string>> = {
  act: 'It acted.',
  would_act: 'It did nothing, and recorded what it would have done.',
  ask: 'It waits for people to say yes.',
  blocked: 'It has not acted; it looks again by itself.',
  none: 'It did nothing.',
  escalate: 'It gave up and called people.'
}
const VERDICTS: Readonly<Record<Verdict, string>> = {
  healed: 'healed',
  partial: 'mended a part',
  ineffective: 'did not help',
  harmful: 'did harm',
  inconclusive: 'could not be judged',
  unknown: 'may or may not have happened',
  refused: 'was refused before it began',
  undone: 'was taken back'
}

/** @param decisions of the incident, oldest first; `outcomes` of it in any order */
export function explainAnswer(incident: Incident, decisions: readonly Decision[], outcomes: readonly Outcome[]): string[] {
  const last = decisions.at(-1)
  const tried = [...outcomes].sort((a, b) => a.recordedAtMs - b.recordedAtMs)
  const attempts = tried.map(({ runbook, target, verdict, reason }) => `What was tried: ${runbook} on ${target} ${VERDICTS[verdict]}: ${reason}`)
  if (incident.status === 'resolved') {
    const didNotAct = last !== undefined && last.outcome !== 'act' && incident.resolution !== 'remediated'
    return [overLine(incident, tried), ...attempts, ...(didNotAct ? whyNotLines(last, tried.length > 0) : [])]
  }
  if (last === undefined) return ['Nothing is decided yet.']
  const running = last.outcome === 'act' && !outcomes.some(({ commandId }) => commandId === last.commandId)
  // Where a step goes through members, the heal of one is not the end of it.
  const goesOn = stageLines(last).length > 0 && (running || last.outcome !== 'act')
  if (incident.healedAtMs !== null && !goesOn) return ['It healed the target; what still shows is awaited to go.', ...attempts]
  const done = running ? `It is acting: ${last.runbook} on ${last.target}.` : gaveUpQuietly(last) ? 'It gave up.' : DONE[last.outcome]
  const people = running ? [] : peopleLines(decisions)
  return [done, ...whyLines(last), ...people, ...stageLines(last), ...attempts, ...handLines(incident, last, people.length > 0)]
}

/** Whether people were called with a decision whose outcome does not say so. */
export function tellsOfCall({ outcome, calledPeople }: Decision): boolean {
  return calledPeople === true && outcome !== 'ask' && outcome !== 'escalate'
}

/** Whether it gave up on a target that people had been called about shortly before, so that they were not called at once. */
export function gaveUpQuietly({ outcome, calledPeople, callAtMs }: Decision): boolean {
  return outcome === 'escalate' && calledPeople === false && callAtMs != null
}

/** Whether people know of an incident that waits, and when they will. */
function peopleLines(decisions: readonly Decision[]): string[] {
  const last = decisions.at(-1)!
  const called = decisions.findLast(tellsOfCall)
  if (called !== undefined && last.outcome !== 'ask' && last.outcome !== 'escalate')
    return [`People were called at ${new Date(called.decidedAtMs).toISOString()}, for it was not acting.`]
  if (last.callAtMs == null) return []
  const atMs = new Date(last.callAtMs).toISOString()
  if (last.outcome === 'escalate') return [`People were called about ${last.target} before; for this incident they are at ${atMs} unless it is over.`]
  return [`Nobody was called yet; people are at ${atMs} unless it acts before.`]
}

function overLine({ resolution, healedAtMs, startedAtMs }: Incident, outcomes: readonly Outcome[]): string {
  const after = healedAtMs === null ? '' : `, ${span(healedAtMs - startedAtMs)} after it began`
  const healed = outcomes.findLast(({ verdict }) => verdict === 'healed')
  switch (resolution) {
    case 'remediated':
      return `Over: ${healed === undefined ? 'it was healed' : `${healed.runbook} healed ${healed.target}`}${after}. Nothing is left to do.`
    case 'self_healed':
      return `Over${after}: it went away ${outcomes.length === 0 ? 'by itself, nothing was done' : 'though nothing that was done healed it'}.`
    case 'escalated':
      return `Over${after}, after people were called.`
    case 'merged':
      return 'It turned out to be a part of another incident, and goes on there.'
    default:
      return 'Closed: nothing was heard of it for a day.'
  }
}

/** Where a step that goes through members stands. */
function stageLines({ guards }: Decision): string[] {
  const { stage, stages, done, members, inFlight, undo } = guards.find(({ guard }) => guard === 'stages')?.inputs ?? {}
  if (stage === undefined) return []
  return [
    `Stage ${stage} of ${stages}${undo === true ? ', being taken back' : ''}: ${done} of ${members} members verified, ${inFlight} in flight before this one.`
  ]
}

/** Guards that stood in the way, the final ones first. */
export function hinderingGuards(decision: Decision): GuardResult[] {
  const order: readonly GuardResult['verdict'][] = ['refuse', 'ask', 'wait']
  return order.flatMap(verdict => decision.guards.filter(result => result.verdict === verdict))
}

/** Those of them that decide: what only waits does not matter while something refuses. Being at a low level does not hide the rest. */
function decidingGuards(decision: Decision): GuardResult[] {
  const hindering = hinderingGuards(decision)
  const first = hindering.find(({ guard }) => guard !== 'autonomy') ?? hindering[0]
  return hindering.filter(({ guard, verdict }) => verdict === first?.verdict || guard === 'autonomy')
}

function whyLines(decision: Decision): string[] {
  const deciding = decidingGuards(decision)
  if (deciding.length === 0) return [`Why: ${decision.reason}.`]
  const others = hinderingGuards(decision)
    .filter(result => !deciding.includes(result))
    .map(({ guard }) => guard)
  return [
    ...deciding.map(({ reason }, index) => `${index === 0 ? 'Why: ' : '     '}${reason}.`),
    ...changeLine('What would change that', deciding),
    ...(others.length === 0 ? [] : [`Then it would still wait for: ${others.join(', ')}.`])
  ]
}

/** The same of what is over. */
function whyNotLines(decision: Decision, acted: boolean): string[] {
  const deciding = decidingGuards(decision)
  const reason = deciding.length === 0 ? decision.reason : deciding.map(guard => guard.reason).join('; ')
  return [`Why nothing ${acted ? 'more ' : ''}was done: ${reason}.`, ...changeLine('What would have changed that', deciding)]
}

function changeLine(label: string, deciding: readonly GuardResult[]): string[] {
  const changes = deciding.map(({ counterfactual }) => counterfactual).filter(text => text !== '')
  return changes.length === 0 ? [] : [`${label}: ${changes.join(' ')}`]
}

/** What a person can type or write, for each guard that a person can answer. */
const HANDS: Readonly<Partial<Record<BlockReason, (guard: GuardResult, decision: Decision) => string | undefined>>> = {
  approval: ({ verdict }, { id }) => (verdict === 'ask' ? `homeostat approve ${id}   (or with --reject)` : undefined),
  target_frozen: (_, { target }) => `look at ${target}, then: homeostat release ${target}`,
  ownership: ({ verdict, inputs }, { target }) => {
    if (verdict === 'refuse') return `settle it with ${inputs.revertedBy}, then: homeostat release ${target}`
    if (inputs.commandInFlight !== null) return undefined // Only its outcome ends that.
    return `if you want it to act now: homeostat release ${inputs.lastChangeTarget === '*' ? "'*'" : target}`
  },
  flapping: (_, { target, policy }) => `find out why ${target} breaks again and again; meanwhile: homeostat kill --scope policy/${policy}`,
  attempt_budget: ({ verdict }, { target, runbook }) => (verdict === 'refuse' ? `look at ${target}: ${runbook} does not cure it` : undefined),
  stages: ({ verdict, inputs }, { target }) =>
    verdict === 'refuse'
      ? `look at what is said above of each member; to let it begin anew: homeostat release ${target}`
      : `say who its members are: homeostat announce group group=${inputs.group} environment=… size=… members=…`,
  storm: () => 'look for the one cause that all of it has; nothing is restarted meanwhile',
  cost_budget: ({ inputs }) => `if it is worth it, raise costBudgets (${inputs.action}) in the policy`,
  freshness: ({ inputs }, { target }) =>
    `see for yourself whether ${inputs.unknownOthers || target} ${String(inputs.unknownOthers).includes(',') ? 'are' : 'is'} well, and mend the way of the telemetry`,
  kill_switch: ({ inputs }) => `homeostat kill --off --scope ${inputs.scope}   (it was ${inputs.by}: ${inputs.reason})`,
  autonomy: ({ inputs }, { policy }) => {
    const { trials, precision, proposal } = inputs
    const record = typeof precision === 'number' && Number(trials) > 0 ? ` (so far ${Math.round(precision * 100)} % of ${trials} right)` : ''
    return `raise autonomy in the policy ${policy}${proposal ? `, which has earned ${proposal}` : ', when its record convinces you'}${record}`
  }
}

function handLines(incident: Incident, decision: Decision, isCalling: boolean): string[] {
  const { outcome, target } = decision
  const cause = incident.causes[0]
  const written =
    decision.blockedBy.includes('no_policy') && cause !== undefined
      ? [`write a policy that matches cause.service == "${cause.service}" && cause.signature == "${cause.signature}"`]
      : decision.blockedBy.includes('no_runbook') && cause !== undefined
        ? [`give the policy ${decision.policy} a runbook whose signatures hold ${cause.signature}`]
        : []
  const hands = decidingGuards(decision).flatMap(result => HANDS[result.guard]?.(result, decision) ?? [])
  const mine =
    outcome === 'escalate' || outcome === 'ask' || isCalling
      ? [`homeostat acknowledge ${incident.id.slice(0, ID_SHOWN)}   (you have it: nobody else is called)`]
      : []
  const lines = [...written, ...hands, ...mine]
  if (lines.length > 0) return ['What you can do:', ...lines.map(line => `  ${line}`)]
  return outcome === 'act' || target === null ? [] : ['What you can do: nothing need be done now.']
}
