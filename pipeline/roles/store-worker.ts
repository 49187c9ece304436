// ClickHouse and the worker that fills it, wherever the store role runs.

import { type Config, environmentsOf } from '../../schemas/config.ts'
import type { Clock, Log, Logger, Meter } from '../../schemas/ports.ts'
import type { ClickHouseStore } from '../store/clickhouse-store.ts'
import { storeWorker } from '../store/store-worker.ts'
import { openStorePatiently } from './store-reads.ts'

export interface StoreParts {
  config: Config
  /** May be on its way: ClickHouse is opened meanwhile. */
  log: Log | Promise<Log>
  clock: Clock
  logger: Logger
  meter: Meter
  stop?: AbortSignal | undefined
}

/** @throws AppError of the log and of `openStorePatiently` */
export async function openStoreWorker(parts: StoreParts): Promise<{ store: ClickHouseStore; finished: Promise<void>; close(): Promise<void> }> {
  const { config, clock, logger, meter } = parts
  const [log, store] = await Promise.all([parts.log, openStorePatiently(parts)])
  const worker = storeWorker({ log, store: store.asWriter(), config: config.store, clock, logger, meter, environments: environmentsOf(config) })
  await worker.start()
  return {
    store,
    finished: worker.finished,
    async close() {
      await worker.close()
      await store.close()
    }
  }
}
