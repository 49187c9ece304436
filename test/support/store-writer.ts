// A process that inserts one row after another into an embedded store and prints `ok <number>` after each, until it is killed.

import { ClickHouseStore } from '../../pipeline/store/clickhouse-store.ts'
import { systemClock } from '../../pipeline/system.ts'
import type { AppError } from '../../schemas/errors.ts'
import { quietLogger } from './log-tools.ts'
import { storeConfig } from './store-tools.ts'

try {
  const store = await ClickHouseStore.open({ config: storeConfig(), dataDir: process.argv[2]!, clock: systemClock, logger: quietLogger })
  for (let number = 0; ; number++) {
    const row = { MetricName: 'killed', TimeUnix: `${Math.floor(Date.now() / 1_000)}`, Value: number }
    await store.insert('otel_metrics_gauge', [row], { token: `killed-${number}` })
    console.log(`ok ${number}`)
  }
} catch (error) {
  console.log(`${(error as AppError).code}: ${(error as Error).message}`)
  process.exitCode = 1
}
