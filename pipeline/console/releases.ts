// What a person's release of a target undoes, as far as the records of the view tell; and whether they know that target at all.
//
// Decide and the actuators hold the truth and free what they hold. The view is bounded: what it has forgotten may be held all the same.

import type { BlockReason, GuardResult } from '../../schemas/decision.ts'
import { overlap } from '../../schemas/entity.ts'
import { AppError } from '../../schemas/errors.ts'
import type { Outcome } from '../../schemas/outcome.ts'
import { closestName } from '../../schemas/yaml-hints.ts'
import type { LiveView } from './live-view.ts'

/** Held targets that a refusal names: more are read in the list of incidents. */
const HELD_NAMED_MAX = 5
const ID_SHOWN = 8 // Of an incident: commands take the beginning of an id.

/** What `POST /api/releases` adds to the control record. */
export interface ReleaseEffect {
  /** What held the target until now, a clause each. */
  heldBy: string[]
  /** Other targets that are held, the newest first. */
  stillHeld: string[]
}

/**
 * @param force release it also where nothing of the view names it
 * @throws AppError `not_found` when nothing names it: most likely its name is misspelt
 */
export function releaseEffect(view: LiveView, target: string, nowMs: number, force: boolean): ReleaseEffect {
  const holds = holdsOf(view, nowMs)
  const stillHeld = [...holds.keys()].filter(other => other !== target).reverse()
  const known = holds.get(target)
  const heldBy = [...(known?.values() ?? []), ...(known?.has('ownership') ? [] : changesOf(view, target, nowMs))]
  if (heldBy.length === 0 && !force && !isNamed(view, target)) throw unknownTarget(view, target, stillHeld)
  return { heldBy, stillHeld }
}

type Holds = Map<string, Map<BlockReason | 'given_up', string>>

/** What is held, and by what: what was done to it that only a person can settle, and the newest word on it. The oldest first. */
function holdsOf(view: LiveView, nowMs: number): Holds {
  const releasedAtMs = new Map(view.controls().flatMap(control => (control.kind === 'release_target' ? [[control.target, control.atMs] as const] : [])))
  const isReleased = (target: string, atMs: number): boolean => atMs <= (releasedAtMs.get(target) ?? Number.NEGATIVE_INFINITY)
  const holds: Holds = new Map()
  const hold = (target: string, by: BlockReason | 'given_up', reason: string, atMs: number): void => {
    if (isReleased(target, atMs)) return
    const known = holds.get(target)
    if (known) known.set(by, reason)
    else holds.set(target, new Map([[by, reason]]))
  }
  for (const outcome of view.outcomes().sort((a, b) => a.recordedAtMs - b.recordedAtMs)) {
    const { target, verdict, runbook, reason, recordedAtMs } = outcome
    if (verdict === 'unknown') {
      for (const frozen of [target, ...unknownSteps(outcome)]) hold(frozen, 'target_frozen', `frozen since ${time(recordedAtMs)}: ${reason}`, recordedAtMs)
    } else if (verdict === 'harmful') hold(target, 'target_frozen', `${runbook} did harm to ${target} at ${time(recordedAtMs)}`, recordedAtMs)
  }
  const newest = new Map(
    view
      .decisions()
      .sort((a, b) => a.decidedAtMs - b.decidedAtMs)
      .map(decision => [decision.target, decision])
  )
  for (const [target, { guards, outcome, incidentId, decidedAtMs, reason }] of newest) {
    if (target === null) continue
    for (const result of guards) if (isEndedByRelease(result, nowMs)) hold(target, result.guard, result.reason, decidedAtMs)
    const status = view.story(incidentId)?.incident.status
    const gaveUp = `given up, incident ${incidentId.slice(0, ID_SHOWN)}: ${reason}`
    if (outcome === 'escalate' && status !== undefined && status !== 'resolved' && !holds.has(target)) hold(target, 'given_up', gaveUp, decidedAtMs)
  }
  return holds
}

/** The actuator freezes what a step acted on under its own name, too. */
const unknownSteps = ({ steps }: Outcome): string[] => steps.filter(({ result }) => result === 'unknown').map(({ target }) => target)

function isEndedByRelease({ guard, verdict, inputs, retryAtMs }: GuardResult, nowMs: number): boolean {
  if (verdict === 'allow' || (retryAtMs !== null && retryAtMs <= nowMs)) return false
  if (guard === 'ownership') return inputs.commandInFlight === null
  return guard === 'target_frozen' || (guard === 'stages' && verdict === 'refuse')
}

/** What others are doing to the target now: a release ends that for us. */
function changesOf(view: LiveView, target: string, nowMs: number): string[] {
  return view.controls().flatMap(control => {
    if (control.kind !== 'change' || !overlap(control.target, target) || control.fromMs > nowMs) return []
    return control.toMs === null || nowMs < control.toMs
      ? [`${control.actor} is changing ${control.target} (${control.what}) since ${time(control.fromMs)}`]
      : []
  })
}

/** Whether any record names the target: what it was decided for, done to, seen of, or said of. */
function isNamed(view: LiveView, target: string): boolean {
  return namesOf(view).has(target) || view.controls().some(control => control.kind === 'change' && overlap(control.target, target))
}

function namesOf(view: LiveView): Set<string> {
  const names = new Set<string>()
  for (const { target } of view.decisions()) if (target !== null) names.add(target)
  for (const { target, steps } of view.outcomes()) for (const name of [target, ...steps.map(step => step.target)]) names.add(name)
  for (const { causes, members } of view.incidents(Number.POSITIVE_INFINITY)) for (const { entity } of [...causes, ...members]) names.add(entity)
  for (const control of view.controls()) {
    if (control.kind === 'change') names.add(control.target)
    else if (control.kind === 'group') for (const member of control.members ?? []) names.add(member)
  }
  return names
}

function unknownTarget(view: LiveView, target: string, held: readonly string[]): AppError {
  const near = nearest(target, held) ?? nearest(target, [...namesOf(view)])
  const meant = near === undefined ? '' : ` Did you mean ${near}?`
  const more = held.length > HELD_NAMED_MAX ? `, and ${held.length - HELD_NAMED_MAX} more` : ''
  const shown = held.length === 0 ? ' Nothing is known to be held.' : ` Held now: ${held.slice(0, HELD_NAMED_MAX).join(', ')}${more}.`
  const force = 'If that is its name, and its records are older than what the console keeps, release it with --force.'
  return new AppError('not_found', `nothing is released: no decision, outcome or change names ${target}.${meant}${shown} ${force}`)
}

/** Misspelt, or a part of the name: the service without its instance, the instance alone. */
function nearest(target: string, names: readonly string[]): string | undefined {
  return closestName(target, names) ?? names.find(name => target !== '' && name.includes(target)) ?? names.find(name => overlap(name, target))
}

/** `2026-01-05T12:00:00Z`, as decide's reasons have it. */
function time(atMs: number): string {
  return new Date(atMs).toISOString().replace('.000Z', 'Z')
}
