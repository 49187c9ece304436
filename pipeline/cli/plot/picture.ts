// What is drawn of an anomaly: a series in time, what was expected of it, and the stretch that was not. Drawn by terminal.ts and svg.ts.

export interface Picture {
  /** One line: which series. */
  title: string
  /** What it shows, for those who cannot see it. */
  description: string
  /** UCUM unit as sent; `rate`: per second. */
  unit: string
  rate: boolean
  fromMs: number
  toMs: number
  /** In order of time. */
  values: readonly { atMs: number; value: number }[]
  /** What was expected over a time; null: not known. In order, without overlap. */
  expectations: readonly Expectation[]
  /** The anomalous stretch; undefined: none. */
  anomalous: { fromMs: number; toMs: number; isOpen: boolean } | undefined
  /** Sentences below the picture: what it cannot show. */
  notes: readonly string[]
}

export interface Expectation {
  fromMs: number
  toMs: number
  expected: number | null
  lower: number | null
  upper: number | null
}

/** Points further apart than this many usual intervals are not joined: nothing is known of what lies between. */
const GAP_INTERVALS = 4

/** Stretches of values without a gap. */
export function unbroken<Value extends { atMs: number }>(values: readonly Value[]): Value[][] {
  const gaps = values.slice(1).map((value, index) => value.atMs - values[index]!.atMs)
  const usualMs = gaps.toSorted((a, b) => a - b)[gaps.length >> 1] ?? 0
  const stretches: Value[][] = []
  for (const [index, value] of values.entries()) {
    if (index === 0 || gaps[index - 1]! > GAP_INTERVALS * usualMs) stretches.push([])
    stretches.at(-1)!.push(value)
  }
  return stretches
}

/** Lowest and highest number that must be in the picture; zero is, where the values come near it. */
export function valueRange({ values, expectations }: Pick<Picture, 'values' | 'expectations'>): { min: number; max: number } {
  const drawn = values.map(({ value }) => value)
  for (const { expected, lower, upper } of expectations) for (const number of [expected, lower, upper]) if (number !== null) drawn.push(number)
  let min = drawn.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY)
  let max = drawn.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY)
  if (!(min <= max)) return { min: 0, max: 1 }
  if (min > 0 && min < max / 2) min = 0
  if (max < 0 && max > min / 2) max = 0
  if (min === max) return min === 0 ? { min: 0, max: 1 } : { min: Math.min(0, 2 * min), max: Math.max(0, 2 * max) }
  return { min, max }
}
