// The store role in its thread: ClickHouse (embedded or a server), the worker that fills it, and reads for the others.
//
// The embedded engine allows one data directory a process: this thread owns it, everybody else asks through the port.

import { workerData } from 'node:worker_threads'
import { clickHouseSignals } from '../store/signals.ts'
import { ClickHouseStore } from '../store/clickhouse-store.ts'
import { readOnlyQuery } from '../store/read-only.ts'
import { storeWorker } from '../store/store-worker.ts'
import { openLogger } from '../self/logger.ts'
import { systemClock } from '../system.ts'
import type { SignalQuery } from '../../schemas/ports.ts'
import { serveThread } from '../threads/serve.ts'
import type { ThreadData } from './detect-thread.ts'
import { openLog } from './log.ts'
import { resolveSecret } from '../config/load.ts'

/** Rows that `homeostat sql` and the console get at most. */
const SQL_ROWS_MAX = 10_000

const { config, pretty } = workerData as ThreadData

await serveThread(async ({ meter }) => {
  const logger = openLogger({ level: config.self.logLevel, role: 'store', pretty })
  const log = await openLog(config, { clock: systemClock, logger, meter })
  const { password, ...settings } = config.store
  const store = await ClickHouseStore.open({
    config: password ? { ...settings, password: resolveSecret(password, process.env) } : settings,
    dataDir: config.dataDir,
    clock: systemClock,
    logger
  })
  const worker = storeWorker({ log, store, config: config.store, clock: systemClock, logger, meter, environments: [config.environment] })
  await worker.start()
  const signals = clickHouseSignals(store)
  return {
    methods: {
      query: ({ sql, parameters }: { sql: string; parameters?: Record<string, unknown> }) => store.query(sql, parameters),
      readOnly: (sql: string) => readOnlyQuery(store, sql, { rowsMax: SQL_ROWS_MAX }),
      series: (query: SignalQuery) => signals.series(query),
      logs: ([entity, fromMs, toMs, rowsMax]: [string, number, number, number]) => signals.logs(entity, fromMs, toMs, rowsMax),
      spans: ([entity, fromMs, toMs, rowsMax]: [string, number, number, number]) => signals.spans(entity, fromMs, toMs, rowsMax)
    },
    async close() {
      await worker.close()
      await store.close()
      await log.close()
    }
  }
})
