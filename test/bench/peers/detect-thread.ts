// The detect worker on a thread of its own, as the process runs it; answers each message with its counts.

import { parentPort, workerData } from 'node:worker_threads'
import { detectWorker } from '../../../detectors/worker.ts'
import { checkpointStore } from '../../../pipeline/log/checkpoint-store.ts'
import { EmbeddedLog } from '../../../pipeline/log/embedded-log.ts'
import { openReader } from '../../../pipeline/otlp/reader.ts'
import { encodeDerived } from '../../../pipeline/otlp/writer.ts'
import { systemClock } from '../../../pipeline/system.ts'
import { configSchema } from '../../../schemas/config.ts'
import { deaf, quiet } from '../../support/quiet.ts'

const { dir, bytesMax } = workerData as { dir: string; bytesMax: number }
const { detect } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
const log = await EmbeddedLog.open({ dir, clock: systemClock, logger: quiet, meter: deaf, bytesMax, groupCommitMs: 2 })
const worker = detectWorker({
  log,
  checkpoints: checkpointStore(log, {}),
  openReader,
  encodeDerived,
  config: detect,
  environment: 'bench',
  clock: systemClock,
  logger: quiet,
  meter: deaf
})
await worker.start()
parentPort!.on('message', async (order: 'stats' | 'close') => {
  if (order === 'stats') return parentPort!.postMessage(worker.stats().counts)
  await worker.close()
  await log.close()
  parentPort!.close()
})
parentPort!.postMessage({})
