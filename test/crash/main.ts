// kill -9 at seeded instants during a lab run, restarted at once: what Homeostat promised must hold.
//
// Last line of stdout: one JSON object. Exit code 0 when all holds.
//   every acknowledged point and log record is in ClickHouse, none twice
//   no side effect happened twice (the fleet's witness), and each belongs to a step of an outcome
//   every command has exactly one outcome
//   it comes back every time; on a cluster: within 15 s, and no verdict differs from that of an undisturbed detector

import type { KafkaClientName } from '../../infra/lab/cluster/configs.ts'
import { readCommandLine } from '../../infra/lab/command-line.ts'
import { runCluster } from './cluster-run.ts'
import { runOutage } from './outage.ts'
import { runSingle } from './single-run.ts'

const USAGE = `usage: npm run -s test:crash -- [--kills 30] [--seed N] [--keep]                                 the whole Homeostat as one process
       npm run -s test:crash -- --distributed [--instants 100] [--kafka-client platformatic]   kill -9 and SIGSTOP of each role and of the broker
       npm run -s test:crash -- --distributed --rolling                                        each process ended and started anew, once
       npm run -s test:crash -- --outage 120 [--kafka-client platformatic]                     the broker away for so many seconds, under load`

const { values } = readCommandLine({
  name: 'test:crash',
  usage: USAGE,
  wholeNumbers: ['kills', 'instants', 'outage', 'seed'],
  options: {
    kills: { type: 'string', default: '30' },
    distributed: { type: 'boolean', default: false },
    outage: { type: 'string' },
    instants: { type: 'string', default: '100' },
    rolling: { type: 'boolean', default: false },
    'kafka-client': { type: 'string', default: 'kafkajs' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false }
  }
})

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort())
const shared = {
  seed: Number(values.seed),
  keep: values.keep,
  say: (text: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 23)} ${text}\n`),
  signal: interrupted.signal
}
const run = values.outage
  ? runOutage({ ...shared, outageMs: Number(values.outage) * 1_000, client: values['kafka-client'] as KafkaClientName })
  : values.distributed
    ? runCluster({ ...shared, instants: values.rolling ? 'rolling' : Number(values.instants), client: values['kafka-client'] as KafkaClientName })
    : runSingle({ ...shared, kills: Number(values.kills) })
const result = await run.catch((error: Error) => {
  process.stderr.write(`test:crash: ${error.stack ?? error.message}\n`)
  return { pass: false, seed: shared.seed, error: error.message.split('\n')[0] }
})
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(interrupted.signal.aborted ? 130 : result.pass ? 0 : 1)
