// What `topics plan` wants of a cluster, and what it would and would not change there.

import { describe, expect, test } from 'vitest'
import type { TopicSettings } from '../../../../pipeline/log/kafka/kafka-client.ts'
import { planTopics, type TopicPlan } from '../../../../pipeline/log/kafka/topics-plan.ts'
import { CONFIG_NAMES, type WantedTopic, wantedTopics } from '../../../../pipeline/log/kafka/topics-wanted.ts'
import { type ConfigInput, configSchema } from '../../../../schemas/config.ts'
import { TOPICS } from '../../../../schemas/topics.ts'

const GIB = 2 ** 30
const wantedBy = (input: Partial<ConfigInput> = {}, options: { environments?: string[]; collectors?: boolean } = {}): WantedTopic[] =>
  wantedTopics(configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', ...input }), { environments: ['prod'], collectors: false, ...options })
const named = (wanted: readonly WantedTopic[], name: string): WantedTopic => wanted.find(topic => topic.name === name)!
const asWanted = ({ name, partitions, replication, configs }: WantedTopic, changes: Partial<TopicSettings> = {}): TopicSettings => ({
  name,
  partitions,
  replication,
  configs: configs(partitions),
  ...changes
})
const planOf = (topic: WantedTopic, found: readonly TopicSettings[], options = { grow: false, foreign: false }): TopicPlan =>
  planTopics([topic], found, options)[0]!
const METRICS = named(wantedBy(), TOPICS.metrics.name)

describe('what is wanted', () => {
  test('every topic of the table with its dead letters, commands for each environment', () => {
    const names = wantedBy({}, { environments: ['prod', 'staging'] }).map(topic => topic.name)
    expect(names).toContain('homeostat.commands.prod.v1')
    expect(names).toContain('homeostat.commands.staging.v1.dlq')
    expect(names.some(name => name.includes('{'))).toBe(false)
    expect(names).toContain('homeostat.metrics.v1.dlq')
    expect(names).not.toContain('homeostat.checkpoints.v1.dlq')
    expect(names).toHaveLength(2 * (Object.keys(TOPICS).length + 1) - 1)
    expect(new Set(names).size).toBe(names.length)
  })

  test("the Collectors' topics only where their door is open or they are asked for; their dead letters are ours", () => {
    const isCollectors = (topic: WantedTopic): boolean => !topic.name.startsWith('homeostat.')
    expect(wantedBy().filter(isCollectors)).toEqual([])
    const open = wantedBy({ intake: { topics: { enabled: true, logs: { topic: 'edge.logs' } } } }).filter(isCollectors)
    expect(open.map(({ name, kind, partitions }) => [name, kind, partitions])).toEqual([
      ['otlp_metrics', 'foreign', 4],
      ['otlp_metrics.dlq', 'ours', 1],
      ['otlp_spans', 'foreign', 4],
      ['otlp_spans.dlq', 'ours', 1],
      ['edge.logs', 'foreign', 4],
      ['edge.logs.dlq', 'ours', 1]
    ])
    expect(wantedBy({}, { collectors: true }).filter(isCollectors)).toHaveLength(6)
  })

  test('limits are of the whole topic: each partition gets its share', () => {
    expect(METRICS.configs(4)).toMatchObject({ 'retention.ms': String(2 * 86_400_000), 'retention.bytes': String(GIB / 2), 'cleanup.policy': 'delete' })
    expect(METRICS.configs(16)['retention.bytes']).toBe(String(GIB / 8))
  })

  test('partitions and retention can be set by topic; a misspelt name is refused', () => {
    const kafka = { topics: { partitions: { 'homeostat.metrics.v1': 48 }, retention: { 'homeostat.metrics.v1': { time: '6h', bytes: 480 * GIB } } } }
    const metrics = named(wantedBy({ kafka }), TOPICS.metrics.name)
    expect(metrics.partitions).toBe(48)
    expect(metrics.configs(48)).toMatchObject({ 'retention.ms': '21600000', 'retention.bytes': String(10 * GIB), 'segment.bytes': String(GIB) })
    for (const name of ['homeostat.metric.v1', 'otlp_metrics']) {
      expect(() => wantedBy({ kafka: { topics: { partitions: { [name]: 48 } } } })).toThrow(`kafka.topics.partitions names ${name}`)
      expect(() => wantedBy({ kafka: { topics: { retention: { [name]: { time: '1h' } } } } })).toThrow(`kafka.topics.retention names ${name}`)
    }
  })

  test('more in-sync replicas than replicas are refused, since nothing could be appended', () => {
    expect(() => wantedBy({ kafka: { topics: { replication: 1 } } })).toThrow(/minInsyncReplicas is 2, but .* only 1/)
  })

  test('nothing acknowledged is lost to a lagging leader, and a segment holds the largest message', () => {
    for (const topic of wantedBy({}, { collectors: true })) {
      const configs = topic.configs(topic.partitions)
      expect(configs).toMatchObject({ 'min.insync.replicas': '2', 'unclean.leader.election.enable': 'false' })
      expect(Number(configs['max.message.bytes'])).toBeGreaterThan(64 * 2 ** 20)
      expect(Number(configs['segment.bytes'])).toBeGreaterThan(Number(configs['max.message.bytes']))
      expect(CONFIG_NAMES).toEqual(expect.arrayContaining(Object.keys(configs)))
    }
  })

  test('compacted topics keep what is current: no retention, and compaction within the hour', () => {
    const configs = named(wantedBy(), TOPICS.checkpoints.name).configs(2)
    expect(configs).toMatchObject({ 'cleanup.policy': 'compact', 'max.compaction.lag.ms': '3600000' })
    expect(Object.keys(configs).filter(name => name.startsWith('retention'))).toEqual([])
  })
})

describe('what would be done', () => {
  test('a missing topic is made, with all its configs', () => {
    const plan = planOf(METRICS, [])
    expect(plan).toMatchObject({ exists: false, actions: ['create'], partitions: { have: 0, want: 4 } })
    expect(plan.configs).toHaveLength(Object.keys(METRICS.configs(4)).length)
  })

  test('a topic that is as wanted needs nothing', () => {
    expect(planOf(METRICS, [asWanted(METRICS)])).toMatchObject({ exists: true, actions: [], configs: [], notes: [] })
  })

  test('configs that differ are altered, those that we do not set are left alone', () => {
    const found = asWanted(METRICS, { configs: { ...METRICS.configs(4), 'retention.ms': '1000', 'flush.ms': '7' } })
    expect(planOf(METRICS, [found])).toMatchObject({ actions: ['alter'], configs: [{ name: 'retention.ms', have: '1000', want: '172800000' }] })
  })

  test('a config that the topic does not set counts as different', () => {
    const { 'min.insync.replicas': _unset, ...configs } = METRICS.configs(4)
    expect(planOf(METRICS, [asWanted(METRICS, { configs })]).configs).toEqual([{ name: 'min.insync.replicas', want: '2' }])
  })

  test('partitions grow only when asked for, and the limits a partition grow smaller with them', () => {
    const found = asWanted(METRICS, { partitions: 2, configs: METRICS.configs(2) })
    expect(planOf(METRICS, [found])).toMatchObject({ actions: [], partitions: { have: 2, want: 4 }, notes: [expect.stringContaining('--grow')] })
    const grown = planOf(METRICS, [found], { grow: true, foreign: false })
    expect(grown).toMatchObject({ actions: ['grow', 'alter'], notes: [] })
    expect(grown.configs).toEqual([
      { name: 'retention.bytes', have: String(GIB), want: String(GIB / 2) },
      { name: 'segment.bytes', have: String(GIB / 4), want: String(GIB / 8) }
    ])
  })

  test('partitions never shrink and replicas are not moved: it says so', () => {
    const found = asWanted(METRICS, { partitions: 8, replication: 1, configs: METRICS.configs(8) })
    const plan = planOf(METRICS, [found], { grow: true, foreign: true })
    expect(plan.actions).toEqual([])
    expect(plan.notes).toEqual([expect.stringContaining('never taken away'), expect.stringContaining('kafka-reassign-partitions')])
  })

  test('a foreign topic is made only when asked for, and never changed', () => {
    const foreign = named(wantedBy({}, { collectors: true }), 'otlp_spans')
    expect(planOf(foreign, [])).toMatchObject({ actions: [], configs: [], notes: [expect.stringContaining('--collector')] })
    expect(planOf(foreign, [], { grow: false, foreign: true }).actions).toEqual(['create'])
    const theirs = { name: 'otlp_spans', partitions: 1, replication: 1, configs: { 'retention.ms': '1' } }
    expect(planOf(foreign, [theirs], { grow: true, foreign: true })).toMatchObject({ actions: [], notes: [], partitions: { have: 1, want: 1 } })
  })
})
