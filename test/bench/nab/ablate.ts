// What each part of the rich tier adds on NAB: the shipped constants with one thing changed, nothing chosen again.

import { CHANNELS } from '../../../detectors/score/rich/page.ts'
import { say } from '../harness.ts'
import type { Corpus } from './corpus.ts'
import { type Choice, judge, record, SHIPPED } from './evidence.ts'
import { PROFILE_NAMES, scoreOfTallies } from './scoring.ts'

interface Variant {
  name: string
  choice: Choice
  limitFactor?: number
  restFactor?: number
  power?: number
}

const NO_REST = { points: 0, share: 0, bar: 0 }
const off = (channel: number): Choice => ({ ...SHIPPED, limits: SHIPPED.limits.with(channel, Number.POSITIVE_INFINITY) })
const only = (kept: readonly number[]): Choice => ({
  ...SHIPPED,
  limits: SHIPPED.limits.map((limit, channel) => (kept.includes(channel) ? limit : Number.POSITIVE_INFINITY))
})

const VARIANTS: readonly Variant[] = [
  { name: 'shipped', choice: SHIPPED },
  ...CHANNELS.map((channel, index) => ({ name: `without ${channel}`, choice: off(index) })),
  ...CHANNELS.map((channel, index) => ({ name: `${channel} alone`, choice: only([index]) })),
  { name: 'without both shapes', choice: only([0, 1, 2, 3]) },
  { name: 'sum of evidence', choice: SHIPPED, power: 1 },
  { name: 'largest evidence', choice: SHIPPED, power: Number.POSITIVE_INFINITY },
  { name: 'no rest', choice: { ...SHIPPED, rest: NO_REST } },
  { name: 'rest of 100 points at any age', choice: { ...SHIPPED, rest: { ...SHIPPED.rest, points: 100, share: 0 } } },
  { name: 'a rest that nothing breaks', choice: { ...SHIPPED, rest: { ...SHIPPED.rest, bar: 1e9 } } },
  ...[0.85, 0.93, 1.08, 1.18].map(limitFactor => ({ name: `all limits times ${limitFactor}`, choice: SHIPPED, limitFactor })),
  ...[0.7, 1.4].map(restFactor => ({ name: `rest times ${restFactor}`, choice: SHIPPED, restFactor }))
]

/** Prints the variants and returns their standard scores. Halves: the even and the odd files of each folder, by name. */
export function ablate(corpus: Corpus): Record<string, number> {
  const evidence = record(corpus)
  const place = new Map<string, number>()
  const halves = corpus.series.map(({ folder }) => {
    const next = place.get(folder) ?? 0
    place.set(folder, next + 1)
    return next % 2
  })
  say(`${'variant'.padEnd(40)}${[...PROFILE_NAMES, 'half A', 'half B', 'false rows'].map(name => name.padStart(11)).join('')}`)
  const scores: Record<string, number> = {}
  for (const { name, choice, limitFactor, restFactor, power } of VARIANTS) {
    const tallies = evidence.map((one, file) => judge(one, corpus.labels[file]!, choice, limitFactor, restFactor, power))
    const half = (which: number): number =>
      scoreOfTallies(
        tallies.filter((_, file) => halves[file] === which),
        'standard'
      )
    const figures = [...PROFILE_NAMES.map(profile => scoreOfTallies(tallies, profile)), half(0), half(1)]
    const falseRows = tallies.reduce((sum, one) => sum + one.falseRows, 0)
    say(`${name.padEnd(40)}${figures.map(figure => figure.toFixed(1).padStart(11)).join('')}${String(falseRows).padStart(11)}`)
    scores[name] = Number(figures[0]!.toFixed(2))
  }
  return scores
}
