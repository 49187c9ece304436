// Opens real ClickHouse stores for tests (the engine in this process, one data directory a process) and builds what they hold.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { systemClock } from '../../pipeline/system.ts'
import { type Config, configSchema } from '../../schemas/config.ts'
import { quietLogger } from './log-tools.ts'

const TTL_DAYS = 10_000 // Recorded telemetry is of one day in 2026 and must not expire under a test.

export function storeConfig(more: Partial<Config['store']> = {}): Config['store'] {
  return { ...configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' }).store, telemetryTtlDays: TTL_DAYS, recordsTtlDays: TTL_DAYS, ...more }
}

export interface TestStore {
  store: ClickHouseStore
  dataDir: string
  /** Closes and opens again on the same directory. */
  reopen(more?: Partial<Config['store']>): Promise<ClickHouseStore>
  /** Closes and removes the directory. */
  remove(): Promise<void>
}

/** An embedded store in a directory of its own. */
export async function openTestStore(): Promise<TestStore> {
  const dataDir = mkdtempSync(join(tmpdir(), 'homeostat-store-'))
  const open = (more: Partial<Config['store']> = {}): Promise<ClickHouseStore> =>
    ClickHouseStore.open({ config: storeConfig(more), dataDir, clock: systemClock, logger: quietLogger })
  const fixture: TestStore = {
    store: await open(),
    dataDir,
    async reopen(more) {
      await fixture.store.close()
      fixture.store = await open(more)
      return fixture.store
    },
    async remove() {
      await fixture.store.close()
      rmSync(dataDir, { recursive: true, force: true })
    }
  }
  return fixture
}
