// A process that appends to an embedded log until it is killed and prints every acknowledged offset and value.
//
// usage: node test/support/log-appender.ts <dir> <values' size in bytes>

import { EmbeddedLog } from '../../pipeline/log/embedded-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { quietLogger } from './log-tools.ts'

const [dir = '', size = '100'] = process.argv.slice(2)
const log = await EmbeddedLog.open({
  dir,
  clock: systemClock,
  logger: quietLogger,
  meter: { count() {}, gauge() {} },
  bytesMax: 2 ** 30,
  groupCommitMs: 1
})
const topic = 'homeostat.metrics.v1'
const padding = 'x'.repeat(Math.max(0, Number(size) - 10))
for (let lane = 0; lane < 4; lane++) void appendForever(lane)

async function appendForever(lane: number): Promise<void> {
  for (let count = 0; ; count++) {
    const name = `${lane}-${count}`
    const records = [0, 1].map(part => ({ key: name, value: Buffer.from(`${name}-${part}:${padding}`), partition: lane }))
    const positions = await log.append(topic, records)
    process.stdout.write(positions.map((p, part) => `${p.partition} ${p.offset} ${name}-${part}\n`).join(''))
  }
}
