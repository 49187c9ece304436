// `npm run lab`: five faults on a small real fleet, the loop seen live, a table at the end. With --case: acceptance cases (cases/).
//
// Exit code 0 when every case passed, 1 when one did not, 2 for a wrong command line, 130 when interrupted.

import { caseList, findCases, runCases, runLines } from './cases/run.ts'
import { readCommandLine } from './command-line.ts'
import { FAULTS, type FaultName } from './faults.ts'
import { runLab } from './lab.ts'
import { missedGoals, scorecardTable } from './scorecard.ts'
import { closingTable, openView } from './view.ts'

const HEALTHY_S = 180
const USAGE = `usage: npm run lab -- [--seed N] [--healthy-s ${HEALTHY_S}] [--cases ${FAULTS.join(',')}] [--distributed [--kafka-client platformatic]] [--json] [--keep]
       npm run lab -- --case UC1,UC6 [--seed N] [--json] [--keep]

  --seed N         another order, other targets, other moments (default: 1)
  --cases          which of the faults
  --healthy-s      for so long before them nothing may be done, s
  --distributed    every role its own process, on a real Kafka broker (Java and Maven) and ClickHouse over HTTP
  --keep           keep the run's folder: configuration, logs, data
  --case           acceptance cases instead; all: every one. --list: their names
  --json           one JSON object as the last line`

const { values } = readCommandLine({
  name: 'lab',
  usage: USAGE,
  wholeNumbers: ['seed', 'healthy-s'],
  options: {
    seed: { type: 'string', default: '1' },
    'healthy-s': { type: 'string', default: String(HEALTHY_S) },
    cases: { type: 'string', default: FAULTS.join(',') },
    case: { type: 'string' },
    list: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    distributed: { type: 'boolean', default: false },
    'kafka-client': { type: 'string', default: 'kafkajs' }
  }
})
const cases = values.cases.split(',') as FaultName[]
const unknown = cases.filter(name => !FAULTS.includes(name))
const kafkaClient = (['kafkajs', 'platformatic'] as const).find(name => name === values['kafka-client'])
if (kafkaClient === undefined || unknown.length > 0) {
  process.stderr.write(`lab: --cases are of ${FAULTS.join(', ')}, --kafka-client is kafkajs or platformatic\n`)
  process.exit(2)
}

if (values.list) {
  process.stdout.write(`${caseList().join('\n')}\n`)
  process.exit(0)
}

const interrupted = new AbortController()
const abort = (): void => interrupted.abort()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, abort)
if (values.case !== undefined) await acceptance(values.case.split(','))

const run = runLab({
  seed: Number(values.seed),
  healthyMs: Number(values['healthy-s']) * 1_000,
  cases,
  distributed: values.distributed,
  kafkaClient,
  keep: values.keep,
  view: openView(process.stderr),
  signal: interrupted.signal
})
const report = await run.catch(error => {
  process.stderr.write(`lab: ${(error as Error).message}\n`)
  if (values.json)
    process.stdout.write(`${JSON.stringify({ pass: false, seed: Number(values.seed), error: (error as Error).message.split('\n')[0], cases: [] })}\n`)
  process.exit(1)
})
process.stdout.write(`${closingTable(report.cases)}\n`)
process.stdout.write(`${report.healthy.actions} actions in ${report.healthy.seconds} healthy seconds before\n`)
process.stdout.write(`\n${scorecardTable(report.scorecard)}\n`)
for (const missed of missedGoals(report.scorecard)) process.stdout.write(`goal missed: ${missed}\n`)
for (const failure of report.failures) process.stdout.write(`${failure}\n`)
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`)
process.exit(interrupted.signal.aborted ? 130 : report.pass ? 0 : 1)

/** Runs acceptance cases instead of the five faults, and ends the process. */
async function acceptance(names: readonly string[]): Promise<never> {
  const found = findCases(names)
  if (found.unknown.length > 0) {
    const known = caseList().map(line => `  ${line}`)
    process.stderr.write(`lab: there is no case ${found.unknown.join(', ')}; all runs each, and there are\n${known.join('\n')}\n`)
    process.exit(2)
  }
  const say = (line: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 23)} ${line}\n`)
  const run = await runCases(found.cases, { seed: Number(values.seed), keep: values.keep, say, signal: interrupted.signal })
  if (run.cases.length > 0) process.stdout.write(`${runLines(run).join('\n')}\n`)
  if (values.json) process.stdout.write(`${JSON.stringify(run)}\n`)
  process.exit(interrupted.signal.aborted ? 130 : run.pass ? 0 : 1)
}
