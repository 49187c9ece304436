// What every channel said of every row, recorded once, so that limits and the rest rule can be tried by the thousand.
//
// `judge` repeats the alarm rule of detectors/score/rich/alarm.ts on the recording. An alarm needs strength 1, which is what the
// shipped rate asks of series that report every five minutes or more seldom, as all of NAB's do. `record` makes sure that the
// shipped constants give the product's own alarms.

import {
  BAR_FACTOR,
  judgeRich,
  REST_AGE_SHARE,
  REST_POINTS,
  RICH_FALSE_ALARMS_PER_DAY,
  RICH_VERDICT,
  richThreshold
} from '../../../detectors/score/rich/alarm.ts'
import { CHANNEL_LIMITS } from '../../../detectors/score/rich/calibration.ts'
import { CHANNELS, clearSlot, F32, newRichPage } from '../../../detectors/score/rich/page.ts'
import { updateRich } from '../../../detectors/score/rich/rich.ts'
import type { Corpus, Labels, Series } from './corpus.ts'
import { type Tally, tally } from './scoring.ts'

export interface Rest {
  points: number
  share: number
  bar: number
}

export interface Choice {
  /** Of each channel; infinite when it is off. */
  limits: readonly number[]
  rest: Rest
}

export const SHIPPED: Choice = { limits: CHANNEL_LIMITS, rest: { points: REST_POINTS, share: REST_AGE_SHARE, bar: BAR_FACTOR } }

/** Statistics of one file, only of rows where some choice could alarm. */
export interface Evidence {
  rows: Int32Array
  statistics: Float32Array[]
}

const EVIDENCE_MAX = 30
/** Rows where every channel is below this share of its shipped limit cannot alarm within the choices that are tried. */
const SHARE_MIN = 0.07
const ALARMS_MAX = 30_000
const alarms = new Int32Array(ALARMS_MAX)

/**
 * Runs the product over the corpus and keeps what its channels said.
 * @throws Error when the recording does not reproduce the product's alarms
 */
export function record({ series, labels }: Corpus): Evidence[] {
  return series.map((one, file) => {
    const { evidence, alarmRows } = recordOne(one)
    const product = tally(labels[file]!, alarmRows, alarmRows.length)
    const ours = judge(evidence, labels[file]!, SHIPPED)
    if (product.credit !== ours.credit || product.falseCredit !== ours.falseCredit) throw new Error(`the recording of ${one.path} alarms elsewhere`)
    return evidence
  })
}

/**
 * What a choice earns on one file.
 * @param power how evidence is added up: 2 the root of squares (shipped), 1 the sum, infinite the largest
 */
export function judge({ rows, statistics }: Evidence, labels: Labels, { limits, rest }: Choice, limitFactor = 1, restFactor = 1, power = 2): Tally {
  let count = 0
  let last = 0
  let lastRow = 0
  let restRows = 0
  for (let index = 0; index < rows.length; index++) {
    let squares = 0
    let sum = 0
    let largest = 0
    for (let channel = 0; channel < limits.length; channel++) {
      const evidence = Math.min(statistics[channel]![index]! / limits[channel]!, EVIDENCE_MAX)
      squares += evidence * evidence
      sum += evidence
      if (evidence > largest) largest = evidence
    }
    const strength = (power === 2 ? Math.sqrt(squares) : power === 1 ? sum : largest) / limitFactor
    if (strength < 1) continue
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

function recordOne({ values, timesMs }: Series): { evidence: Evidence; alarmRows: Int32Array } {
  const page = newRichPage()
  clearSlot(page, 0)
  const threshold = richThreshold(RICH_FALSE_ALARMS_PER_DAY)
  const rows: number[] = []
  const alarmRows: number[] = []
  const statistics: number[][] = CHANNELS.map(() => [])
  for (let row = 0; row < values.length; row++) {
    updateRich(page, 0, values[row]!, timesMs[row]!)
    const verdict = judgeRich(page, 0, threshold)
    if (verdict === RICH_VERDICT.opened || verdict === RICH_VERDICT.worsened) alarmRows.push(row)
    const evidence = page.f32.subarray(F32.channels, F32.channels + CHANNELS.length)
    if (!evidence.some(one => one > SHARE_MIN)) continue
    rows.push(row)
    for (const [channel, one] of evidence.entries()) statistics[channel]!.push(one * CHANNEL_LIMITS[channel]!)
  }
  return { evidence: { rows: Int32Array.from(rows), statistics: statistics.map(one => Float32Array.from(one)) }, alarmRows: Int32Array.from(alarmRows) }
}
