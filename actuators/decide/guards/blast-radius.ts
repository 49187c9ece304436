// Blast radius: how many members of a group may be under treatment at once, max(n, p %) of it, and how many must stay well.
// In flight counts, and so does what was done and never verified: until someone knows, it may be down.
//
// The size of a group is what a control record says; else the members heard of, which are never too many: a share of them is
// on the safe side. `minHealthy` needs the true size: without it nobody can say how many are well, so it waits.

import { entityService } from '../../../schemas/entity.ts'
import { undoesOf } from '../rollout-turn.ts'
import { allow, type Guard, type GuardContext, type Inputs, wait } from './guard.ts'

const LISTED_MAX = 5 // Names in the record; the counts say the rest.

export const blastRadius: Guard = context => {
  const { nowMs, incident, policy, target, state } = context
  const { concurrentMax, percentMax, minHealthy, group: kind } = policy.spec.blastRadius
  const group = kind === 'service' ? entityService(target) : '*'
  const { running, unverified } = underTreatment(context, group)
  const isTakenBack = undoesOf(context.turn) !== null
  // What is in doubt elsewhere is no reason to leave a change here: only what is in flight counts against taking it back.
  if (isTakenBack) unverified.clear()
  const treated = running.size + unverified.size
  const told = state.groups[`${incident.environment}/${group}`]?.size ?? null
  const size = told ?? (percentMax > 0 ? heardOf(context, group).size : null) // Counting all is for those who need it.
  const limit = Math.max(concurrentMax, Math.floor(((size ?? 0) * percentMax) / 100))
  const inputs: Inputs = {
    group,
    size,
    sizeKnown: told !== null,
    inFlight: running.size,
    unverified: unverified.size,
    concurrentMax,
    percentMax,
    limit,
    others: [...running, ...unverified].slice(0, LISTED_MAX).join(', ')
  }
  if (treated >= limit) {
    const reason = `${inputs.others} ${treated === 1 ? 'is' : 'are'} in flight or unverified: ${treated} of ${limit} at once`
    const counterfactual = `An outcome there, or blastRadius.concurrentMax above ${treated}.`
    return wait('blast_radius', inputs, reason, counterfactual, unverified.size > 0 ? nowMs + policy.spec.recurrenceWindow : null)
  }
  const enough = `${treated} other targets under treatment, ${limit} at once are allowed`
  if (minHealthy === 0 || minHealthy === '0%' || isTakenBack) return allow('blast_radius', inputs, enough)
  if (told === null) {
    return wait(
      'blast_radius',
      { ...inputs, minHealthy },
      `how many members ${group} has is not known, and ${minHealthy} must stay well`,
      'A control record of the group with its size.',
      null
    )
  }
  const needed = typeof minHealthy === 'number' ? minHealthy : Math.ceil((told * Number.parseInt(minHealthy, 10)) / 100)
  const unwell = new Set([...running, ...unverified, ...broken(context, group)])
  unwell.delete(target)
  // The target is away while it is treated; a service treated as a whole takes all its members away.
  const away = [...unwell, target].reduce((sum, name) => sum + (name === group ? told : 1), 0)
  const healthy = Math.max(0, told - away)
  const all = { ...inputs, minHealthy: needed, healthy, unwell: unwell.size }
  if (healthy >= needed) return allow('blast_radius', all, `${enough}; ${healthy} of ${told} stay well, ${needed} must`)
  return wait(
    'blast_radius',
    all,
    `${healthy} of ${told} members of ${group} would stay well, ${needed} must`,
    `${needed - healthy} more healthy members, or a lower blastRadius.minHealthy.`,
    null
  )
}

/** Other targets of the group with a command in flight, and those where nobody knows what it did. */
function underTreatment({ nowMs, incident, policy, target, state, inFlight }: GuardContext, group: string) {
  const prefix = `${incident.environment}|`
  const running = new Set(inFlight.filter(attempt => attempt.target !== target && isIn(attempt.target, group)).map(attempt => attempt.target))
  const unverified = new Set<string>()
  for (const key in state.targets) {
    if (!key.startsWith(prefix)) continue
    const other = state.targets[key]!
    const last = other.attempts.at(-1)
    const doubtful = last?.verdict === 'inconclusive' && nowMs - (last.endedAtMs ?? last.issuedAtMs) < policy.spec.recurrenceWindow
    if (other.frozen === null && !doubtful) continue
    const name = key.slice(prefix.length)
    if (name !== target && !running.has(name) && isIn(name, group)) unverified.add(name)
  }
  return { running, unverified }
}

/** Members of the group that open incidents of the environment show to be unwell or unknown. */
function broken({ incident, state }: GuardContext, group: string): string[] {
  return Object.values(state.watches)
    .filter(watch => watch.incident.environment === incident.environment && watch.incident.healedAtMs === null)
    .flatMap(({ incident: { causes, members, unknownEntities } }) => [
      ...causes.slice(0, 1).map(cause => cause.entity),
      ...members.filter(member => member.closedAtMs === null && member.severity !== 'info').map(member => member.entity),
      ...unknownEntities
    ])
    .filter(name => isIn(name, group))
}

/** Instances of the group that were ever spoken of, the target included; a service stands for itself only while none of its instances is known. */
function heardOf(context: GuardContext, group: string): Set<string> {
  const { incident, state, target } = context
  const prefix = `${incident.environment}|`
  const targets = Object.keys(state.targets).flatMap(key => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []))
  const names = new Set([...targets.filter(name => isIn(name, group)), ...broken(context, group), target])
  for (const name of [...names]) if (entityService(name) !== name) names.delete(entityService(name))
  return names
}

function isIn(name: string, group: string): boolean {
  return group === '*' || entityService(name) === group
}
