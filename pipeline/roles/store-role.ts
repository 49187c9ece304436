// The store role in its process: ClickHouse (embedded or a server), the worker that fills it, and reads for the others.
//
// The embedded engine allows one process a data directory: this one owns it, everybody else asks through the port. After
// kill -9 of the parent it ends by itself; its successor waits for the lock.

import { clickHouseSignals } from '../store/signals.ts'
import { ClickHouseStore } from '../store/clickhouse-store.ts'
import { readOnlyQuery } from '../store/read-only.ts'
import { storeWorker } from '../store/store-worker.ts'
import { openLogger } from '../self/logger.ts'
import { systemClock } from '../system.ts'
import { environmentsOf } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import type { SignalQuery } from '../../schemas/ports.ts'
import { serveRole } from '../hosting/serve-role.ts'
import type { RoleData } from './detect-role.ts'
import { openLog } from './log.ts'
import { resolveSecret } from '../config/load.ts'

/** Rows that `homeostat sql` and the console get at most. */
const SQL_ROWS_MAX = 10_000
const OPEN_DEADLINE_MS = 30_000
const OPEN_PAUSE_MS = 250

await serveRole<RoleData>(async ({ data: { config, pretty }, meter }) => {
  const logger = openLogger({ level: config.self.logLevel, role: 'store', pretty })
  const log = await openLog(config, { clock: systemClock, logger, meter })
  const { password, ...settings } = config.store
  const store = await openPatiently({
    config: password ? { ...settings, password: resolveSecret(password, process.env) } : settings,
    dataDir: config.dataDir,
    clock: systemClock,
    logger
  })
  const worker = storeWorker({ log, store, config: config.store, clock: systemClock, logger, meter, environments: environmentsOf(config) })
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

/** The engine of a killed predecessor may hold its lock for a moment; a server may still be starting. */
async function openPatiently(options: Parameters<typeof ClickHouseStore.open>[0]): Promise<ClickHouseStore> {
  const deadlineMs = systemClock.monotonicMs() + OPEN_DEADLINE_MS
  for (;;) {
    try {
      return await ClickHouseStore.open(options)
    } catch (cause) {
      if (!(cause instanceof AppError && cause.retriable) || systemClock.monotonicMs() > deadlineMs) throw cause
      options.logger.warn({ err: cause }, 'ClickHouse is not to be had yet, trying again')
      await systemClock.sleep(OPEN_PAUSE_MS)
    }
  }
}
