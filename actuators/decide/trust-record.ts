// What a policy's record is worth: precision of its decisions with a confidence bound, what it earns, and whether it has drifted.
//
// Precision is the share of right decisions among those of which it is known. A bound, not the share itself, is compared:
// three right out of three say little. Undecided trials count neither way.

import { probit } from 'simple-statistics'
import { type Autonomy, AUTONOMY_LEVELS } from '../../schemas/decision.ts'
import type { Policy } from '../../schemas/runbook.ts'
import { nextLevel } from './guards/level.ts'
import type { Trial, Trust } from './state.ts'

type TrustSettings = Policy['spec']['trust']

export interface Earned {
  /** Trials whose result is known. */
  trials: number
  /** 0..1, and its lower bound; null without trials. */
  precision: number | null
  precisionLower: number | null
  /** The next level, when the record supports it. */
  proposal: Autonomy | undefined
}

/**
 * Wilson score interval of a proportion, each 0..1.
 * Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209–212.
 * @param confidence two-sided, 0.95 for 95 %
 */
export function wilson(successes: number, trials: number, confidence: number): { lower: number; upper: number } {
  if (trials === 0) return { lower: 0, upper: 1 }
  const z = probit(1 - (1 - confidence) / 2)
  const share = successes / trials
  const z2n = (z * z) / trials
  const middle = share + z2n / 2
  const half = z * Math.sqrt((share * (1 - share) + z2n / 4) / trials)
  return { lower: Math.max(0, (middle - half) / (1 + z2n)), upper: Math.min(1, (middle + half) / (1 + z2n)) }
}

/** What the record supports from `level` on: one step at most, and only since the last demotion. */
export function earned(trust: Trust | undefined, settings: TrustSettings, level: Autonomy): Earned {
  const known = knownTrials(trust)
  const right = known.filter(trial => trial.result === 'right').length
  if (known.length === 0) return { trials: 0, precision: null, precisionLower: null, proposal: undefined }
  const { lower } = wilson(right, known.length, settings.confidence)
  const next = nextLevel(level)
  const supports = next !== undefined && next !== 'observe' && known.length >= settings.trialsMin && lower >= settings.precisionMin[next]
  return { trials: known.length, precision: rounded(right / known.length), precisionLower: rounded(lower), proposal: supports ? next : undefined }
}

/**
 * Why the record no longer supports `level`, or undefined: of the last `trialsMin` acts so few were right that even the upper
 * bound is below what the level asks for. Shadow decisions do not count: nobody was harmed by them.
 */
export function drift(trust: Trust, settings: TrustSettings, level: Autonomy): string | undefined {
  if (level === AUTONOMY_LEVELS[0]) return undefined
  const acts = knownTrials(trust)
    .filter(trial => trial.mode === 'act')
    .slice(-settings.trialsMin)
  if (acts.length < settings.trialsMin) return undefined
  const right = acts.filter(trial => trial.result === 'right').length
  const { upper } = wilson(right, acts.length, settings.confidence)
  const needed = settings.precisionMin[level]
  return upper < needed ? `${right} of the last ${acts.length} acts were right: at best ${rounded(upper)}, ${level} needs ${needed}` : undefined
}

/** A demotion starts the record anew: what cost the level does not cost the next one too. */
function knownTrials(trust: Trust | undefined): Trial[] {
  const sinceMs = trust?.demotions.at(-1)?.atMs ?? Number.NEGATIVE_INFINITY
  return trust?.trials.filter(trial => trial.result !== null && trial.atMs > sinceMs) ?? []
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000
}
