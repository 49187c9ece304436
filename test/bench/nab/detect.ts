// Both tiers over one series of the corpus, as the product runs them: one pass, score before learning, one configuration.
//
// A result row holds the score of an alarm (an opened or worsened one) and 0 elsewhere: NAB charges every row that is called
// anomalous outside a window, and the product tells an anomaly once.

import { judgeRich, RICH_VERDICT, type RichVerdict } from '../../../detectors/score/rich/alarm.ts'
import { clearSlot, newRichPage } from '../../../detectors/score/rich/page.ts'
import { updateRich } from '../../../detectors/score/rich/rich.ts'
import { type LevelLimits, type LevelSettings, scaleOf, updateLevel, VERDICT } from '../../../detectors/score/level.ts'
import { F32, F64, newPage, STATE, U8 } from '../../../detectors/score/record.ts'
import { tailScore } from '../../../detectors/score/tail.ts'
import type { Series } from './corpus.ts'

const LIMITS: LevelLimits = { above: true, below: true, deviationMin: 0, scaleFloor: 0, deviationMinRelative: 0 }
const page = newRichPage()

/** The rich tier's alarms, each with its score: −log10 of the false alarms per day at its strength. */
export function richScores(series: Series, threshold: number): Float64Array {
  const scores = new Float64Array(series.values.length)
  judgeEach(series, threshold, (row, score, verdict) => {
    if (verdict === RICH_VERDICT.opened || verdict === RICH_VERDICT.worsened) scores[row] = score
  })
  return scores
}

/** The rich tier's score of every row. */
export function everyRichScore(series: Series, threshold: number): Float64Array {
  const scores = new Float64Array(series.values.length)
  judgeEach(series, threshold, (row, score) => {
    scores[row] = score
  })
  return scores
}

function judgeEach({ values, timesMs }: Series, threshold: number, tell: (row: number, score: number, verdict: RichVerdict) => void): void {
  clearSlot(page, 0)
  for (let row = 0; row < values.length; row++) {
    const score = updateRich(page, 0, values[row]!, timesMs[row]!)
    tell(row, score, judgeRich(page, 0, threshold))
  }
}

/** The base tier's opened anomalies, each with its tail score; rows of a time not later than the last are duplicates. */
export function baseScores({ values, timesMs }: Series, settings: LevelSettings & { deviationMinRelative: number }): Float64Array {
  const limits = { ...LIMITS, deviationMinRelative: settings.deviationMinRelative }
  const scores = new Float64Array(values.length)
  const base = newPage()
  const { f64, f32, u8 } = base
  f64[F64.lastTimeMs] = Number.NEGATIVE_INFINITY
  for (let row = 0; row < values.length; row++) {
    if (timesMs[row]! <= f64[F64.lastTimeMs]!) continue
    const level = f64[F64.level]!
    const residual = values[row]! - level
    const side = residual < 0 ? F32.lower : F32.upper
    const judged = u8[U8.state] !== STATE.warmup
    const score = judged ? tailScore(Math.abs(residual) / scaleOf(f32[F32.spread]!, level, LIMITS), f32[side]!, f32[side + 1]!) : 0
    const verdict = updateLevel(base, 0, values[row]!, timesMs[row]!, timesMs[row]!, settings, limits)
    if (verdict === VERDICT.opened) scores[row] = score
  }
  return scores
}
