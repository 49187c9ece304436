// Synthetic healthy series of many laws, seeded: what the rich tier's scale is calibrated on, so that no labels are.
//
// Fourteen kinds: noise with light, heavy and skewed tails, counts, correlated noise, a random walk that is held back, daily and
// weekly cycles (smooth, square, multiplicative), rates of counters, bursts that belong to the normal, sawteeth. Nothing in
// them is an anomaly, so every alarm on them is a false one.

const DAY_MS = 86_400_000
const START_MS = 1_767_225_600_000
export const INTERVALS_MS = [300_000, 60_000, 10_000, 1_800_000, 3_600_000] as const

export interface HealthySeries {
  kind: string
  intervalMs: number
  timesMs: Float64Array
  values: Float64Array
}

interface Chance {
  uniform(): number
  gaussian(): number
  exponential(): number
  poisson(mean: number): number
}

type Next = (timeMs: number, chance: Chance) => number

const KINDS: Readonly<Record<string, (chance: Chance) => Next>> = {
  gaussian: () => (_, c) => 50 + 5 * c.gaussian(),
  laplace: () => (_, c) => 50 + 5 * (c.exponential() - c.exponential()),
  student4: () => (_, c) => 50 + (5 * c.gaussian()) / Math.sqrt((c.exponential() + c.exponential()) / 2),
  lognormal: () => (_, c) => 20 * Math.exp(0.5 * c.gaussian()),
  uniform: () => (_, c) => 40 + 20 * c.uniform(),
  counts: c => {
    const mean = 0.3 + 6 * c.uniform()
    return (_, chance) => chance.poisson(mean)
  },
  correlated: c => autoregressive(0.5 + 0.45 * c.uniform()),
  wandering: () => autoregressive(0.995),
  daily: c => {
    const size = 5 + 20 * c.uniform()
    return (timeMs, chance) => 60 + size * Math.sin((2 * Math.PI * timeMs) / DAY_MS) + 4 * chance.gaussian()
  },
  weekly: c => {
    const depth = 0.3 + 0.5 * c.uniform()
    return (timeMs, chance) => (isWeekend(timeMs) ? 1 - depth : 1) * (60 + 30 * Math.sin((2 * Math.PI * timeMs) / DAY_MS)) * Math.exp(0.1 * chance.gaussian())
  },
  square: () => (timeMs, chance) => (timeMs % DAY_MS < DAY_MS / 3 ? 80 : 20) + 2 * chance.gaussian(),
  rate: () => (timeMs, chance) => chance.poisson(40 * (1 + 0.5 * Math.sin((2 * Math.PI * timeMs) / DAY_MS))) / 10,
  bursts: c => {
    const share = 0.005 + 0.03 * c.uniform()
    let left = 0
    return (_, chance) => {
      if (left > 0) left--
      else if (chance.uniform() < share) left = 3 + Math.floor(6 * chance.uniform())
      return 10 + chance.gaussian() + (left > 0 ? 20 + 6 * chance.gaussian() : 0)
    }
  },
  sawtooth: c => {
    const slope = 0.5 + c.uniform()
    let level = 0
    return (_, chance) => {
      level = level > 60 + 3 * chance.gaussian() ? 0 : level + slope
      return 100 + level + chance.gaussian()
    }
  }
}
export const KIND_NAMES = Object.keys(KINDS)

/** Series number `index`: kinds take turns, then intervals; the same for the same seed. */
export function healthySeries(index: number, points: number, seed: number): HealthySeries {
  const kind = KIND_NAMES[index % KIND_NAMES.length]!
  const intervalMs = INTERVALS_MS[Math.floor(index / KIND_NAMES.length) % INTERVALS_MS.length]!
  const chance = chanceOf((seed * 1_000_003 + index) >>> 0)
  const next = KINDS[kind]!(chance)
  const timesMs = new Float64Array(points)
  const values = new Float64Array(points)
  for (let point = 0; point < points; point++) {
    timesMs[point] = START_MS + point * intervalMs
    values[point] = next(timesMs[point]!, chance)
  }
  return { kind, intervalMs, timesMs, values }
}

function autoregressive(memory: number): Next {
  let state = 0
  const size = Math.sqrt(1 - memory * memory)
  return (_, chance) => {
    state = memory * state + size * chance.gaussian()
    return 50 + 5 * state
  }
}

function isWeekend(timeMs: number): boolean {
  // The epoch was a Thursday.
  return Math.floor(timeMs / DAY_MS + 4) % 7 === 0 || Math.floor(timeMs / DAY_MS + 4) % 7 === 6
}

/** Mulberry32 and what is drawn from it. */
function chanceOf(seed: number): Chance {
  let state = seed
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const gaussian = (): number => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  return {
    uniform,
    gaussian,
    exponential: () => -Math.log(1 - uniform()),
    poisson(mean) {
      const floor = Math.exp(-mean)
      let product = uniform()
      let count = 0
      for (; product > floor; count++) product *= uniform()
      return count
    }
  }
}
