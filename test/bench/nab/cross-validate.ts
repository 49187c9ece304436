// How good are the constants on series they were not chosen on? Each folder is left out once, all constants that separate
// alarms from silence are chosen on the other six by one procedure, and the folder is scored with them.
//
// Chosen: the limit of each channel (nine steps of √2 around a round number, or the channel off) and the rest rule (points, share
// of age, bar). Objective: the standard score, averaged over a neighbourhood (limits ±10 %, rest ±25 %) so that a plateau beats a
// peak. Search: from the same middle start, one constant at a time, until nothing improves. Not chosen: what a channel
// is (steps, warm-up, number of prototypes). Those were settled on the whole corpus, so this figure still flatters a little.

import { clearSlot, F32, newRichPage, CHANNELS } from '../../../detectors/score/rich/page.ts'
import { CHANNEL_LIMITS } from '../../../detectors/score/rich/calibration.ts'
import { updateRich } from '../../../detectors/score/rich/rich.ts'
import { say } from '../harness.ts'
import type { Corpus, Labels, Series } from './corpus.ts'
import { PROFILE_NAMES, type Profile, scoreOfTallies, type Tally, tally } from './scoring.ts'

/** Middle of each channel's grid: round numbers, not the shipped ones. */
const MIDDLE = [0.01, 1, 0.1, 8, 4, 4]
const LEVELS = [Number.POSITIVE_INFINITY, ...Array.from({ length: 9 }, (_, step) => 2 ** ((step - 4) / 2))]
const RESTS = [0, 25, 50, 100].flatMap(points => [0.02, 0.03, 0.04].flatMap(share => [2, 4, 6, 8].map(bar => ({ points, share, bar }))))
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
const EVIDENCE_MAX = 30
/** Rows where every channel is below this share of the smallest limit cannot alarm. */
const SHARE_MIN = 0.3

export interface Choice {
  levels: number[]
  rest: (typeof RESTS)[number]
}

/** Statistics of one file, only of rows that some choice could alarm at. */
interface Evidence {
  rows: Int32Array
  statistics: Float32Array[]
}

export function crossValidate({ series, labels }: Corpus): Record<Profile, number> {
  const evidence = series.map(evidenceOfSeries)
  const folders = [...new Set(series.map(one => one.folder))]
  const held: Tally[] = []
  for (const folder of folders) {
    const rest = series.flatMap((one, file) => (one.folder === folder ? [] : [file]))
    const choice = choose(evidence, labels, rest)
    const out = series.flatMap((one, file) => (one.folder === folder ? [file] : []))
    const tallies = out.map(file => judge(evidence[file]!, labels[file]!, choice, 1, 1))
    held.push(...tallies)
    const limits = choice.levels.map((level, channel) => `${CHANNELS[channel]} ${Number.isFinite(level) ? (level * MIDDLE[channel]!).toPrecision(2) : 'off'}`)
    const trained = rest.map(file => judge(evidence[file]!, labels[file]!, choice, 1, 1))
    const windows = tallies.reduce((sum, one) => sum + one.windows, 0)
    say(
      `without ${folder.padEnd(22)} the others ${scoreOfTallies(trained, 'standard').toFixed(1)}, it ${windows > 0 ? scoreOfTallies(tallies, 'standard').toFixed(1) : `has no window; ${tallies.reduce((sum, one) => sum + one.falseRows, 0)} false rows`}`
    )
    say(`  chosen: ${limits.join(', ')}; rest ${choice.rest.points} + ${choice.rest.share} of age, bar ${choice.rest.bar}`)
  }
  return Object.fromEntries(PROFILE_NAMES.map(profile => [profile, scoreOfTallies(held, profile)])) as Record<Profile, number>
}

function choose(evidence: readonly Evidence[], labels: readonly Labels[], files: readonly number[]): Choice {
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
  let best: Choice = { levels: MIDDLE.map(() => 1), rest: START_REST }
  let bestWorth = worth(best)
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const before = bestWorth
    const candidates = function* (): Generator<(from: Choice) => Choice> {
      for (let channel = 0; channel < MIDDLE.length; channel++) {
        for (const level of LEVELS) yield from => ({ ...from, levels: from.levels.with(channel, level) })
      }
      for (const rest of RESTS) yield from => ({ ...from, rest })
    }
    for (const change of candidates()) {
      const candidate = change(best)
      const candidateWorth = worth(candidate)
      if (candidateWorth <= bestWorth + IMPROVEMENT_MIN) continue
      best = candidate
      bestWorth = candidateWorth
    }
    if (bestWorth === before) break
  }
  return best
}

const alarms = new Int32Array(30_000)

/** The alarm rule of alarm.ts on recorded statistics; strength 1 is the limit. */
function judge({ rows, statistics }: Evidence, labels: Labels, { levels, rest }: Choice, limitFactor: number, restFactor: number): Tally {
  let count = 0
  let last = 0
  let lastRow = 0
  let restRows = 0
  const inverse = levels.map((level, channel) => 1 / (level * MIDDLE[channel]!))
  for (let index = 0; index < rows.length; index++) {
    let squares = 0
    for (let channel = 0; channel < inverse.length; channel++) {
      const evidence = Math.min(statistics[channel]![index]! * inverse[channel]!, EVIDENCE_MAX)
      squares += evidence * evidence
    }
    if (squares < limitFactor * limitFactor) continue
    const strength = Math.sqrt(squares) / limitFactor
    const row = rows[index]!
    const rested = (row - lastRow) / restRows
    if (last > 0 && rested < 1 && strength <= 1 + rest.bar * last * (1 - rested)) continue
    last = strength
    lastRow = row
    restRows = restFactor * (rest.points + rest.share * (row + 1))
    alarms[count++] = row
  }
  return tally(labels, alarms, count)
}

function evidenceOfSeries({ values, timesMs }: Series): Evidence {
  const page = newRichPage()
  clearSlot(page, 0)
  const rows: number[] = []
  const statistics: number[][] = MIDDLE.map(() => [])
  const smallest = MIDDLE.map(middle => middle * LEVELS[1]! * SHARE_MIN)
  const now = new Float64Array(MIDDLE.length)
  for (let row = 0; row < values.length; row++) {
    updateRich(page, 0, values[row]!, timesMs[row]!)
    let matters = false
    for (let channel = 0; channel < now.length; channel++) {
      now[channel] = page.f32[F32.channels + channel]! * CHANNEL_LIMITS[channel]!
      matters ||= now[channel]! > smallest[channel]!
    }
    if (!matters) continue
    rows.push(row)
    for (let channel = 0; channel < now.length; channel++) statistics[channel]!.push(now[channel]!)
  }
  return { rows: Int32Array.from(rows), statistics: statistics.map(one => Float32Array.from(one)) }
}
