// Seeded worlds of the decide, act and diagnose code, with faults of every kind: what was promised must hold in each.
//
// Last line of stdout with --json: one JSON object. Exit code 0 when nothing is broken, every planted bug is caught and, from
// 1,000 seeds on, every mark is reached. --keep adds failing seeds to test/data/seeds.jsonl.

import { readCommandLine } from '../../infra/lab/command-line.ts'
import { runSeeds } from './run.ts'
import { runWorld } from './world.ts'

const MARKS_FROM_SEEDS = 1_000

const USAGE = `usage: npm run -s test:sim -- [--seeds 1000] [--first 1] [--json] [--no-mutants] [--keep]
       npm run -s test:sim -- --seed 42 [--grep act-0] [--random-alarms 0.2]      one world, every event of it (that fits)`

const { values } = readCommandLine({
  name: 'test:sim',
  usage: USAGE,
  wholeNumbers: ['seeds', 'first', 'seed'],
  options: {
    seeds: { type: 'string', default: '1000' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    grep: { type: 'string', default: '' },
    'random-alarms': { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: true },
    keep: { type: 'boolean', default: false }
  }
})

const say = (text: string): void => void process.stderr.write(`${text}\n`)

if (values.seed !== undefined) {
  const wanted = new RegExp(values.grep)
  const { violations, traceHash } = await runWorld(Number(values.seed), {
    randomAlarmRatio: Number(values['random-alarms']),
    onEvent: line => wanted.test(line) && process.stdout.write(`${line}\n`)
  })
  process.stdout.write(`${JSON.stringify({ seed: Number(values.seed), violations, traceHash })}\n`)
  process.exit(violations.length === 0 ? 0 : 1)
}

const result = await runSeeds({ seeds: Number(values.seeds), first: Number(values.first), mutants: values.mutants, keep: values.keep, say })
if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`)
else say(JSON.stringify(result, undefined, 2))
const isReached = result.seeds < MARKS_FROM_SEEDS || result.marksMissing.length === 0
const isCaught = !values.mutants || result.mutantsCaught === result.mutants
process.exit(result.violations === 0 && isReached && isCaught ? 0 : 1)
