// The scorer of NAB v1.1, ours: the same figures as the reference to the last digit (Lavin & Ahmad, "Evaluating real-time
// anomaly detection algorithms - the Numenta Anomaly Benchmark", ICMLA 2015, section 3; the official weights).

import type { Corpus, Labels } from './corpus.ts'

export const PROFILES = { standard: { miss: 1, falseRow: 0.11 }, lowFp: { miss: 1, falseRow: 0.22 }, lowFn: { miss: 2, falseRow: 0.11 } } as const
export type Profile = keyof typeof PROFILES
export const PROFILE_NAMES = Object.keys(PROFILES) as Profile[]

/** What the alarms of one file earned, before a profile weighs it. */
export interface Tally {
  windows: number
  /** Sum of the credits of the windows found. */
  credit: number
  missed: number
  /** Sum of the credits of false rows, <= 0. */
  falseCredit: number
  falseRows: number
}

/** @param alarms rows of the alarms, ascending; `count` of them are used */
export function tally(labels: Labels, alarms: Int32Array, count: number): Tally {
  const result: Tally = { windows: labels.windowCount, credit: 0, missed: labels.windowCount, falseCredit: 0, falseRows: 0 }
  let counted = -1
  for (let index = 0; index < count; index++) {
    const row = alarms[index]!
    if (row < labels.scoredFrom) continue
    const window = labels.window[row]!
    if (window < 0) {
      result.falseCredit += labels.credit[row]!
      result.falseRows++
    } else if (window > counted) {
      // Rows ascend and credit falls towards the right edge: the first one counts.
      result.credit += labels.credit[row]!
      result.missed--
      counted = window
    }
  }
  return result
}

/** The normalised score of files together: 0 is a detector that says nothing, 100 a perfect one. */
export function scoreOfTallies(tallies: readonly Tally[], profile: Profile): number {
  const { miss, falseRow } = PROFILES[profile]
  let raw = 0
  let windows = 0
  for (const one of tallies) {
    raw += one.credit - miss * one.missed + falseRow * one.falseCredit
    windows += one.windows
  }
  return (100 * (raw + miss * windows)) / (windows + miss * windows)
}

export interface Best {
  score: number
  threshold: number
  falseRows: number
  found: number
}

/** The best score over all thresholds on the scores, as the reference sweeps them: every distinct score is one. */
export function bestOf(corpus: Corpus, scores: readonly Float64Array[], profile: Profile): Best {
  const { miss, falseRow } = PROFILES[profile]
  const rows: { score: number; file: number; row: number }[] = []
  let windows = 0
  for (const [file, labels] of corpus.labels.entries()) {
    windows += labels.windowCount
    // Rows that score 0 are no detections at any threshold worth having; the reference would flag the whole corpus.
    for (let row = labels.scoredFrom; row < scores[file]!.length; row++) if (scores[file]![row]! > 0) rows.push({ score: scores[file]![row]!, file, row })
  }
  rows.sort((a, b) => b.score - a.score)
  const credit = corpus.labels.map(labels => new Float64Array(labels.windowCount).fill(-miss))
  let raw = -miss * windows
  let falseRows = 0
  let found = 0
  let best: Best = { score: 0, threshold: Number.POSITIVE_INFINITY, falseRows: 0, found: 0 }
  for (const [index, { score, file, row }] of rows.entries()) {
    const labels = corpus.labels[file]!
    const window = labels.window[row]!
    if (window < 0) {
      raw += falseRow * labels.credit[row]!
      falseRows++
    } else if (labels.credit[row]! > credit[file]![window]!) {
      if (credit[file]![window]! < 0) found++
      raw += labels.credit[row]! - credit[file]![window]!
      credit[file]![window] = labels.credit[row]!
    }
    if (rows[index + 1]?.score === score) continue
    const scaled = (100 * (raw + miss * windows)) / (windows + miss * windows)
    if (scaled > best.score) best = { score: scaled, threshold: score, falseRows, found }
  }
  return best
}

/** Scores at one threshold. */
export function talliesAt(corpus: Corpus, scores: readonly Float64Array[], threshold: number): Tally[] {
  return corpus.labels.map((labels, file) => {
    const alarms = Int32Array.from(scores[file]!.keys()).filter(row => scores[file]![row]! >= threshold)
    return tally(labels, alarms, alarms.length)
  })
}
