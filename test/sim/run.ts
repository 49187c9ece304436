// Runs over seeds: kept ones first, then a range; then each planted bug until it is caught. A failing seed is shrunk and kept.

import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { Marks } from './marks.ts'
import { MUTANTS } from './mutants/mutants.ts'
import { FAULT_KINDS, HEALTH_MODELS, type Without } from './swarm.ts'
import { runWorld, type WorldOptions, type WorldResult } from './world.ts'

/** Seeds that once failed: one JSON object a line, replayed before all others for ever. */
export const SEEDS_FILE = join(import.meta.dirname, '../data/seeds.jsonl')
/** Share of random alarms in the worlds that measure what they lead to, and how many of the seeds are run with them. */
const RANDOM_ALARM_RATIO = 0.2
const RANDOM_ALARM_SEEDS_RATIO = 0.1
/** A planted bug that this many seeds do not show is not caught. */
export const MUTANT_SEEDS_MAX = 1_000
const PROGRESS_WORLDS = 1_000 // Half a minute of a core.
const SHOWN_MAX = 5 // Failing seeds of a run that are shown and shrunk.

export interface KeptSeed {
  seed: number
  invariant: string
  note: string
  /** Of its world; absent: none. */
  randomAlarmRatio?: number
}

export interface RunOptions {
  seeds: number
  first: number
  /** Whether the planted bugs are tried, too. */
  mutants: boolean
  /** Whether failing seeds are shrunk and kept. */
  keep: boolean
  say: (text: string) => void
}

export interface RunResult {
  /** Worlds that were run: kept ones, the range, and those with random alarms. */
  seeds: number
  violations: number
  mutantsCaught: number
  mutants: number
  /** By the wall clock. */
  seedsPerS: number
  /** By the CPU time of this process: a core of its own would do as many. */
  seedsPerCpuS: number
  marksMissing: string[]
  /** Worlds in which a fifth of the alarms is random; alarms raised in them, and how many of those at random. */
  randomAlarms: { worlds: number; triggers: number; randomAlarms: number; commands: number; wrongActions: number }
  /** Of those alarms, how many led to an act on what was well. */
  wrongActionsRatio: number
  /** SHA-256 over the hashes of all traces, in order. */
  traceHash: string
  failed: { seed: number; invariant: string }[]
}

export function keptSeeds(): KeptSeed[] {
  if (!existsSync(SEEDS_FILE)) return []
  return readFileSync(SEEDS_FILE, 'utf8')
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as KeptSeed)
}

/** Runs seeds `first`… and what was kept. */
export async function runSeeds({ seeds, first, mutants, keep, say }: RunOptions): Promise<RunResult> {
  const marks = new Marks()
  const hash = createHash('sha256')
  const failed: RunResult['failed'] = []
  const kept = keptSeeds().map(({ seed, randomAlarmRatio }) => ({ seed, options: randomAlarmRatio === undefined ? {} : { randomAlarmRatio } }))
  const startedMs = performance.now()
  const startedCpu = process.cpuUsage()
  const randomAlarms = { worlds: 0, triggers: 0, randomAlarms: 0, commands: 0, wrongActions: 0 }
  const worlds: { seed: number; options: WorldOptions }[] = [...kept, ...Array.from({ length: seeds }, (_, index) => ({ seed: first + index, options: {} }))]
  const alarming = Math.ceil(seeds * RANDOM_ALARM_SEEDS_RATIO)
  for (let index = 0; index < alarming; index++) worlds.push({ seed: first + index, options: { randomAlarmRatio: RANDOM_ALARM_RATIO } })
  for (const [index, { seed, options }] of worlds.entries()) {
    if (index > 0 && index % PROGRESS_WORLDS === 0) {
      const perS = round((index / (performance.now() - startedMs)) * 1_000)
      say(`${index} of ${worlds.length} worlds, ${perS} a second, ${failed.length} failed; about ${Math.round((worlds.length - index) / perS)} s more`)
    }
    const result = await runWorld(seed, options)
    hash.update(result.traceHash)
    marks.add(result.marks)
    if (options.randomAlarmRatio !== undefined) {
      randomAlarms.worlds++
      for (const figure of ['triggers', 'randomAlarms', 'commands', 'wrongActions'] as const) randomAlarms[figure] += result[figure]
    }
    const [violation] = result.violations
    if (violation === undefined) continue
    failed.push({ seed, invariant: violation.invariant })
    if (failed.length > SHOWN_MAX) continue
    show(result, say)
    const without = await shrink(seed, violation.invariant, options)
    say(`shrunk: it still fails without the faults ${without.faults?.join(', ') || '(none)'} and the models ${without.models?.join(', ') || '(none)'}`)
    if (keep && !kept.some(one => one.seed === seed && one.options.randomAlarmRatio === options.randomAlarmRatio))
      appendFileSync(
        SEEDS_FILE,
        `${JSON.stringify({ seed, invariant: violation.invariant, note: violation.detail, ...ratioOf(options) } satisfies KeptSeed)}\n`
      )
  }
  const cpu = process.cpuUsage(startedCpu)
  const figures = {
    seedsPerS: round((worlds.length / (performance.now() - startedMs)) * 1_000),
    seedsPerCpuS: round((worlds.length / (cpu.user + cpu.system)) * 1e6)
  }
  const mutantsCaught = mutants ? await catchMutants(say) : 0
  return {
    seeds: worlds.length,
    violations: failed.length,
    mutantsCaught,
    mutants: MUTANTS.length,
    ...figures,
    marksMissing: marks.missing(),
    randomAlarms,
    wrongActionsRatio: randomAlarms.triggers === 0 ? 0 : Math.round((randomAlarms.wrongActions / randomAlarms.triggers) * 1e4) / 1e4,
    traceHash: hash.digest('hex'),
    failed
  }
}

/** @returns how many planted bugs are caught */
export async function catchMutants(say: (text: string) => void): Promise<number> {
  let caught = 0
  for (const mutant of MUTANTS) {
    const found = await catchMutant(mutant)
    if (found) caught++
    say(found === undefined ? `NOT CAUGHT: ${mutant.name}` : `caught at seed ${found.seed} by "${found.violations[0]!.invariant}": ${mutant.name}`)
  }
  return caught
}

async function catchMutant(mutant: (typeof MUTANTS)[number]): Promise<WorldResult | undefined> {
  for (let seed = 1; seed <= MUTANT_SEEDS_MAX; seed++) {
    const result = await runWorld(seed, { mutant })
    // Only what is well without the bug shows that it was the bug.
    if (result.violations.length > 0 && (await runWorld(seed)).violations.length === 0) return result
  }
  return undefined
}

/** Takes fault kinds and health models away as long as the same invariant breaks. */
export async function shrink(seed: number, invariant: string, options: WorldOptions = {}): Promise<Without> {
  let without: Required<Without> = { faults: [], models: [] }
  const stillFails = async (less: Without): Promise<boolean> => (await runWorld(seed, { ...options, without: less })).violations[0]?.invariant === invariant
  for (const kind of FAULT_KINDS) {
    const less = { ...without, faults: [...without.faults, kind] }
    if (await stillFails(less)) without = less
  }
  for (const model of HEALTH_MODELS) {
    const less = { ...without, models: [...without.models, model] }
    if (await stillFails(less)) without = less
  }
  return without
}

function show({ seed, settings, violations, last }: WorldResult, say: (text: string) => void): void {
  say(`\nseed ${seed} breaks ${violations.map(({ invariant, detail }) => `${invariant}: ${detail}`).join('\n  ')}`)
  say(`world: ${JSON.stringify(settings)}`)
  say(`the last events:\n  ${last.join('\n  ')}`)
}

const ratioOf = ({ randomAlarmRatio }: WorldOptions): Pick<KeptSeed, 'randomAlarmRatio'> => (randomAlarmRatio === undefined ? {} : { randomAlarmRatio })
const round = (value: number): number => Math.round(value * 10) / 10
