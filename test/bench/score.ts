// bench score: the scoring engine's speed on one core, and against its peers.
//
//   npm run -s bench -- score [--data DIR] [--json]      DIR: a folder in NAB's format, for the rich tier and the peers that score series
//
// A million shuffled series in the base tier; OTLP bytes to scored points, in turns with Go's decoder of the same bytes; the rich tier
// on every series of the folder, alone and within the scorer, in turns with Random Cut Forest (Java), river and luminol (Python).
// A round is every ninth series (luminol, which sees a series as a whole: one), so that a peer that takes long ends, and ratios are medians over rounds. All by CPU
// time: ours of the whole process (collections and compiling count), the peers' of what scores.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { baseBudget, type SeriesBudget, unlimitedBudget } from '../../detectors/score/budget.ts'
import { COLUMNS_MAX } from '../../detectors/score/multivariate/tier.ts'
import { entityBytes } from '../../detectors/score/multivariate/entity-state.ts'
import { RICH_FALSE_ALARMS_PER_DAY, richThreshold } from '../../detectors/score/rich/alarm.ts'
import { IMPORTANCE, RichTier } from '../../detectors/score/rich/tier.ts'
import type { ScorerSettings } from '../../detectors/score/scorer-settings.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { configSchema } from '../../schemas/config.ts'
import { buildGoPeer, goCase } from './go-pdata.ts'
import { type BenchOptions, type BenchResult, figure, interleave, median, medianRatio, printTable, say } from './harness.ts'
import { readCorpus, type Series } from './nab/corpus.ts'
import { richScores } from './nab/detect.ts'
import { type BatchPeer, openPython, openRcf } from './score/batch-peer.ts'
import { cpuSeconds, EndToEnd, ShuffledSeries } from './score/base-tier.ts'
import { feedWired } from './score/wired.ts'
import { SERIES } from './series-fleet.ts'

const SHUFFLED_ROUNDS = 5
const GOALS = { nabPointsPerS: 100_000, vsRcf: 5, shuffledPointsPerS: 1_500_000, e2ePointsPerS: 700_000 }
/** Slots of the rich tier that its bytes a series are counted on. */
const SLOTS = 4_096

export async function scoreBench({ data, rounds }: BenchOptions): Promise<BenchResult> {
  const settings = settingsFrom(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect)
  say(`load ${loadavg()[0]!.toFixed(1)}`)
  const result = { ...shuffled(settings), ...(await endToEnd(settings, rounds)), ...(data === undefined ? {} : await onSeries(data, settings, rounds)) }
  say(
    `\nload ${loadavg()[0]!.toFixed(1)}; goals: ${Object.entries(GOALS)
      .map(([name, goal]) => `${name} ${goal.toLocaleString('en')}`)
      .join(', ')}`
  )
  return result
}

function shuffled(settings: ScorerSettings): BenchResult {
  const series = new ShuffledSeries(settings)
  const rate = median(Array.from({ length: SHUFFLED_ROUNDS }, () => SERIES / series.round()))
  const tier = new RichTier(unlimitedBudget())
  for (let slot = 0; slot < SLOTS; slot++) tier.grant(slot, IMPORTANCE.ordinary, () => false)
  const bytes = {
    bytesPerSeries: figure(series.scorer.bytes / SERIES),
    richBytesPerSeries: figure(tier.bytes / SLOTS),
    bytesPerEntity: entityBytes(COLUMNS_MAX)
  }
  say(`a million shuffled series    ${shown(rate)} points/s`)
  say(
    `bytes: base tier ${bytes.bytesPerSeries} a series (records, index, texts), rich tier ${bytes.richBytesPerSeries} more, model of ${COLUMNS_MAX} metrics ${bytes.bytesPerEntity}`
  )
  return { shuffledPointsPerS: Math.round(rate), ...bytes }
}

async function endToEnd(settings: ScorerSettings, rounds: number): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), 'homeostat-bench-'))
  try {
    const file = join(folder, 'request.bin')
    writeFileSync(file, EndToEnd.request())
    const program = await buildGoPeer()
    const results = await interleave([new EndToEnd(settings), ...(program === undefined ? [] : [goCase(program, file)])], { rounds })
    printTable('gauges and sums, requests of 1,000 points', 'point', results)
    const [ours, go] = results
    return { e2ePointsPerS: Math.round(1e6 / ours!.cpuMicros), e2eVsGoDecode: go === undefined ? null : figure(medianRatio(ours!, go, 'cpu')) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** CPU seconds of each round. */
interface Case {
  name: string
  seconds: number[]
  points: number[]
  /** Series of a round. */
  share(part: readonly Series[], round: number): readonly Series[]
  score(series: readonly Series[]): number | Promise<number>
}

async function onSeries(data: string, settings: ScorerSettings, rounds: number): Promise<BenchResult> {
  const { series } = readCorpus(data)
  const threshold = richThreshold(RICH_FALSE_ALARMS_PER_DAY)
  const wired = (budget: () => SeriesBudget) => (part: readonly Series[]) => cpuSeconds(() => void feedWired(part, settings, budget()))
  const whole = { share: (part: readonly Series[]) => part }
  const peer = (one: BatchPeer): Pick<Case, 'name' | 'score'> => ({ name: one.name, score: part => one.score(part.map(({ values }) => values)) })
  const [rcf, river, luminol, bitmap] = [openRcf(), openPython('river'), openPython('luminol'), openPython('luminol-bitmap')]
  const rich = aCase({ name: 'ours: rich tier', ...whole, score: part => cpuSeconds(() => part.forEach(one => void richScores(one, threshold))) })
  const scorer = aCase({ name: 'ours: scorer, all tiers (defaults)', ...whole, score: wired(unlimitedBudget) })
  const base = aCase({ name: 'ours: scorer, base tier alone', ...whole, score: wired(() => baseBudget(SERIES)) })
  const peers = {
    rcf: rcf && aCase({ ...peer(rcf), ...whole }),
    river: river && aCase({ ...peer(river), ...whole }),
    bitmap: bitmap && aCase({ ...peer(bitmap), ...whole }),
    // It takes the square of a series' length.
    luminol: luminol && aCase({ ...peer(luminol), share: (part, round) => part.slice(round % part.length).slice(0, 1) })
  }
  const cases = [rich, scorer, base, ...Object.values(peers).filter(one => one !== undefined)]
  const part = (round: number): Series[] => series.filter((_, index) => index % rounds === round % rounds)
  for (const one of cases) await one.score(one.share(part(0), 0))
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < cases.length; turn++) {
      const one = cases[(round + turn) % cases.length]!
      const taken = one.share(part(round), round)
      one.seconds.push(await one.score(taken))
      one.points.push(taken.reduce((sum, { values }) => sum + values.length, 0))
    }
  }
  for (const one of [rcf, river, luminol, bitmap]) one?.close()

  say(`\n${series.length} series of ${data}, ${rounds} rounds, load ${loadavg()[0]!.toFixed(1)}`)
  say(`${'case'.padEnd(40)}${'points/s of CPU'.padStart(17)}${'rich tier is'.padStart(14)}${'scorer is'.padStart(11)}`)
  for (const one of cases) {
    const ratios = one === rich || one === scorer ? '' : `${times(ratio(rich, one)).padStart(14)}${times(ratio(scorer, one)).padStart(11)}`
    say(`${one.name.padEnd(40)}${shown(rate(one)).padStart(17)}${ratios}`)
  }
  for (const [name, one] of Object.entries(peers)) if (one === undefined) say(`${name.padEnd(40)}${'not here'.padStart(17)}`)
  const vs = (one: Case | undefined, of: Case = rich): number | null => (one === undefined ? null : figure(ratio(of, one)))
  return {
    ...{ nabPointsPerS: Math.round(rate(rich)), scorerPointsPerS: Math.round(rate(scorer)), scorerBasePointsPerS: Math.round(rate(base)) },
    ...{ vsRcf: vs(peers.rcf), vsRiver: vs(peers.river), vsLuminol: vs(peers.luminol), vsLuminolBitmap: vs(peers.bitmap), scorerVsRcf: vs(peers.rcf, scorer) }
  }
}

const aCase = (of: Pick<Case, 'name' | 'share' | 'score'>): Case => ({ ...of, seconds: [], points: [] })
const rateOf = ({ points, seconds }: Case, round: number): number => points[round]! / seconds[round]!
const rate = (one: Case): number => median(one.seconds.map((_, round) => rateOf(one, round)))
const ratio = (ours: Case, theirs: Case): number => median(ours.seconds.map((_, round) => rateOf(ours, round) / rateOf(theirs, round)))
const times = (value: number): string => `${figure(value)}x`
const shown = (value: number): string => Math.round(value).toLocaleString('en')
