// The benchmark method: cases take turns in every round, and what is reported is the median of the per-round ratios.
//
// A shared machine changes its speed from second to second; two cases of one round see nearly the same machine, so their
// ratio is worth trusting where their rates are not. Rates, CPU time and the load average are printed beside it for people.

import { cpus, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/** Fewer rounds leave the median to chance. */
export const ROUNDS_MIN = 9

export interface BenchOptions {
  /** The caller wants the JSON line only; people's text goes to stderr either way. */
  json: boolean
  /** A file or folder of input, where a benchmark takes one. */
  data?: string
  /** A file or folder to write to, where a benchmark writes. */
  out?: string
  rounds: number
  args: string[]
}

/** What a benchmark found: figures for the JSON line. */
export type BenchResult = Record<string, number | string | null | Readonly<Record<string, number>>>

export interface Sample {
  items: number
  wallMs: number
  /** CPU time of the process, its helper threads (garbage collection, compiler) included. */
  cpuMs: number
}

export interface BenchCase {
  name: string
  /** Works for about `durationMs` and says what it got done. */
  measure(durationMs: number): Promise<Sample>
}

export interface CaseResult {
  name: string
  samples: readonly Sample[]
  /** Items a second of wall time: median over rounds, and the least disturbed round. */
  medianPerS: number
  bestPerS: number
  /** Median CPU microseconds an item. */
  cpuMicros: number
}

/** A case from a function that processes once and returns how many items that were. Synchronous work or a promise. */
export function loopCase(name: string, once: () => number | Promise<number>): BenchCase {
  return {
    name,
    async measure(durationMs) {
      const cpu = process.cpuUsage()
      const begun = performance.now()
      let items = 0
      let wallMs = 0
      do {
        const done = once()
        items += typeof done === 'number' ? done : await done
        wallMs = performance.now() - begun
      } while (wallMs < durationMs)
      const { user, system } = process.cpuUsage(cpu)
      return { items, wallMs, cpuMs: (user + system) / 1000 }
    }
  }
}

/**
 * Runs all cases in turn, `rounds` times after a warm-up, beginning each round with another case so that none always
 * inherits the garbage of the same neighbour.
 * @param warmUpMs a loop needs up to a second of load before V8 has optimised it
 */
export async function interleave(
  cases: readonly BenchCase[],
  { rounds, sliceMs = 400, warmUpMs = 1500 }: { rounds: number; sliceMs?: number; warmUpMs?: number }
): Promise<CaseResult[]> {
  const samples = cases.map((): Sample[] => [])
  for (const one of cases) await one.measure(warmUpMs)
  for (let round = 0; round < Math.max(rounds, ROUNDS_MIN); round++) {
    for (let turn = 0; turn < cases.length; turn++) {
      const index = (round + turn) % cases.length
      samples[index]!.push(await cases[index]!.measure(sliceMs))
    }
  }
  return cases.map(({ name }, index) => summarise(name, samples[index]!))
}

function summarise(name: string, samples: readonly Sample[]): CaseResult {
  const rates = samples.map(ratePerS)
  return { name, samples, medianPerS: median(rates), bestPerS: Math.max(...rates), cpuMicros: median(samples.map(one => (one.cpuMs * 1000) / one.items)) }
}

const ratePerS = (sample: Sample): number => (sample.items / sample.wallMs) * 1000
const ratePerCpuS = (sample: Sample): number => (sample.items / sample.cpuMs) * 1000

/**
 * How many times faster `ours` is than `peer`: the median over rounds of the ratio within the round.
 * @param by `wall`: rate by the clock, for whatever waits; `cpu`: CPU time an item, for pure computation, which another job on the
 *   same core slows by the clock but hardly by this
 */
export function medianRatio(ours: CaseResult, peer: CaseResult, by: 'wall' | 'cpu' = 'wall'): number {
  const rate = by === 'wall' ? ratePerS : ratePerCpuS
  return median(ours.samples.map((sample, round) => rate(sample) / rate(peer.samples[round]!)))
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Rounds a figure to three significant digits, for tables and the JSON line. */
export function figure(value: number): number {
  return Number(value.toPrecision(3))
}

/** One line for people, on stderr: stdout ends with the JSON line alone. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Prints machine, load and a row for each case; the ratios are ours (the first case) over the row's, by the clock and by CPU time. */
export function printTable(title: string, unit: string, results: readonly CaseResult[]): void {
  const [ours] = results
  const load = loadavg().map(one => one.toFixed(2))
  say(`\n${title}`)
  say(
    `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), Node ${process.versions.node}, load ${load.join(' ')}, ${ours?.samples.length ?? 0} rounds`
  )
  say(
    `${'case'.padEnd(52)}${`${unit}/s median`.padStart(18)}${'best'.padStart(12)}${`CPU µs/${unit}`.padStart(16)}${'ours is'.padStart(10)}${'by CPU'.padStart(10)}`
  )
  for (const one of results) {
    const ratio = (by: 'wall' | 'cpu'): string => (one === ours || !ours ? '' : `${medianRatio(ours, one, by).toFixed(1)}x`).padStart(10)
    const rates = `${Math.round(one.medianPerS).toLocaleString('en').padStart(18)}${Math.round(one.bestPerS).toLocaleString('en').padStart(12)}`
    say(`${one.name.padEnd(52)}${rates}${one.cpuMicros.toFixed(3).padStart(16)}${ratio('wall')}${ratio('cpu')}`)
  }
}

const LOOK_MS = 10

/** Waits for what another process does. @throws Error when it did not happen in time */
export async function until(what: string, deadlineMs: number, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const begun = performance.now()
  while (!(await isSo())) {
    if (performance.now() - begun > deadlineMs) throw new Error(`it did not happen in ${deadlineMs} ms that ${what}`)
    await sleep(LOOK_MS)
  }
}
