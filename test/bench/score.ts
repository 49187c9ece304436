// bench score: the scoring engine's speed on one core. A million shuffled series in the base tier; OTLP bytes to scored points; and the
// peer Random Cut Forest (Java, its own defaults) on the same series of a folder in NAB's format (`--data`).
//
// Rates by CPU time of the process: collections and compiling count. Peer and ours take turns, so that the ratio sees one machine.

import { baseBudget } from '../../detectors/score/budget.ts'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Scorer } from '../../detectors/score/scorer.ts'
import type { ScorerSettings } from '../../detectors/score/scorer-settings.ts'
import { settingsFrom } from '../../detectors/settings.ts'
import { openReader } from '../../pipeline/otlp/reader.ts'
import { configSchema } from '../../schemas/config.ts'
import { type BenchOptions, type BenchResult, figure, median, say } from './harness.ts'
import { otlpLoad, seededRandom } from './otlp-load.ts'
import { readCorpus } from './nab/corpus.ts'
import { SERIES, START_MS, seriesFleet } from './series-fleet.ts'

const ROUNDS = 5
const GOALS = { shuffledPointsPerS: 1_500_000, e2ePointsPerS: 700_000 }
/** Past the warm-up, so that level and tail are judged, not only begun. */
const WARM_STEPS_BEYOND = 4
const SERVICES = 10
const METRICS = 50
const POINTS_PER_METRIC = 20
const STEP_MS = 10_000
const RCF_HOME = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'homeostat', 'rcf')

export async function scoreBench({ data }: BenchOptions): Promise<BenchResult> {
  const settings = settingsFrom(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).detect)
  const shuffled = shuffledRates(settings)
  const e2e = endToEndRates(settings)
  const result: Record<string, number> = { shuffledPointsPerS: Math.round(median(shuffled)), e2ePointsPerS: Math.round(median(e2e)) }
  say(`  a million shuffled series  ${shown(median(shuffled))} points/s (goal ${shown(GOALS.shuffledPointsPerS)})`)
  say(`  OTLP bytes -> scored       ${shown(median(e2e))} points/s (goal ${shown(GOALS.e2ePointsPerS)})`)
  if (data !== undefined) result['rcfPointsPerS'] = Math.round(rcfRate(readCorpus(data).series.map(({ values }) => values)))
  if (data !== undefined) say(`  Random Cut Forest          ${shown(result['rcfPointsPerS']!)} points/s`)
  return Object.fromEntries(Object.entries(result).map(([name, value]) => [name, figure(value)]))
}

/** Points a second of CPU, once a round: every series gets one point, in an order without any. */
function shuffledRates(settings: ScorerSettings): number[] {
  const scorer = new Scorer(settings, { budget: baseBudget(SERIES), nowMs: () => START_MS })
  const fleet = seriesFleet()
  const order = shuffle(SERIES)
  let step = 0
  for (; step < settings.warmupPoints + WARM_STEPS_BEYOND; step++) fleet.feed(scorer, step)
  fleet.feed(scorer, step++, order)
  return Array.from({ length: ROUNDS }, () => {
    const before = scorer.stats.scored
    const seconds = cpuSeconds(() => fleet.feed(scorer, step++, order))
    if (scorer.stats.scored - before !== SERIES) throw new Error(`${scorer.stats.scored - before} of ${SERIES} points were scored`)
    return SERIES / seconds
  })
}

/** Points a second of CPU from the bytes of requests to scored: reading, finding the series, judging, learning. */
function endToEndRates(settings: ScorerSettings): number[] {
  const scorer = new Scorer(settings, { budget: baseBudget(SERIES), nowMs: () => START_MS })
  const reader = openReader({ fallback: { entity: 'bench', environment: 'bench' }, seed: 1 })
  const steps = settings.warmupPoints + WARM_STEPS_BEYOND
  const one = (from: number, count: number): { points: number; seconds: number } => {
    let points = 0
    const requests: { request: Uint8Array; timeMs: number }[] = []
    for (let step = from; step < from + count; step++) {
      for (let service = 0; service < SERVICES; service++) {
        const timeMs = START_MS + step * STEP_MS
        const load = otlpLoad({
          ...{ seed: 7 + service, kinds: 'numbers', metricCount: METRICS, pointCount: POINTS_PER_METRIC },
          ...{ service: `service-${service}`, timeMs }
        })
        requests.push({ request: load.request, timeMs })
        points += load.pointCount
      }
    }
    const seconds = cpuSeconds(() => {
      for (const { request, timeMs } of requests) {
        scorer.begin(timeMs)
        reader.readMetrics(request, scorer)
      }
    })
    return { points, seconds }
  }
  one(0, steps)
  return Array.from({ length: ROUNDS }, (_, round) => {
    const before = scorer.stats.points
    const { points, seconds } = one(steps * (round + 1), steps)
    if (scorer.stats.points - before !== points) throw new Error(`${scorer.stats.points - before} of ${points} points arrived`)
    return points / seconds
  })
}

/** Points a second of the peer, its second pass; its jars are fetched by Maven once, into a cache outside the repository. */
function rcfRate(series: readonly Float64Array[]): number {
  const here = join(import.meta.dirname, 'peers', 'rcf')
  const libs = join(RCF_HOME, 'libs')
  if (!existsSync(libs)) {
    const fetched = join(RCF_HOME, `fetch-${process.pid}`)
    mkdirSync(RCF_HOME, { recursive: true })
    execFileSync('mvn', ['-B', '-ntp', '-q', '-f', join(here, 'pom.xml'), 'dependency:copy-dependencies', `-Dlibs=${fetched}`], { stdio: ['ignore', 2, 2] })
    renameSync(fetched, libs)
  }
  const input = `${series.map(values => [values.length, ...values].join('\n')).join('\n')}\n0\n`
  const { stdout, stderr, status } = spawnSync('java', ['-XX:+UseSerialGC', '-cp', `${libs}/*`, join(here, 'RcfPeer.java')], {
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 24
  })
  if (status !== 0) throw new Error(`the peer ended with ${status}: ${stderr.slice(-500)}`)
  const { points, seconds } = JSON.parse(stdout) as { points: number; seconds: number }
  return points / seconds
}

function shuffle(count: number): Uint32Array {
  const random = seededRandom(11)
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const moved = order[last]!
    order[last] = order[other]!
    order[other] = moved
  }
  return order
}

function cpuSeconds(work: () => void): number {
  const begun = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(begun)
  return (user + system) / 1e6
}

const shown = (rate: number): string => Math.round(rate).toLocaleString('en')
