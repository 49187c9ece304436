// What people's words mean for a target at a moment, read from the log and told without the code under test: when they hold, and
// which of them were taken back.

import type { Control } from '../../schemas/control.ts'
import type { Said } from './facts.ts'
import { type SimPolicy, WINDOW_EVERY_S } from './policies.ts'

type Held = { said: Said; what: string }
const DEPLOY_MS_MAX = 2 * 3_600_000 // A deploy without an end is over then.

/** Words of `said` that keep hands off the target at `nowMs`, of each subject the last one. */
export function holding(said: readonly Said[], target: string, nowMs: number, policy: SimPolicy): Held[] {
  const held: Held[] = []
  for (const one of lastWords(said)) {
    const { control } = one
    if (control.kind === 'maintenance' && control.fromMs <= nowMs && nowMs < control.toMs && ['*', target].includes(control.match))
      held.push({ said: one, what: `maintenance ${control.id}` })
    if (control.kind === 'change' && isAbout(control.target, target) && control.fromMs <= nowMs && nowMs < endOf(control, policy) && !isReleased(said, one))
      held.push({ said: one, what: `${control.what} ${control.id} of ${control.actor}` })
  }
  return held
}

/** Whether a window of the policy itself is open. */
export function isPlanned(nowMs: number, { windowOpenMs }: SimPolicy): boolean {
  return nowMs % (WINDOW_EVERY_S * 1_000) < windowOpenMs
}

function lastWords(said: readonly Said[]): Said[] {
  const last = new Map<string, Said>()
  for (const one of said) if (one.control.kind === 'maintenance' || one.control.kind === 'change') last.set(`${one.control.kind}/${one.control.id}`, one)
  return [...last.values()]
}

function isReleased(said: readonly Said[], { control, offset }: Said): boolean {
  return said.some(later => {
    if (later.control.kind !== 'release_target' || later.offset < offset || control.kind !== 'change') return false
    return isAbout(control.target, later.control.target) && control.target !== '*' && control.atMs <= later.control.atMs
  })
}

function endOf({ what, fromMs, toMs, atMs }: Extract<Control, { kind: 'change' }>, { handsOffMs, settleMs }: SimPolicy): number {
  return what === 'deploy' ? (toMs ?? fromMs + DEPLOY_MS_MAX) + settleMs : (toMs ?? Math.max(fromMs, atMs)) + handsOffMs
}

/** A service and each of its instances are one matter. */
function isAbout(word: string, target: string): boolean {
  return word === '*' || word === target || serviceOf(target) === word || serviceOf(word) === target
}

const serviceOf = (entity: string): string => entity.slice(0, entity.indexOf('@') === -1 ? undefined : entity.indexOf('@'))
