// npm run -s bench -- NAME [--json] [--data PATH] [--out PATH] [--rounds N] [-- arguments]
//
// Tables for people go to stderr; the last line of stdout is one JSON object. `--help` lists the benchmarks.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readCommandLine } from '../../infra/lab/command-line.ts'
import { type BenchOptions, type BenchResult, ROUNDS_MIN, say } from './harness.ts'

const EXIT_USAGE = 2

type Bench = (options: BenchOptions) => Promise<BenchResult>

const names = readdirSync(import.meta.dirname)
  .filter(file => file.endsWith('.ts'))
  .map(file => file.slice(0, -3))
  .filter(isBench)
const { values, positionals } = readCommandLine({
  name: 'bench',
  usage: `usage: npm run -s bench -- NAME [--json] [--data PATH] [--out PATH] [--rounds N]\n\nbenchmarks: ${names.join(', ')}`,
  wholeNumbers: ['rounds'],
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    data: { type: 'string' },
    out: { type: 'string' },
    rounds: { type: 'string', default: String(ROUNDS_MIN) }
  }
})
const [name, ...args] = positionals

if (!name || !names.includes(name)) {
  say(`bench: ${name ? `there is no benchmark ${name}` : 'which benchmark?'} Names: ${names.join(', ')}`)
  process.exitCode = EXIT_USAGE
} else {
  await run(name)
}

/** A benchmark is a file that exports the function of its name; the others help. */
function isBench(file: string): boolean {
  return readFileSync(join(import.meta.dirname, `${file}.ts`), 'utf8').includes(`export async function ${file}Bench`)
}

async function run(benchName: string): Promise<void> {
  const module = await import(`./${benchName}.ts`)
  const bench: Bench = module[`${benchName}Bench`]
  const { json, data, out } = values
  const result = await bench({
    json,
    rounds: Math.max(Number(values.rounds), ROUNDS_MIN),
    args,
    ...(data === undefined ? {} : { data }),
    ...(out === undefined ? {} : { out })
  })
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
