// The Kafka log passes the log's contract over both client libraries, on a real broker.

import { setTimeout as delay } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { TOPICS } from '../../schemas/topics.ts'
import { startAppenderProcess } from '../support/appender-process.ts'
import { kafkaSkipReason } from '../support/kafka-broker.ts'
import { type ClientName, type KafkaWorld, kafkaWorld } from '../support/kafka-log-tools.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { type Appender, type LogFixture, type LogLimits, logContract } from './log.ts'

const SETTLED_MS = 1_100 // Twice the interval at which the test broker applies retention.
const LATER_MS_MIN = 86_400_000
const SKIP = [
  {
    test: 'a compacted topic keeps the last value of each key, and tombstones remove it',
    why: 'the broker compacts closed segments when it likes; the contract of the clients reads over the holes that it leaves'
  },
  {
    test: 'compaction does not take a record away from a group that has yet to read it',
    why: 'Kafka compacts whatever groups have read: who must see every record reads a topic that is not compacted'
  }
]

const reason = kafkaSkipReason()
if (reason !== undefined) describe.skip(`the Kafka log (${reason})`, () => test('', () => {}))
else for (const library of ['kafkajs', 'platformatic'] as const) logContract(`the Kafka log on ${library}`, limits => kafka(library, limits), { skip: SKIP })

async function kafka(library: ClientName, { retentionBytes }: LogLimits): Promise<LogFixture> {
  const { brokers } = await sharedKafka()
  const perAppend = { 'segment.ms': '1' } // A segment for each append: retention removes whole closed ones.
  const topics = [{ name: TOPICS.metrics.name }, { name: TOPICS.anomalies.name, configs: perAppend }, { name: TOPICS.incidents.name }]
  const world = await kafkaWorld(library, brokers, topics)
  const appenders: Appender[] = []
  const log = await world.open({ instance: 'first' })
  return {
    log,
    another: () => world.open(),
    async reopen() {
      await log.close()
      return world.open({ instance: 'first' })
    },
    maintain: laterMs => maintain(world, retentionBytes, laterMs),
    async startAppender(valueBytes) {
      const appender = startAppenderProcess('./kafka-appender.ts', [library, brokers.join(','), world.prefix, String(valueBytes)])
      appenders.push(appender)
      return appender
    },
    async close() {
      for (const appender of appenders) await appender.kill()
      await world.close()
    }
  }
}

/** Waits until the broker has applied retention; much later, everything is old. */
async function maintain({ admin }: KafkaWorld, retentionBytes: number, laterMs = 0): Promise<void> {
  const { name: topic, retentionMs } = TOPICS.anomalies
  const limits = { 'retention.bytes': String(retentionBytes), 'retention.ms': String(laterMs >= LATER_MS_MIN ? 1 : retentionMs) }
  await admin.alterConfigs(topic, limits)
  for (let before = -1, sinceMs = performance.now(); performance.now() - sinceMs < SETTLED_MS; await delay(50)) {
    const start = (await admin.offsets(topic))[0]!.start
    if (start !== before) sinceMs = performance.now()
    before = start
  }
  await admin.alterConfigs(topic, { 'retention.bytes': '-1', 'retention.ms': String(retentionMs) })
}
