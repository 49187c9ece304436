// `topics apply` on a real broker: it takes every setting, the next plan is empty, and what was changed since is put right.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { KafkaClientOptions } from '../../pipeline/log/kafka/client-options.ts'
import type { KafkaAdmin, KafkaClient } from '../../pipeline/log/kafka/kafka-client.ts'
import { kafkajsClient } from '../../pipeline/log/kafka/kafkajs-client.ts'
import { platformaticClient } from '../../pipeline/log/kafka/platformatic-client.ts'
import { applyTopics, lookAndPlan } from '../../pipeline/log/kafka/topics-apply.ts'
import type { TopicPlan } from '../../pipeline/log/kafka/topics-plan.ts'
import { CONFIG_NAMES, type WantedTopic, wantedTopics } from '../../pipeline/log/kafka/topics-wanted.ts'
import { systemClock } from '../../pipeline/system.ts'
import { configSchema } from '../../schemas/config.ts'
import { kafkaSkipReason } from '../support/kafka-broker.ts'
import { kafkaOptions } from '../support/kafka-tools.ts'
import { eventually } from '../support/log-tools.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const reason = kafkaSkipReason()
const CLIENTS: Record<string, (options: KafkaClientOptions) => KafkaClient> = { kafkajs: kafkajsClient, platformatic: platformaticClient }
const FIRST = { grow: false, foreign: false }

describe.skipIf(reason !== undefined).each(Object.keys(CLIENTS))(`topics on a real broker through %s${reason === undefined ? '' : ` (${reason})`}`, name => {
  let admin: KafkaAdmin
  // The broker is shared: the same topics under names of our own.
  const own = `test.topics.${randomUUID().slice(0, 8)}`
  const wantedWith = (partitions: number): WantedTopic[] => {
    const kafka = { topics: { replication: 1, minInsyncReplicas: 1, partitions: { 'homeostat.metrics.v1': partitions } } }
    const config = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', kafka, intake: { topics: { enabled: true } } })
    return wantedTopics(config, { environments: ['prod'], collectors: false }).map(topic => ({ ...topic, name: `${own}.${topic.name}` }))
  }
  const wanted = wantedWith(2)
  const todo = (plans: readonly TopicPlan[]): [string, ...string[]][] =>
    plans.filter(plan => plan.actions.length > 0).map(plan => [plan.topic.slice(own.length + 1), ...plan.actions])
  const apply = async (topics: readonly WantedTopic[], options = FIRST): Promise<string[]> => {
    const told: string[] = []
    await applyTopics(admin, topics, { ...options, clock: systemClock, told: step => void told.push(step) })
    return told
  }

  beforeAll(async () => {
    admin = await CLIENTS[name]!(kafkaOptions((await sharedKafka()).brokers)).openAdmin()
  })
  afterAll(() => admin?.close())

  test('apply makes what plan says, with every setting, and a second plan is empty', async () => {
    const planned = await lookAndPlan(admin, wanted, FIRST)
    const ours = wanted.filter(topic => topic.kind === 'ours')
    expect(todo(planned).map(([topic]) => `${own}.${topic}`)).toEqual(ours.map(topic => topic.name))
    expect(await apply(wanted)).toHaveLength(ours.length)
    const found = await admin.describe(
      wanted.map(topic => topic.name),
      CONFIG_NAMES
    )
    expect(found).toHaveLength(ours.length)
    for (const topic of ours) {
      expect(found.find(one => one.name === topic.name)).toMatchObject({
        partitions: topic.partitions,
        replication: 1,
        configs: topic.configs(topic.partitions)
      })
    }
    expect(todo(await lookAndPlan(admin, wanted, FIRST))).toEqual([])
  })

  test('a setting that was changed is put right, and no other is touched', async () => {
    const topic = wanted[0]!
    await admin.alterConfigs(topic.name, { 'retention.ms': '1234', 'flush.messages': '77' })
    const shown = async (): Promise<boolean> => (await admin.describe([topic.name], ['flush.messages']))[0]!.configs['flush.messages'] === '77'
    await eventually('the broker follows its controller', shown)
    expect(todo(await lookAndPlan(admin, wanted, FIRST))).toEqual([['homeostat.metrics.v1', 'alter']])
    await apply(wanted)
    expect(todo(await lookAndPlan(admin, wanted, FIRST))).toEqual([])
    expect((await admin.describe([topic.name], ['flush.messages', 'retention.ms']))[0]!.configs).toEqual({
      'flush.messages': '77',
      'retention.ms': '172800000'
    })
  })

  test('partitions grow only when asked for', async () => {
    const more = wantedWith(3)
    expect(todo(await lookAndPlan(admin, more, FIRST))).toEqual([])
    await apply(more, { grow: true, foreign: false })
    expect((await admin.describe([more[0]!.name], []))[0]!.partitions).toBe(3)
    expect(todo(await lookAndPlan(admin, more, { grow: true, foreign: false }))).toEqual([])
  })

  test("the Collectors' topics are made when asked for, and two may apply at once", async () => {
    await Promise.all([apply(wanted, { grow: false, foreign: true }), apply(wanted, { grow: false, foreign: true })])
    const found = await admin.describe([`${own}.otlp_metrics`, `${own}.otlp_spans`, `${own}.otlp_logs`], [])
    expect(found.map(topic => topic.partitions)).toEqual([4, 4, 4])
  })
})
