// bench nab: the Numenta Anomaly Benchmark, both tiers, one configuration.
//
//   npm run -s bench -- nab --data DIR [--out DIR] [--json]           scores; DIR holds data/ and combined_windows.json
//   npm run -s bench -- nab --data DIR [--json] -- cross-validate     constants chosen without each folder, scored on it
//   npm run -s bench -- nab --data DIR [--json] -- ablate             what each part adds
//   npm run -s bench -- nab --data DIR [--json] -- intake [PATH…]     the same scores through the pipeline? (one file of each folder)
//   npm run -s bench -- nab [--json] -- calibrate                     false alarms on synthetic healthy series
//
// `standard`, `lowFp`, `lowFn` are at the best threshold of the written scores (the benchmark's own rule), `atThreshold` at the
// shipped one. Labels are read by the scorer only, after all scores are written.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { RICH_FALSE_ALARMS_PER_DAY, richThreshold } from '../../detectors/score/rich/alarm.ts'
import { SLOT_BYTES } from '../../detectors/score/rich/page.ts'
import { RECORD_BYTES } from '../../detectors/score/record.ts'
import { tailTable } from '../../detectors/score/tail.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { configSchema } from '../../schemas/config.ts'
import { type BenchOptions, type BenchResult, figure, say } from './harness.ts'
import { ablate } from './nab/ablate.ts'
import { calibrate } from './nab/calibrate.ts'
import { type Corpus, readCorpus } from './nab/corpus.ts'
import { crossValidate } from './nab/cross-validate.ts'
import { baseScores, everyRichScore, richScores } from './nab/detect.ts'
import { INTERVALS_MS, KIND_NAMES } from './nab/healthy.ts'
import { scoresThroughIntake } from './nab/through-intake.ts'
import { type Best, bestOf, PROFILE_NAMES, type Profile, scoreOfTallies, talliesAt } from './nab/scoring.ts'

const CALIBRATION_SERIES = 20 * KIND_NAMES.length * INTERVALS_MS.length
/** Another seed than the table was counted with: expected against observed is then a forecast. */
const CALIBRATION_SEED = 2
/** Rates at which the base tier may be at its best, with and without its demand for several points and for a relative deviation. */
const BASE_RATES = [10, 1, 0.1, 0.01, 0.001]

export async function nabBench({ data, out, args, rounds }: BenchOptions): Promise<BenchResult> {
  const [task, ...paths] = args.map(arg => arg.replace(/^--/, ''))
  if (task === 'calibrate') {
    const { table, ratios } = calibrate(CALIBRATION_SERIES, CALIBRATION_SEED, say)
    return {
      table: table.map(one => one.toFixed(2)).join(' '),
      observedOverExpected: Object.fromEntries(ratios.map(one => [one.rate, figure(one.observed / one.expected)]))
    }
  }
  if (data === undefined) throw new Error('--data names the folder with data/ and combined_windows.json')
  const corpus = readCorpus(data)
  if (task === 'cross-validate') {
    const scores = crossValidate(corpus)
    say(`cross-validated by folder: ${PROFILE_NAMES.map(profile => `${profile} ${scores[profile].toFixed(2)}`).join(', ')}`)
    return { ...scores }
  }
  if (task === 'ablate') return ablate(corpus)
  if (task === 'intake') return compareWithIntake(corpus, paths)
  if (task !== undefined) throw new Error(`nab knows no ${task}; it knows cross-validate, ablate, intake, calibrate`)
  return compare(corpus, out, rounds)
}

function compare(corpus: Corpus, out: string | undefined, rounds: number): BenchResult {
  const threshold = richThreshold(RICH_FALSE_ALARMS_PER_DAY)
  const rates: number[] = []
  let rich: Float64Array[] = []
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now()
    rich = corpus.series.map(series => richScores(series, threshold))
    rates.push(rich.reduce((sum, scores) => sum + scores.length, 0) / ((performance.now() - begun) / 1e3))
  }
  rates.sort((a, b) => a - b)
  if (out !== undefined) write(corpus, rich, out)
  const ofRich = figures(corpus, rich, threshold)
  const detect = settingsFrom(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect)
  const shipped = figures(
    corpus,
    corpus.series.map(series => baseScores(series, detect)),
    0
  )
  const swept = BASE_RATES.flatMap(rate =>
    [1, detect.enterPoints].flatMap(enterPoints =>
      [0, detect.deviationMinRelative].map(deviationMinRelative => {
        const settings = { ...detect, enterPoints, deviationMinRelative, tail: tailTable(rate, enterPoints) }
        return figures(
          corpus,
          corpus.series.map(series => baseScores(series, settings)),
          0
        )
      })
    )
  )
  const bestBase = Object.fromEntries(PROFILE_NAMES.map(profile => [profile, Math.max(...swept.map(one => one.best[profile].score))])) as Record<
    Profile,
    number
  >

  say(`NAB, ${corpus.series.length} series, ${rich.reduce((sum, scores) => sum + scores.length, 0).toLocaleString('en')} rows`)
  say(`${'tier'.padEnd(34)}${PROFILE_NAMES.map(profile => profile.padStart(10)).join('')}${'found'.padStart(8)}${'false rows'.padStart(12)}`)
  const line = (name: string, of: (profile: Profile) => number, found: number | string, falseRows: number | string): void =>
    say(
      `${name.padEnd(34)}${PROFILE_NAMES.map(profile => of(profile).toFixed(2).padStart(10)).join('')}${String(found).padStart(8)}${String(falseRows).padStart(12)}`
    )
  line('rich, best threshold', profile => ofRich.best[profile].score, ofRich.best.standard.found, ofRich.best.standard.falseRows)
  line(`rich, shipped (${RICH_FALSE_ALARMS_PER_DAY} a day)`, profile => ofRich.at[profile], ofRich.found, ofRich.falseRows)
  line('base, best settings and threshold', profile => bestBase[profile], '', '')
  line('base, shipped', profile => shipped.at[profile], shipped.found, shipped.falseRows)
  const pointsPerS = rates[rates.length >> 1]!
  say(`${Math.round(pointsPerS).toLocaleString('en')} points/s on one core (median of ${rounds}); ${SLOT_BYTES} bytes a series, base ${RECORD_BYTES}`)
  const rounded = (scores: Record<string, number>): Record<string, number> =>
    Object.fromEntries(Object.entries(scores).map(([profile, score]) => [profile, Number(score.toFixed(2))]))
  return {
    ...rounded(Object.fromEntries(PROFILE_NAMES.map(profile => [profile, ofRich.best[profile].score]))),
    threshold,
    atThreshold: rounded(ofRich.at),
    pointsPerS: figure(pointsPerS),
    bytesPerSeries: SLOT_BYTES,
    base: rounded(bestBase),
    baseAtThreshold: rounded(shipped.at)
  }
}

/** Whether the pipeline gives the benchmark's scores, bit for bit, wherever it judges: it drops a row that is not later than the one before. */
async function compareWithIntake({ series }: Corpus, paths: readonly string[]): Promise<BenchResult> {
  const firsts = series.filter(({ folder }, index) => series.findIndex(other => other.folder === folder) === index)
  const chosen = paths.length === 0 ? firsts : series.filter(({ path }) => paths.includes(path))
  const total = { rows: 0, judged: 0, equal: 0 }
  for (const one of chosen) {
    const [expected, seen] = [everyRichScore(one, richThreshold(RICH_FALSE_ALARMS_PER_DAY)), await scoresThroughIntake(one)]
    const judged = seen.filter(score => !Number.isNaN(score)).length
    const equal = seen.filter((score, row) => Object.is(score, expected[row])).length
    say(`${one.path.padEnd(56)}${String(seen.length).padStart(7)} rows${String(judged).padStart(7)} judged${String(equal).padStart(7)} equal`)
    total.rows += seen.length
    total.judged += judged
    total.equal += equal
  }
  return total
}

function figures(corpus: Corpus, scores: readonly Float64Array[], threshold: number) {
  // Rows without an alarm hold 0, which is no detection even where the threshold is 0.
  const tallies = talliesAt(corpus, scores, Math.max(threshold, Number.MIN_VALUE))
  return {
    best: Object.fromEntries(PROFILE_NAMES.map(profile => [profile, bestOf(corpus, scores, profile)])) as Record<Profile, Best>,
    at: Object.fromEntries(PROFILE_NAMES.map(profile => [profile, scoreOfTallies(tallies, profile)])) as Record<Profile, number>,
    found: tallies.reduce((sum, one) => sum + one.windows - one.missed, 0),
    falseRows: tallies.reduce((sum, one) => sum + one.falseRows, 0)
  }
}

function write({ series }: Corpus, scores: readonly Float64Array[], out: string): void {
  for (const [file, { path, stamps }] of series.entries()) {
    const target = join(out, path)
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, `timestamp,anomaly_score\n${stamps.map((stamp, row) => `${stamp},${scores[file]![row]}`).join('\n')}\n`)
  }
}
