// The detect role in its thread: its own connection to the log, the reader, the series table, the learned models.
//
// Ends by a bug: the host starts it again, and it goes on from its last checkpoint.

import { detectWorker } from '../../detectors/worker.ts'
import { checkpointStore } from '../log/checkpoint-store.ts'
import { encodeDerived } from '../otlp/writer.ts'
import { openReader } from '../otlp/reader.ts'
import { openLogger } from '../self/logger.ts'
import { watchProgress } from '../self/progress.ts'
import { systemClock } from '../system.ts'
import { serveRole } from '../hosting/serve-role.ts'
import { unscoredMetrics } from './backtest.ts'
import type { RoleData } from './context.ts'
import { importantMetrics } from './important.ts'
import { openLog } from './log.ts'
import { liveModels } from './live-models.ts'

await serveRole<RoleData>(async ({ data: { config, pretty }, meter }) => {
  const logger = openLogger({ level: config.self.logLevel, role: 'detect', pretty })
  const log = await openLog(config, { clock: systemClock, logger, meter, role: 'detect' })
  const progress = watchProgress(log, systemClock)
  const checkpoints = checkpointStore(log, {})
  const models = await liveModels({ log, encodeDerived, environment: config.environment, clock: systemClock, logger, meter })
  const worker = detectWorker({
    log: progress.log,
    checkpoints,
    openReader,
    encodeDerived,
    config: { ...config.detect, ignore: unscoredMetrics(config.detect.ignore), important: importantMetrics(config) },
    environment: config.environment,
    clock: systemClock,
    logger,
    meter,
    models: models.detectors
  })
  await worker.start()
  return {
    methods: { stats: () => worker.stats(), explain: (entity: string) => worker.explain(entity), overview: () => worker.overview() },
    heldMs: progress.heldMs,
    finished: worker.finished,
    async close() {
      await worker.close()
      await models.close()
      await log.close()
    }
  }
})
