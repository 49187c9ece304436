// A detector in a process of its own on a Kafka cluster, with checkpoints, as the role runs it, for `bench rebalance`.
//
// Says `ready` when its worker runs, and every time it is asked what it has: partitions of the metrics and their series. `leave`: it goes gracefully.

import { detectWorker } from '../../../detectors/worker.ts'
import { checkpointStore } from '../../../pipeline/log/checkpoint-store.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { openLog } from '../../../pipeline/roles/log.ts'
import { systemClock } from '../../../pipeline/system.ts'
import type { Config } from '../../../schemas/config.ts'
import { deaf, quiet } from '../../support/quiet.ts'

export interface Holding {
  series: number
}

const config = JSON.parse(process.argv[2]!) as Config
const log = await openLog(config, { clock: systemClock, logger: quiet, meter: deaf })
const worker = detectWorker({
  ...{ log, checkpoints: checkpointStore(log), openReader, encodeDerived, config: config.detect, environment: 'bench' },
  ...{ clock: systemClock, logger: quiet, meter: deaf }
})

process.on('message', async message => {
  if (message === 'leave') {
    await worker.close()
    await log.close()
    process.exit(0)
  }
  process.send!({ series: worker.stats().series } satisfies Holding)
})
process.on('disconnect', () => process.exit(0))
await worker.start()
process.send!('ready')
