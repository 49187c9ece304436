// How good are the constants on series they were not chosen on? Each folder is left out once, all constants that separate
// alarms from silence are chosen on the other six by one procedure, and the folder is scored with them.
//
// Chosen: the limit of each channel (nine steps of √2 around a round number, or the channel off) and the rest rule (points, share
// of age, bar). Objective: the standard score, averaged over a neighbourhood (limits ±10 %, rest ±25 %) so that a plateau beats a
// peak. Search: from the same starts (all channels off the middle of their grids by the same factor), one constant at a time,
// until nothing improves; the end that is best on the six folders is chosen, and what each start alone would have given is
// printed beside it: a hundred windows leave several points to chance. Not chosen: what a channel is (steps, warm-up, number
// of prototypes). Those were settled on the whole corpus, so this figure still flatters a little.

import { CHANNELS } from '../../../detectors/score/rich/page.ts'
import { say } from '../harness.ts'
import type { Corpus, Labels } from './corpus.ts'
import { type Choice, type Evidence, judge, record } from './evidence.ts'
import { PROFILE_NAMES, type Profile, scoreOfTallies, type Tally } from './scoring.ts'

/** Middle of each channel's grid: round numbers, not the shipped ones. */
const MIDDLE = [0.01, 1, 0.1, 8, 4, 4]
const LEVELS = [Number.POSITIVE_INFINITY, ...Array.from({ length: 9 }, (_, step) => 2 ** ((step - 4) / 2))]
const RESTS = [0, 25, 50, 100].flatMap(points => [0.02, 0.03, 0.04].flatMap(share => [2, 4, 6, 8].map(bar => ({ points, share, bar }))))
const START_LEVELS = [1 / 2, Math.SQRT1_2, 1, Math.SQRT2, 2]
const START_REST = { points: 50, share: 0.04, bar: 4 }
/** Limit and rest factors of the neighbourhood. */
const NEIGHBOURS = [
  [1, 1],
  [0.9, 1],
  [1.1, 1],
  [1, 0.75],
  [1, 1.25]
] as const
const ROUNDS_MAX = 4
const IMPROVEMENT_MIN = 0.02

interface End {
  choice: Choice
  worth: number
}

export function crossValidate(corpus: Corpus): Record<Profile, number> {
  const { series, labels } = corpus
  const evidence = record(corpus)
  const folders = [...new Set(series.map(one => one.folder))]
  const held: Tally[] = []
  const byStart: Tally[][] = START_LEVELS.map(() => [])
  for (const folder of folders) {
    const rest = series.flatMap((one, file) => (one.folder === folder ? [] : [file]))
    const ends = choose(evidence, labels, rest)
    const { choice } = ends.reduce((best, end) => (end.worth > best.worth ? end : best))
    const out = series.flatMap((one, file) => (one.folder === folder ? [file] : []))
    const tallies = out.map(file => judge(evidence[file]!, labels[file]!, choice))
    held.push(...tallies)
    for (const [start, end] of ends.entries()) byStart[start]!.push(...out.map(file => judge(evidence[file]!, labels[file]!, end.choice)))
    const limits = choice.limits.map((limit, channel) => `${CHANNELS[channel]} ${Number.isFinite(limit) ? limit.toPrecision(2) : 'off'}`)
    const trained = rest.map(file => judge(evidence[file]!, labels[file]!, choice))
    const windows = tallies.reduce((sum, one) => sum + one.windows, 0)
    say(
      `without ${folder.padEnd(22)} the others ${scoreOfTallies(trained, 'standard').toFixed(1)}, it ${windows > 0 ? scoreOfTallies(tallies, 'standard').toFixed(1) : `has no window; ${tallies.reduce((sum, one) => sum + one.falseRows, 0)} false rows`}`
    )
    say(`  chosen: ${limits.join(', ')}; rest ${choice.rest.points} + ${choice.rest.share.toFixed(3)} of age, bar ${choice.rest.bar.toFixed(1)}`)
  }
  say(`one start alone, standard: ${byStart.map(tallies => scoreOfTallies(tallies, 'standard').toFixed(1)).join(', ')}`)
  return Object.fromEntries(PROFILE_NAMES.map(profile => [profile, scoreOfTallies(held, profile)])) as Record<Profile, number>
}

/** Where the search ends from each start. */
function choose(evidence: readonly Evidence[], labels: readonly Labels[], files: readonly number[]): End[] {
  const worth = (choice: Choice): number => {
    let sum = 0
    for (const [limitFactor, restFactor] of NEIGHBOURS) {
      sum += scoreOfTallies(
        files.map(file => judge(evidence[file]!, labels[file]!, choice, limitFactor, restFactor)),
        'standard'
      )
    }
    return sum / NEIGHBOURS.length
  }
  return START_LEVELS.map(level => climb({ limits: MIDDLE.map(limit => limit * level), rest: START_REST }, worth))
}

/** Changes one constant at a time while that improves what the choice is worth. */
function climb(start: Choice, worth: (choice: Choice) => number): End {
  let best = { choice: start, worth: worth(start) }
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const before = best.worth
    for (const change of changes()) {
      const choice = change(best.choice)
      const candidate = { choice, worth: worth(choice) }
      if (candidate.worth > best.worth + IMPROVEMENT_MIN) best = candidate
    }
    if (best.worth === before) break
  }
  return best
}

function* changes(): Generator<(from: Choice) => Choice> {
  for (let channel = 0; channel < MIDDLE.length; channel++) {
    for (const level of LEVELS) yield from => ({ ...from, limits: from.limits.with(channel, level * MIDDLE[channel]!) })
  }
  for (const rest of RESTS) yield from => ({ ...from, rest })
}
