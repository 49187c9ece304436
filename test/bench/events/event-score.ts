// Event-wise precision, recall and delay: an event counts once when it is hit, alarms outside count as false, and an alarm that lasts
// counts again every so many rows. No point adjustment: with it, noise exceeds .9. The rules are those of the data sets' scorer.

import { runs } from './vus.ts'

/** False alarms at most this many rows apart are one. */
const GAP_ROWS = 10
/** Rows after an event in which an alarm still belongs to it. */
const GRACE_ROWS = 10
/** A false alarm that lasts counts again every so many rows. */
const REPEAT_ROWS = 60

export interface EventCounts {
  events: number
  found: number
  falseAlarms: number
  /** Rows from the start of each event that was found to its first alarm. */
  delays: number[]
}

export interface EventScore {
  f1: number
  precision: number
  recall: number
  /** Median; undefined when nothing was found. */
  delayRows: number | undefined
}

/** Judges the alarms `score >= threshold` of one series. */
export function countEvents(labels: Uint8Array, scores: Float64Array, threshold: number): EventCounts {
  const events = runs(labels)
  const alarms = Uint8Array.from(scores, score => (score >= threshold ? 1 : 0))
  const unrelated = alarms.slice()
  const delays: number[] = []
  for (const [start, end] of events) {
    const until = Math.min(end + GRACE_ROWS + 1, labels.length)
    const first = alarms.subarray(start, until).indexOf(1)
    if (first >= 0) delays.push(first)
    unrelated.fill(0, start, until)
  }
  const falseAlarms = runs(unrelated, GAP_ROWS).reduce((sum, [start, end]) => sum + Math.ceil((end - start + 1) / REPEAT_ROWS), 0)
  return { events: events.length, found: delays.length, falseAlarms, delays }
}

/** Adds up several series: precision = found / (found + false alarms). */
export function scoreEvents(parts: readonly EventCounts[]): EventScore {
  const sum = (of: (part: EventCounts) => number): number => parts.reduce((total, part) => total + of(part), 0)
  const events = sum(part => part.events)
  const found = sum(part => part.found)
  const falseAlarms = sum(part => part.falseAlarms)
  const delays = parts.flatMap(part => part.delays).sort((a, b) => a - b)
  const middle = delays.length >> 1
  const median = delays.length % 2 === 1 ? delays[middle] : (delays[middle - 1]! + delays[middle]!) / 2
  return {
    f1: found === 0 ? 0 : (2 * found) / (events + found + falseAlarms),
    precision: found === 0 ? 0 : found / (found + falseAlarms),
    recall: events === 0 ? 0 : found / events,
    delayRows: delays.length === 0 ? undefined : median
  }
}

/** Thresholds that are tried, by rank among the scores above the median. */
const THRESHOLDS = 200

/** The best F1 at one threshold for all series, picked on their labels: an upper bound for people to compare with, no setting. */
export function bestEventScore(series: readonly { labels: Uint8Array; scores: Float64Array }[]): EventScore {
  const sorted = Float64Array.from(series.flatMap(({ scores }) => [...scores])).sort()
  const half = sorted.length >> 1
  let best: EventScore = { f1: 0, precision: 0, recall: 0, delayRows: undefined }
  let last = Number.NaN
  for (let step = 0; step < THRESHOLDS; step++) {
    // Denser towards the top, where alarms begin.
    const threshold = sorted[sorted.length - 1 - Math.floor(half * (step / THRESHOLDS) ** 3)]!
    if (threshold === last) continue
    last = threshold
    const score = scoreEvents(series.map(({ labels, scores }) => countEvents(labels, scores, threshold)))
    if (score.f1 > best.f1) best = score
  }
  return best
}
