// A process that appends pairs to a Kafka log until it is killed, and prints every acknowledged offset and value.
//
// usage: node test/support/kafka-appender.ts <client> <brokers> <topics' prefix> <values' size in bytes>

import { KafkaLog } from '../../pipeline/log/kafka/kafka-log.ts'
import { systemClock } from '../../pipeline/system.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { type ClientName, kafkaClientBy } from './kafka-log-tools.ts'
import { kafkaOptions } from './kafka-tools.ts'
import { prefixedKafka } from './prefixed-kafka.ts'

const [library = 'kafkajs', brokers = '', prefix = '', size = '100'] = process.argv.slice(2)
const options = kafkaOptions(brokers.split(','))
const topic = TOPICS.metrics.name
const log = await KafkaLog.open({
  ...options,
  client: prefixedKafka(await kafkaClientBy(library as ClientName, options), prefix),
  topics: [topic],
  groupCommitMs: 1,
  clock: systemClock
})
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
