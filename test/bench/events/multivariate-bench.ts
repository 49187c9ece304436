// What `bench smd` and `bench asd` do: every machine of a folder through the multivariate detector, one pass, one configuration.
//
// Train rows warm up, test rows are scored, then learned. Labels are read for the report alone. Writes <name>.csv (one column
// `score`, a line per test row) to --out. Table for people on stderr: VUS-PR and event-wise F1 of the detector and of the base tier
// (largest score of the single series) at the detector's shipped threshold; below it the best F1 of either at any one threshold, and
// the base tier's at its own shipped rate. rows/s are per CPU second of one core.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { alarmThreshold, FALSE_ALARMS_PER_DAY } from '../../../detectors/score/multivariate/calibration.ts'
import { MULTIVARIATE } from '../../../detectors/score/multivariate/settings.ts'
import { configSchema } from '../../../schemas/config.ts'
import { type BenchOptions, type BenchResult, figure, say } from '../harness.ts'
import { baseTierScores } from './base-tier.ts'
import { bestEventScore, countEvents, type EventCounts, scoreEvents } from './event-score.ts'
import { leaveOneOut } from './leave-one-out.ts'
import { runMachine } from './run-machine.ts'
import { INTERVALS_MS, type Machine, machineNames, readMachine } from './server-metrics.ts'
import { runs, vusPr } from './vus.ts'

interface Row {
  name: string
  vusPr: number
  counts: EventCounts
  baseVusPr: number
  baseCounts: EventCounts
  baseShippedCounts: EventCounts
}

interface Scored {
  labels: Uint8Array
  scores: Float64Array
}

export async function multivariateBench(name: keyof typeof INTERVALS_MS, { data, out, args }: BenchOptions): Promise<BenchResult> {
  if (data === undefined) throw new Error(`bench ${name} needs --data DIR with <name>.train.csv and <name>.test.csv`)
  if (args[0] === 'leave-one-out') return leaveOneOut(name, data, args[1])
  if (out !== undefined) mkdirSync(out, { recursive: true })
  const threshold = alarmThreshold()
  const intervalMs = INTERVALS_MS[name]
  const { falseAlarmsPerSeriesDay } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect
  const rows: Row[] = []
  const [ours, theirs]: Scored[][] = [[], []]
  let scored = 0
  let cpuMs = 0
  let bytes = 0
  let named = 0
  let explained = 0
  for (const one of machineNames(data)) {
    const machine = readMachine(data, one)
    const events = runs(machine.labels)
    const run = runMachine(machine, intervalMs, MULTIVARIATE, events)
    if (out !== undefined) writeFileSync(join(out, `${one}.csv`), `score\n${run.scores.join('\n')}\n`)
    scored += machine.train.length + machine.test.length
    cpuMs += run.cpuMs
    bytes = Math.max(bytes, run.bytes)
    for (const [start, metrics] of machine.causes) {
      const reasons = run.reasons.get(start)
      if (reasons === undefined) continue
      explained++
      if (reasons.some(reason => metrics.has(reason.metric))) named++
    }
    const base = baseTierScores(machine, intervalMs)
    ours!.push({ labels: machine.labels, scores: run.scores })
    theirs!.push({ labels: machine.labels, scores: base })
    rows.push({
      name: one,
      vusPr: vusPr(machine.labels, run.scores),
      counts: countEvents(machine.labels, run.scores, threshold),
      baseVusPr: vusPr(machine.labels, base),
      baseCounts: countEvents(machine.labels, base, threshold),
      baseShippedCounts: countEvents(machine.labels, base, -Math.log10(falseAlarmsPerSeriesDay * machine.metrics))
    })
    if (rows.length === 1) say(`${name}: alarm from score ${threshold} on: ${FALSE_ALARMS_PER_DAY} false alarm(s) expected per entity and day\n${HEADER}`)
    say(line(rows.at(-1)!, days(machine, intervalMs)))
  }
  const total = scoreEvents(rows.map(row => row.counts))
  const base = scoreEvents(rows.map(row => row.baseCounts))
  const volume = mean(rows.map(row => row.vusPr))
  const baseVolume = mean(rows.map(row => row.baseVusPr))
  say(`${'all'.padEnd(16)}${cells(volume, total)}${' '.repeat(30)}${cells(baseVolume, base)}`)
  const [best, baseBest] = [bestEventScore(ours!), bestEventScore(theirs!)]
  const baseShipped = scoreEvents(rows.map(row => row.baseShippedCounts))
  say(`F1 at the best threshold, picked on the labels: ${best.f1.toFixed(3)}, base tier ${baseBest.f1.toFixed(3)}`)
  say(`F1 of the base tier at its shipped rate (${falseAlarmsPerSeriesDay} a series and day): ${baseShipped.f1.toFixed(3)}`)
  say(`reasons: the three metrics named at an event's highest row include one that explains it in ${named} of ${explained} events`)
  say(`${Math.round(scored / (cpuMs / 1000)).toLocaleString('en')} rows a CPU second; ${bytes.toLocaleString('en')} bytes an entity`)
  return {
    vusPr: round(volume),
    f1: round(total.f1),
    precision: round(total.precision),
    recall: round(total.recall),
    delayRows: total.delayRows ?? null,
    threshold,
    falseAlarmsPerDay: FALSE_ALARMS_PER_DAY,
    rowsPerS: figure(scored / (cpuMs / 1000)),
    bytesPerEntity: bytes,
    reasonsHit: round(named / Math.max(1, explained)),
    baseVusPr: round(baseVolume),
    baseF1: round(base.f1),
    bestF1: round(best.f1),
    baseBestF1: round(baseBest.f1),
    baseShippedF1: round(baseShipped.f1)
  }
}

const HEADER = `${'machine'.padEnd(16)} VUS-PR     F1  prec.   rec. delay   found  false  a day     base tier: VUS-PR     F1  prec.   rec. delay`

function line({ name, vusPr: volume, counts, baseVusPr, baseCounts }: Row, spanDays: number): string {
  const found = `${counts.found}/${counts.events}`.padStart(8)
  const perDay = (counts.falseAlarms / spanDays).toFixed(2).padStart(7)
  const ours = cells(volume, scoreEvents([counts]))
  return `${name.padEnd(16)}${ours}${found}${String(counts.falseAlarms).padStart(7)}${perDay}${' '.repeat(8)}${cells(baseVusPr, scoreEvents([baseCounts]))}`
}

function cells(volume: number, { f1, precision, recall, delayRows }: ReturnType<typeof scoreEvents>): string {
  const shares = [volume, f1, precision, recall].map(one => one.toFixed(3).padStart(7)).join('')
  return `${shares}${(delayRows ?? '-').toString().padStart(6)}`
}

const days = (machine: Machine, intervalMs: number): number => (machine.test.length * intervalMs) / 86_400_000
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const round = (value: number): number => Number(value.toFixed(4))
