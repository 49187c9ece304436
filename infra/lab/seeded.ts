// Chance of the lab: the same seed gives the same faults, targets, parameters and traffic.

import type { Random } from '../../schemas/ports.ts'

export type Seeded = Pick<Random, 'next'> & {
  /** Uniform integer in [low, high]. */
  integer(low: number, high: number): number
  pick<T>(values: readonly T[]): T
  shuffle<T>(values: readonly T[]): T[]
  /** An independent stream: a new draw in one does not shift the other. */
  fork(name: string): Seeded
}

/** Source: "mulberry32" by Tommy Ettinger (public domain): 32 bits of state, one multiplication round; enough for choices. */
export function seeded(seed: number): Seeded {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const integer = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1))
  return {
    next,
    integer,
    pick: values => values[integer(0, values.length - 1)]!,
    shuffle(values) {
      const shuffled = [...values]
      for (let last = shuffled.length - 1; last > 0; last--) {
        const other = integer(0, last)
        ;[shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!]
      }
      return shuffled
    },
    fork(name) {
      let hash = seed >>> 0
      for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0 // FNV-1a's step.
      return seeded(hash)
    }
  }
}
