// The Kafka log passes the log's contract over both client libraries, on a real broker.

import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BatchFate, TopicPartition } from '../../schemas/ports.ts'
import { TOPICS } from '../../schemas/topics.ts'
import { startAppenderProcess } from '../support/appender-process.ts'
import { kafkaSkipReason } from '../support/kafka-broker.ts'
import { type ClientName, type KafkaWorld, kafkaWorld } from '../support/kafka-log-tools.ts'
import { aRecord, eventually } from '../support/log-tools.ts'
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
else {
  for (const library of ['kafkajs', 'platformatic'] as const) {
    logContract(`the Kafka log on ${library}`, limits => kafka(library, limits), { skip: SKIP })
    describe(`the Kafka log on ${library}`, () => onlyKafka(library))
  }
}

const METRICS = TOPICS.metrics.name

/** What a cluster adds to the promises of every log. */
function onlyKafka(library: ClientName): void {
  let world: KafkaWorld
  beforeEach(async () => {
    world = await kafkaWorld(library, (await sharedKafka()).brokers, [{ name: METRICS }])
  })
  afterEach(() => world.close())

  test('a member that is known by its name keeps its partitions while it restarts', async () => {
    const options = { group: 'g', topics: [METRICS], from: 'earliest' } as const
    const events: string[] = []
    const note = (who: string) => ({
      async onAssigned(partitions: readonly TopicPartition[]) {
        events.push(`${who} +${partitions.length}`)
        return []
      },
      async onRevoked(partitions: readonly TopicPartition[]) {
        events.push(`${who} -${partitions.length}`)
      },
      onBatch: async () => ({ kind: 'done' }) as const
    })
    const other = await world.open()
    const named = await world.open({ instance: 'named', staysOverRestart: true })
    await other.subscribe({ ...options, ...note('other') })
    await eventually('the first has all', () => events.includes('other +4'))
    await named.subscribe({ ...options, ...note('named') })
    await eventually('both have their share', () => events.includes('other -2') && events.includes('named +2'))
    await named.close()
    const back = await world.open({ instance: 'named', staysOverRestart: true })
    await back.subscribe({ ...options, ...note('back') })
    await eventually('it has its share again', () => events.includes('back +2'))
    expect(events).toEqual(['other +4', 'other -2', 'named +2', 'named -2', 'back +2'])
  })

  test('members on both libraries share a group', async () => {
    const seen: string[] = []
    const [one, two] = [await world.open({}, 'kafkajs'), await world.open({}, 'platformatic')]
    for (const [name, log] of Object.entries({ one, two })) {
      await log.subscribe({
        group: 'g',
        topics: [METRICS],
        from: 'earliest',
        async onBatch({ records }) {
          for (const record of records) seen.push(`${name} ${record.partition}`)
          return { kind: 'done' }
        }
      })
    }
    const shared = (): boolean => new Set(seen).size === 4 && new Set(seen.map(entry => entry.split(' ')[0])).size === 2
    await eventually('both have half', async () => {
      seen.length = 0
      await one.append(
        METRICS,
        [0, 1, 2, 3].map(partition => aRecord('x', { partition }))
      )
      await eventually('all is delivered', () => seen.length >= 4)
      return shared()
    })
  })

  test('a topic that the cluster does not have is named, with what to do', async () => {
    const log = await world.open()
    const missing = TOPICS.outcomes.name
    const told = { code: 'unknown_topic', message: expect.stringContaining('homeostat topics apply') }
    await expect(log.append(missing, [aRecord('x')])).rejects.toMatchObject(told)
    await expect(log.offsets(missing)).rejects.toMatchObject(told)
    await expect(log.subscribe({ group: 'g', topics: [missing], from: 'latest', onBatch: never })).rejects.toMatchObject(told)
    expect(() => log.partitions(missing)).toThrow('homeostat topics apply')
  })

  test('positions of groups are told with the ends, the lag by topic', async () => {
    const log = await world.open()
    await log.append(METRICS, [aRecord('a', { partition: 1 }), aRecord('b', { partition: 1 })])
    const subscription = await log.subscribe({
      group: 'homeostat-g',
      topics: [METRICS],
      from: 'earliest',
      batchRecordsMax: 1,
      onBatch: async ({ records }) => (records[0]!.offset === 0 ? { kind: 'done' } : { kind: 'retry', afterMs: 10_000, reason: 'stuck' })
    })
    await eventually('one of two is committed', async () => (await subscription.lag()) === 1)
    expect((await log.groups()).find(one => one.partition === 1)).toEqual({ group: 'homeostat-g', topic: METRICS, partition: 1, committed: 1, end: 2 })
  })
}

const never = (): Promise<BatchFate> => Promise.reject(new Error('nothing is to be delivered'))

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
