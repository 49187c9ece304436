// Named streams of chance: a draw more in one place does not move the draws of another, so that a world can be shrunk.

import { hash } from 'node:crypto'
import type { Random } from '../../schemas/ports.ts'
import { seededRandom } from '../support/virtual-clock.ts'

export interface Stream extends Random {
  /** True with probability `p`. */
  chance(p: number): boolean
  /** Uniform in [from, to). */
  between(from: number, to: number): number
  pick<T>(items: readonly T[]): T
}

/** The stream of that name in the world of that seed. */
export function stream(seed: number, name: string): Stream {
  const random = seededRandom(hash('sha256', `${seed}/${name}`, 'buffer').readUInt32LE(0))
  return {
    ...random,
    chance: p => p > 0 && random.next() < p,
    between: (from, to) => from + random.next() * (to - from),
    pick: items => items[Math.floor(random.next() * items.length)]!
  }
}
