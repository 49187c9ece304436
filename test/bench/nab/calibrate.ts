// Counts false alarms of the rich tier on healthy series: the table of calibration.ts, and expected against observed.

import { judgeRich, judgeStrength, RICH_FALSE_ALARMS_PER_DAY, RICH_VERDICT, type RichVerdict, richThreshold } from '../../../detectors/score/rich/alarm.ts'
import { FALSE_ALARMS, falseAlarmsPerPoint, STRENGTH_LOG2_MIN, strengthAt } from '../../../detectors/score/rich/calibration.ts'
import { clearSlot, F32, F32_STRIDE, newRichPage, type RichPage, U32 } from '../../../detectors/score/rich/page.ts'
import { updateRich } from '../../../detectors/score/rich/rich.ts'
import { healthySeries } from './healthy.ts'

const POINTS = 12_000
/** The first thousand points are a young series', which its readiness report speaks of. */
const COUNTED_FROM = 1_000
const STRENGTHS = FALSE_ALARMS.map((_, row) => 2 ** (row + STRENGTH_LOG2_MIN))
const RATES = [10, 1, 0.3, 0.1, 0.03, 0.01, 0.001]
const RULES = STRENGTHS.length + RATES.length

export interface Calibration {
  /** −log10 of false alarms per point, by strength. */
  table: number[]
  /** Observed over expected false alarms, by configured rate. */
  ratios: { rate: number; expected: number; observed: number }[]
}

/**
 * @param total  series; kinds take turns, then intervals
 * @param say    takes a line for people
 */
export function calibrate(total: number, seed: number, say: (line: string) => void): Calibration {
  const counts = STRENGTHS.map(() => 0)
  const observed = RATES.map(() => 0)
  const byKind = new Map<string, number>()
  const byInterval = new Map<number, number>()
  const expected = RATES.map(() => 0)
  for (let index = 0; index < total; index++) {
    const series = healthySeries(index, POINTS, seed)
    const page = newRichPage()
    for (let slot = 0; slot <= RULES; slot++) clearSlot(page, slot)
    for (const [number, rate] of RATES.entries()) {
      expected[number]! += (POINTS - COUNTED_FROM) * falseAlarmsPerPoint(strengthAt(richThreshold(rate), series.intervalMs))
    }
    for (let point = 0; point < POINTS; point++) {
      updateRich(page, 0, series.values[point]!, series.timesMs[point]!)
      const strength = page.f32[F32.strength]!
      if (strength < STRENGTHS[0]!) continue
      // Rules do not change what is learned: one pass of the channels serves all of them, each with alarm fields of its own.
      for (let rule = 0; rule < RULES; rule++) {
        const verdict = judge(page, rule)
        if (point < COUNTED_FROM || (verdict !== RICH_VERDICT.opened && verdict !== RICH_VERDICT.worsened)) continue
        if (rule < STRENGTHS.length) counts[rule]!++
        else observed[rule - STRENGTHS.length]!++
        if (RATES[rule - STRENGTHS.length] !== RICH_FALSE_ALARMS_PER_DAY) continue
        byKind.set(series.kind, (byKind.get(series.kind) ?? 0) + 1)
        byInterval.set(series.intervalMs, (byInterval.get(series.intervalMs) ?? 0) + 1)
      }
    }
  }
  const points = total * (POINTS - COUNTED_FROM)
  const table = counts.map(count => -Math.log10(Math.max(count, 0.5) / points))
  print(table, counts, say)
  say(`false alarms at ${RICH_FALSE_ALARMS_PER_DAY} per series and day, by kind: ${[...byKind].map(([kind, count]) => `${kind} ${count}`).join(', ')}`)
  say(`by interval: ${[...byInterval].map(([interval, count]) => `${interval / 1000} s ${count}`).join(', ')}`)
  const ratios = RATES.map((rate, index) => ({ rate, expected: expected[index]!, observed: observed[index]! }))
  for (const { rate, expected: due, observed: seen } of ratios) {
    say(
      `rate ${String(rate).padEnd(6)} per series and day: expected ${due.toFixed(0).padStart(7)}, observed ${String(seen).padStart(6)}, ratio ${(seen / due).toFixed(2)}`
    )
  }
  return { table, ratios }
}

function print(table: readonly number[], counts: readonly number[], say: (line: string) => void): void {
  say('strength  alarms  −log10 of false alarms per point: counted, shipped')
  for (const [row, counted] of table.entries()) {
    say(
      `${STRENGTHS[row]!.toFixed(2).padStart(8)}${String(counts[row]).padStart(8)}${counted.toFixed(2).padStart(10)}${FALSE_ALARMS[row]!.toFixed(2).padStart(8)}`
    )
  }
}

/** Judges the last point of slot 0 by rule number `rule`, whose alarm fields are those of slot `rule + 1`. */
function judge(page: RichPage, rule: number): RichVerdict {
  const base = (rule + 1) * F32_STRIDE
  page.f32[base + F32.strength] = page.f32[F32.strength]!
  page.f32[base + F32.intervalMs] = page.f32[F32.intervalMs]!
  page.u32[base + U32.points] = page.u32[U32.points]!
  return rule < STRENGTHS.length ? judgeStrength(page, rule + 1, STRENGTHS[rule]!) : judgeRich(page, rule + 1, richThreshold(RATES[rule - STRENGTHS.length]!))
}
