// Records that Kafka's own producer compressed are read by both clients: Collectors and other senders use its framings, which differ
// from what the two clients write themselves (snappy in blocks with a header of its own, for instance).
//
// The producer is the brokers' perf tool: it writes one payload again and again. One Java process a codec, some seconds in all.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kafkajsClient } from '../../pipeline/log/kafka/kafkajs-client.ts'
import { platformaticClient } from '../../pipeline/log/kafka/platformatic-client.ts'
import { kafkaJars, kafkaSkipReason } from '../support/kafka-broker.ts'
import { aName, aTopic, fetchAll, kafkaOptions } from '../support/kafka-tools.ts'
import { textOf } from '../support/log-tools.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import type { MakeClient } from './kafka-client.ts'

const RECORDS = 20
const PAYLOAD = Array.from({ length: 4_000 }, (_, index) => `word ${(index * 7_919) % 997}`).join(' ') // 40 KB: more than one block of snappy.
const CLIENTS: Readonly<Record<string, MakeClient>> = { kafkajs: kafkajsClient, platformatic: platformaticClient }

const reason = kafkaSkipReason('tools')
let brokers: string[] = []
const folder = mkdtempSync(join(tmpdir(), 'homeostat-codecs-'))

describe.skipIf(reason !== undefined)(`what Kafka's own producer compressed${reason === undefined ? '' : ` (${reason})`}`, () => {
  beforeAll(async () => {
    brokers = (await sharedKafka()).brokers
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(['gzip', 'zstd', 'lz4', 'snappy'])('with %s is read by both clients', async codec => {
    const topic = aName(codec)
    const admin = await platformaticClient(kafkaOptions(brokers)).openAdmin()
    await admin.create([aTopic(topic)])
    await admin.close()
    produce(brokers, topic, codec)
    for (const make of Object.values(CLIENTS)) {
      const fetcher = await make(kafkaOptions(brokers)).openFetcher()
      const { records } = await fetchAll(fetcher, topic)
      await fetcher.close()
      expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: RECORDS }, (_, index) => index))
      expect(new Set(records.map(textOf))).toEqual(new Set([PAYLOAD]))
    }
  })
})

/** All records in few batches: the tool waits for company, up to a size that holds them. */
function produce(brokers: readonly string[], topic: string, codec: string): void {
  const payload = join(folder, 'payload.txt')
  writeFileSync(payload, `${PAYLOAD}\n`)
  const properties = [`bootstrap.servers=${brokers[0]}`, `compression.type=${codec}`, 'batch.size=1000000', 'linger.ms=100']
  const load = ['--topic', topic, '--num-records', String(RECORDS), '--throughput', '-1', '--payload-file', payload]
  const java = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx256m', '-cp', `${kafkaJars('tools')}/*`, 'org.apache.kafka.tools.ProducerPerformance']
  execFileSync('java', [...java, ...load, '--command-property', ...properties], { stdio: ['ignore', 'ignore', 'pipe'] })
}
