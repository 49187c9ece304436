// Our topics on a test's broker, made as `homeostat topics apply` makes them.

import { openKafkaClient } from '../../pipeline/log/kafka/open-client.ts'
import { applyTopics } from '../../pipeline/log/kafka/topics-apply.ts'
import { wantedTopics } from '../../pipeline/log/kafka/topics-wanted.ts'
import { systemClock } from '../../pipeline/system.ts'
import type { Config } from '../../schemas/config.ts'
import { deaf, quiet } from './quiet.ts'

/** Makes every topic that the configuration needs; a single broker needs `kafka.topics.replication: 1`. */
export async function createTopics(config: Config): Promise<void> {
  const client = await openKafkaClient(config, { secret: reference => reference, role: 'test', logger: quiet, meter: deaf })
  const admin = await client.openAdmin()
  try {
    const wanted = wantedTopics(config, { environments: [config.environment], collectors: false })
    await applyTopics(admin, wanted, { grow: false, foreign: false, clock: systemClock, told() {} })
  } finally {
    await admin.close()
  }
}
