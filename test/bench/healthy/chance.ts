// Seeded chance of the healthy fleet: the distributions that telemetry shows, and levels that wander but come back.

export interface Chance {
  /** [0, 1). */
  uniform(): number
  gaussian(): number
  /** Mean 1. */
  exponential(): number
  poisson(mean: number): number
  /** Median 1. */
  lognormal(sigma: number): number
  /** An independent stream: a new draw in one does not shift the other. */
  fork(name: string): Chance
}

/** Beyond this mean a Poisson count is drawn from the Gaussian, corrected for its skew (Cornish & Fisher, 1938). */
const POISSON_EXACT_MAX = 12

/** Source: "mulberry32" by Tommy Ettinger (public domain); Box & Muller (1958) for the Gaussian. */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0
  let spare = Number.NaN
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const gaussian = (): number => {
    if (!Number.isNaN(spare)) {
      const kept = spare
      spare = Number.NaN
      return kept
    }
    const size = Math.sqrt(-2 * Math.log(1 - uniform()))
    const angle = 2 * Math.PI * uniform()
    spare = size * Math.sin(angle)
    return size * Math.cos(angle)
  }
  return {
    uniform,
    gaussian,
    exponential: () => -Math.log(1 - uniform()),
    poisson(mean) {
      if (mean > POISSON_EXACT_MAX) {
        const z = gaussian()
        return Math.max(0, Math.round(mean + Math.sqrt(mean) * z + (z * z - 1) / 6))
      }
      if (mean <= 0) return 0
      const floor = Math.exp(-mean)
      let count = 0
      for (let product = uniform(); product > floor; count++) product *= uniform()
      return count
    },
    lognormal: sigma => Math.exp(sigma * gaussian()),
    fork(name) {
      let hash = seed >>> 0
      for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0 // FNV-1a's step.
      return chanceOf(hash)
    }
  }
}

/**
 * A level that wanders and is pulled back (Ornstein & Uhlenbeck, 1930), exact for steps of equal length.
 * @param deviation standard deviation in the long run
 * @param memorySteps after so many steps the correlation is 1/e
 * @returns the next level, mean 0
 */
export function wandering(chance: Chance, deviation: number, memorySteps: number): () => number {
  const memory = Math.exp(-1 / memorySteps)
  const size = deviation * Math.sqrt(1 - memory * memory)
  let level = deviation * chance.gaussian()
  return () => {
    level = memory * level + size * chance.gaussian()
    return level
  }
}
