// A process that joins a consumer group of an embedded log, prints what it reads, and stays until it is killed.
//
// usage: node test/support/log-consumer.ts <dir> <group> <topic>

import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { quietLogger } from './log-tools.ts'

const [dir = '', group = '', topic = ''] = process.argv.slice(2)
const meter = { count() {}, gauge() {} }
const log = await EmbeddedLog.open({ dir, clock: systemClock, logger: quietLogger, meter, bytesMax: 2 ** 30, groupCommitMs: 0 })
await log.subscribe({
  group,
  topics: [topic],
  from: 'earliest',
  autoCommit: false,
  async onBatch({ generation, records }) {
    process.stdout.write(`${generation} ${records.length}\n`)
    return { kind: 'done' }
  }
})
