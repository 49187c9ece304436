// bench canary: how often a canary is aborted, passed or left undecided, and after how many requests, by how much worse it is.
//
// Plays the real reducer over seeded traffic (test/support/canary-run.ts): 20 requests an arm and window, a baseline with 1 % errors and
// durations of a log-normal shape, the default tolerances. `bench canary -- RUNS` (default 400 a row). Deterministic, no clock.

import { FALSE_VERDICT_MAX } from '../../detectors/canary/looks.ts'
import { playCanary, type Traffic } from '../support/canary-run.ts'
import { type BenchOptions, type BenchResult, say } from './harness.ts'

const RUNS = 400
const REQUESTS_PER_WINDOW = 20
/** After so many requests an arm a canary that is not decided counts as undecided. */
const REQUESTS_MAX = 8_000
const BASELINE_ERRORS = 0.01

interface Row {
  canary: string
  aborted: number
  passed: number
  undecided: number
  /** Requests an arm at the verdict, median and 95th percentile; null where there is none. */
  requestsMedian: number | null
  requestsP95: number | null
}

const MORE_ERRORS = [0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.16] as const
const SLOWER = [1.25, 1.5, 2, 3] as const

export async function canaryBench({ args }: BenchOptions): Promise<BenchResult> {
  const runs = Number(args[0] ?? RUNS)
  const errorRows = MORE_ERRORS.map(more => play(`+${100 * more} points of errors`, runs, { canary: BASELINE_ERRORS + more, baseline: BASELINE_ERRORS }))
  const slowRows = SLOWER.map(slower => play(`${slower} times as slow`, runs, { canary: BASELINE_ERRORS, baseline: BASELINE_ERRORS }, slower))
  const bothRow = play('both arms fail 30 %', runs, { canary: 0.3, baseline: 0.3 })
  const rows = [...errorRows, ...slowRows, bothRow]
  say(`${runs} canaries a row; a false verdict at the tolerance may come in ${FALSE_VERDICT_MAX} of them`)
  say('| the canary has | aborted | passed | undecided | requests an arm, median | 95 % |')
  say('|---|---|---|---|---|---|')
  for (const row of rows)
    say(`| ${[row.canary, ...[row.aborted, row.passed, row.undecided].map(percent), row.requestsMedian ?? '–', row.requestsP95 ?? '–'].join(' | ')} |`)
  const figures = rows.map(({ canary, requestsMedian, requestsP95, ...shares }) => [
    canary,
    { ...shares, ...(requestsMedian === null || requestsP95 === null ? {} : { requestsMedian, requestsP95 }) }
  ])
  return { bench: 'canary', runs, ...Object.fromEntries(figures) }
}

function play(canary: string, runs: number, errorRatio: Traffic['errorRatio'], slower = 1): Row {
  const windows = REQUESTS_MAX / REQUESTS_PER_WINDOW
  const records = Array.from(
    { length: runs },
    (_, index) => playCanary(index + 1, { requestsPerWindow: REQUESTS_PER_WINDOW, windows, errorRatio, slower }).record
  )
  const share = (state: string): number => records.filter(record => record.state === state).length / runs
  const requests = records.flatMap(record => (record.state === 'running' ? [] : [record.canary.requests])).sort((a, b) => a - b)
  const at = (quantile: number): number | null => requests[Math.min(requests.length - 1, Math.floor(quantile * requests.length))] ?? null
  return { canary, aborted: share('failed'), passed: share('passed'), undecided: share('running'), requestsMedian: at(0.5), requestsP95: at(0.95) }
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
