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
import type { Config } from '../../schemas/config.ts'
import { withAttributes } from '../self/meter.ts'
import { unscoredMetrics } from './backtest.ts'
import type { RoleData } from './context.ts'
import { importantMetrics } from './important.ts'
import { openLog } from './log.ts'
import { liveModels } from './live-models.ts'

await serveRole<RoleData>(async ({ data: { config, name, pretty }, meter: threadMeter }) => {
  const { threads } = config.detect
  // Gauges of threads must not overwrite each other.
  const meter = threads === 1 ? threadMeter : withAttributes(threadMeter, { thread: name })
  const logger = openLogger({ level: config.self.logLevel, role: name, pretty })
  const log = await openLog(memberConfig(config, name), { clock: systemClock, logger, meter, role: name })
  const progress = watchProgress(log, systemClock)
  const checkpoints = checkpointStore(log, {})
  const models = await liveModels({ log, encodeDerived, environment: config.environment, clock: systemClock, logger, meter })
  const worker = detectWorker({
    log: progress.log,
    checkpoints,
    openReader,
    encodeDerived,
    config: {
      ...config.detect,
      ignore: unscoredMetrics(config.detect.ignore),
      important: importantMetrics(config),
      memoryMax: Math.floor(config.detect.memoryMax / threads)
    },
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

/** Group members need names of their own, also where the user named the process. */
function memberConfig(config: Config, name: string): Config {
  const { instance } = config.kafka
  return instance === undefined || name === 'detect' ? config : { ...config, kafka: { ...config.kafka, instance: `${instance}-${name}` } }
}
