// How the detector's choices hold on a series that had no part in them: every choice is made on all series but one, and judged on it.
//
// Choices: the candidates below (what the model is), calibration (own share, hold, rate of false alarms: the labels of the other
// series decide; median and scale of the level: their warm-up rows, unlabelled). Best = mean over data sets of the event-wise F1 of
// all series but the one left out, as a mean over neighbouring rates, so that a plateau wins over a peak. F1 over all the
// series left out, each at the choices made without it, is the result. Takes some minutes.

import { alarmThreshold, beginCalibration, type Calibrated, calibrate } from '../../../detectors/score/multivariate/calibration.ts'
import { SCALAR } from '../../../detectors/score/multivariate/entity-state.ts'
import { type Calibration, MULTIVARIATE, type MultivariateSettings } from '../../../detectors/score/multivariate/settings.ts'
import { type BenchResult, say } from '../harness.ts'
import { countEvents, type EventCounts, scoreEvents } from './event-score.ts'
import { runMachine } from './run-machine.ts'
import { INTERVALS_MS, type Machine, machineNames, readMachine } from './server-metrics.ts'

const RATES = [4, 2, 1.5, 1, 0.7, 0.5, 0.25] as const
const OWN_SHARES = [0, 0.5, 1] as const
const HOLDS = [0.9, 0.95] as const
/** Rows of the warm-up that are left out when its levels are described: the model is young. */
const YOUNG_ROWS = 2_000
const TAIL_QUANTILE = 0.95

const FLAT = [1, 1, 1, 1, 1]
const CANDIDATES: readonly MultivariateSettings[] = [0.01, 0.015].flatMap(ridge =>
  [4.5, 5.5].flatMap(clipScales =>
    [10, Number.POSITIVE_INFINITY].flatMap(freedom =>
      [MULTIVARIATE.partShares, FLAT].map(partShares => ({ ...MULTIVARIATE, ridge, clipScales, freedom, partShares }))
    )
  )
)

interface Series {
  set: string
  machine: Machine
  intervalMs: number
  /** By candidate the level of every row, and by hold the median and scale of the warm-up's. */
  levels: Float64Array[]
  described: Map<number, { median: number; scale: number }>[]
}

interface Choice {
  candidate: number
  calibration: Calibration
  rate: number
  value: number
}

/** @param other folder of the other data set: choices are then made on both at once */
export async function leaveOneOut(name: string, data: string, other?: string): Promise<BenchResult> {
  const series = [...readSeries(name, data), ...(other === undefined ? [] : readSeries(name === 'smd' ? 'asd' : 'smd', other))]
  for (const [index, settings] of CANDIDATES.entries()) {
    for (const one of series) {
      const { levels } = runMachine(one.machine, one.intervalMs, settings)
      one.levels.push(levels)
      const quiet = levels.slice(YOUNG_ROWS, one.machine.train.length)
      one.described.push(new Map(HOLDS.map(hold => [hold, describe(quiet, hold)])))
    }
    say(`candidate ${index + 1} of ${CANDIDATES.length}: ${words(settings)}`)
  }
  const judged = new Map<string, EventCounts[]>()
  for (const left of series) {
    const others = series.filter(one => one !== left)
    const choice = choose(others)
    const counts = judge(left, choice.candidate, choice.calibration)[RATES.indexOf(choice.rate as (typeof RATES)[number])]!
    judged.set(left.set, [...(judged.get(left.set) ?? []), counts])
    const { ownShare, hold, median, scale } = choice.calibration
    say(
      `without ${left.machine.name.padEnd(12)} F1 ${choice.value.toFixed(3)}: ${words(CANDIDATES[choice.candidate]!)}; ${choice.rate} a day, own share ${ownShare}, hold ${hold}, median ${median.toFixed(2)}, scale ${scale.toFixed(3)}  -> found ${counts.found}/${counts.events}, false ${counts.falseAlarms}`
    )
  }
  const result: BenchResult = {}
  for (const [set, counts] of judged) {
    const { f1, precision, recall, delayRows } = scoreEvents(counts)
    say(`${set} left out: F1 ${f1.toFixed(3)}, precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}, median delay ${delayRows ?? '-'} rows`)
    result[`${set}F1`] = Number(f1.toFixed(4))
    result[`${set}Precision`] = Number(precision.toFixed(4))
    result[`${set}Recall`] = Number(recall.toFixed(4))
  }
  return result
}

function readSeries(set: string, folder: string): Series[] {
  const intervalMs = INTERVALS_MS[set as keyof typeof INTERVALS_MS]
  return machineNames(folder).map(name => ({ set, machine: readMachine(folder, name), intervalMs, levels: [], described: [] }))
}

/** Median of held levels, and the scale of the exponential tail through it and the 95th percentile. */
function describe(levels: Float64Array, hold: number): { median: number; scale: number } {
  let held = 0
  const sorted = levels
    .map(level => {
      held = Math.max(level, hold * held)
      return held
    })
    .sort()
  const median = sorted[sorted.length >> 1]!
  return { median, scale: (sorted[Math.trunc(TAIL_QUANTILE * sorted.length)]! - median) / Math.LN10 }
}

/** The best candidate, calibration and rate for these series. */
function choose(series: readonly Series[]): Choice {
  let best: Choice = { candidate: 0, calibration: MULTIVARIATE.calibration, rate: 1, value: -1 }
  for (let candidate = 0; candidate < CANDIDATES.length; candidate++) {
    for (const hold of HOLDS) {
      const described = series.map(one => one.described[candidate]!.get(hold)!)
      const median = mean(described.map(one => one.median))
      const scale = Math.exp(mean(described.map(one => Math.log(one.scale))))
      for (const ownShare of OWN_SHARES) {
        const calibration = { median, scale, ownShare, hold }
        const values = meanF1(
          series,
          series.map(one => judge(one, candidate, calibration))
        )
        for (const [index, rate] of RATES.entries()) {
          const value = mean(values.slice(Math.max(0, index - 1), index + 2))
          if (value > best.value) best = { candidate, calibration, rate, value }
        }
      }
    }
  }
  return best
}

/** By rate: mean over data sets of the F1 of their series. */
function meanF1(series: readonly Series[], counts: readonly EventCounts[][]): number[] {
  const sets = [...new Set(series.map(one => one.set))]
  return RATES.map((_, rate) => mean(sets.map(set => scoreEvents(counts.filter((_, index) => series[index]!.set === set).map(one => one[rate]!)).f1)))
}

/** Event counts of one series by rate. */
function judge({ machine, levels, intervalMs }: Series, candidate: number, calibration: Calibration): EventCounts[] {
  const state: Calibrated = { scalars: new Float64Array(SCALAR.count) }
  state.scalars[SCALAR.intervalMs] = intervalMs
  beginCalibration(state, calibration)
  const own = levels[candidate]!
  const scores = new Float64Array(machine.test.length)
  for (let row = 0; row < own.length; row++) {
    const score = calibrate(state, own[row]!, row, calibration)
    if (row >= machine.train.length) scores[row - machine.train.length] = score
  }
  return RATES.map(rate => countEvents(machine.labels, scores, alarmThreshold(rate)))
}

function words({ ridge, clipScales, freedom, partShares }: MultivariateSettings): string {
  return `ridge ${ridge}, clip ${clipScales}, freedom ${freedom}, parts ${partShares.join(' ')}`
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
