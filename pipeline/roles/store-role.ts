// The store role in its process: ClickHouse (embedded or a server), the worker that fills it, and reads for the others.
//
// The embedded engine allows one process a data directory: this one owns it, everybody else asks through the port. After
// kill -9 of the parent it ends by itself; its successor waits for the lock.

import { environmentsOf } from '../../schemas/config.ts'
import { serveRole } from '../hosting/serve-role.ts'
import { openLogger } from '../self/logger.ts'
import { watchProgress } from '../self/progress.ts'
import { storeWorker } from '../store/store-worker.ts'
import { systemClock } from '../system.ts'
import type { RoleData } from './context.ts'
import { openLog } from './log.ts'
import { openStorePatiently, readMethods } from './store-reads.ts'

await serveRole<RoleData>(async ({ data: { config, pretty }, meter }) => {
  const logger = openLogger({ level: config.self.logLevel, role: 'store', pretty })
  const log = await openLog(config, { clock: systemClock, logger, meter, role: 'store' })
  const progress = watchProgress(log, systemClock)
  const store = await openStorePatiently({ config, clock: systemClock, logger })
  const worker = storeWorker({
    log: progress.log,
    store: store.asWriter(),
    config: config.store,
    clock: systemClock,
    logger,
    meter,
    environments: environmentsOf(config)
  })
  await worker.start()
  return {
    methods: readMethods(store),
    heldMs: progress.heldMs,
    finished: worker.finished,
    async close() {
      await worker.close()
      await store.close()
      await log.close()
    }
  }
})
