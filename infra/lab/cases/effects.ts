// The independent witness of a case: the actuated side writes one line for each order that reached it, with the order's key.
//
// Cases count effects here, never in Homeostat's own records. Format: JSON lines, appended whole.

import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Effect {
  atMs: number
  /** What was acted on, as the case names it. */
  target: string
  /** What was done: `replace`, `weight`, … */
  what: string
  /** Idempotency key of the order; '' when the case itself did it. */
  key: string
  detail?: string
}

export function witnessEffect(folder: string, effect: Omit<Effect, 'atMs'>): void {
  appendFileSync(join(folder, 'witness.jsonl'), `${JSON.stringify({ atMs: Date.now(), ...effect })}\n`)
}

/** Orders witnessed since `fromMs`, in order; what the case itself did is left out. */
export function readEffects(folder: string, fromMs = 0): Effect[] {
  return readWitnessed(folder, fromMs).filter(({ key }) => key !== '')
}

/** Every line since `fromMs`, in order, those without a key too. */
export function readWitnessed(folder: string, fromMs = 0): Effect[] {
  const file = join(folder, 'witness.jsonl')
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Effect)
    .filter(({ atMs }) => atMs >= fromMs)
}
