// The store role in its process: ClickHouse (embedded or a server), the worker that fills it, and reads for the others.
//
// The embedded engine allows one process a data directory: this one owns it, everybody else asks through the port. After
// kill -9 of the parent it ends by itself; its successor waits for the lock.

import { serveRole } from '../hosting/serve-role.ts'
import { openLogger } from '../self/logger.ts'
import { watchProgress } from '../self/progress.ts'
import { systemClock } from '../system.ts'
import type { RoleData } from './context.ts'
import { openLog } from './log.ts'
import { readMethods } from './store-reads.ts'
import { openStoreWorker } from './store-worker.ts'

await serveRole<RoleData>(async ({ data: { config, pretty }, meter }) => {
  const logger = openLogger({ level: config.self.logLevel, role: 'store', pretty })
  const ports = { clock: systemClock, logger, meter }
  const opening = openLog(config, { ...ports, role: 'store' }).then(log => watchProgress(log, systemClock))
  const role = await openStoreWorker({ ...ports, config, log: opening.then(({ log }) => log) })
  const { log, heldMs } = await opening
  return {
    methods: readMethods(role.store),
    heldMs,
    finished: role.finished,
    async close() {
      await role.close()
      await log.close()
    }
  }
})
