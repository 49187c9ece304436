// What `homeostat topics` promises on the command line: it says what is missing, makes it, and then finds nothing to do.

import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import type { Output } from '../../../../pipeline/cli/output.ts'
import { topicsCommands } from '../../../../pipeline/cli/topics.ts'
import type { KafkaAdmin, TopicSettings } from '../../../../pipeline/log/kafka/kafka-client.ts'
import { type ConfigInput, configSchema } from '../../../../schemas/config.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

/** A cluster in memory: what was created, grown and altered is what is described. */
function cluster(): { admin: KafkaAdmin; topics: Map<string, TopicSettings>; closed: () => number; refuse: (topic: string | undefined) => void } {
  const topics = new Map<string, TopicSettings>()
  let closed = 0
  let refused: string | undefined
  const check = (name: string): void => {
    if (name === refused) throw new AppError('log_unavailable', `the cluster does not answer for ${name}`)
  }
  const admin: KafkaAdmin = {
    partitionCounts: async () => new Map(),
    describe: async names => names.flatMap(name => topics.get(name) ?? []),
    create: async created => {
      for (const topic of created) check(topic.name)
      for (const topic of created) topics.set(topic.name, topic)
    },
    grow: async (name, partitions) => void topics.set(name, { ...topics.get(name)!, partitions }),
    alterConfigs: async (name, configs) => {
      check(name)
      topics.set(name, { ...topics.get(name)!, configs: { ...topics.get(name)!.configs, ...configs } })
    },
    offsets: async () => [],
    committed: async () => [],
    groups: async () => [],
    brokers: async () => [],
    close: async () => void closed++
  }
  return { admin, topics, closed: () => closed, refuse: topic => (refused = topic) }
}

const ON_KAFKA: Partial<ConfigInput> = { environment: 'prod', log: { kind: 'kafka' }, kafka: { brokers: ['127.0.0.1:1'] } }

async function run(admin: KafkaAdmin, args: readonly string[], input: Partial<ConfigInput> = ON_KAFKA) {
  const printed = { result: undefined as any, text: '', said: [] as string[], opened: 0 }
  const output: Output = {
    table: () => {},
    result: (value, shown) => {
      printed.result = value
      printed.text = shown
    },
    say: line => void printed.said.push(line)
  }
  const program = new Command().exitOverride()
  topicsCommands(program, {
    config: () => configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat', ...input }),
    output: () => output,
    openAdmin: async () => {
      printed.opened++
      return admin
    },
    clock: virtualClock(0)
  })
  await program.parseAsync(['topics', ...args], { from: 'user' })
  return printed
}

describe('homeostat topics', () => {
  test('an empty cluster: plan lists every topic to create, apply makes them, and then there is nothing to do', async () => {
    const { admin, topics, closed } = cluster()
    const planned = await run(admin, ['plan'])
    expect(topics.size).toBe(0)
    expect(planned.text).toMatch(/^topic +exists +partitions +replicas +configs +apply +note\nhomeostat\.metrics\.v1 +no +4 +3 +create$/m)
    expect(planned.text).toMatch(/homeostat\.commands\.prod\.v1\.dlq +no +1 +3 +create/)
    expect(planned.text).toContain(`${planned.result.length} topics to change: \`homeostat topics apply\``)
    const applied = await run(admin, ['apply'])
    expect(applied.said).toContain('created homeostat.metrics.v1: 4 partitions, 3 replicas')
    expect(applied.text).toBe(`${topics.size} changes made`)
    expect(topics.size).toBe(planned.result.length)
    expect((await run(admin, ['plan'])).text.endsWith('\nnothing to do')).toBe(true)
    expect((await run(admin, ['apply'])).text).toBe('nothing to do')
    expect(closed()).toBe(4)
  })

  test('what somebody changed is shown with both values, and set again', async () => {
    const { admin, topics } = cluster()
    await run(admin, ['apply'])
    const metrics = topics.get('homeostat.metrics.v1')!
    topics.set(metrics.name, { ...metrics, partitions: 2, configs: { ...metrics.configs, 'retention.ms': '1' } })
    const planned = await run(admin, ['plan'])
    expect(planned.text).toContain('homeostat.metrics.v1: retention.ms 1 → 172800000')
    expect(planned.text).toMatch(/homeostat\.metrics\.v1 +yes +2 → 4 +3 +\d differ +alter +see below/)
    expect(planned.text).toContain('homeostat.metrics.v1: 4 partitions are wanted: --grow adds them')
    await run(admin, ['apply'])
    expect(topics.get(metrics.name)).toMatchObject({ partitions: 2, configs: { 'retention.ms': '172800000' } })
    const grown = await run(admin, ['apply', '--grow'])
    expect(grown.said).toContain('grew homeostat.metrics.v1 from 2 to 4 partitions')
    expect(topics.get(metrics.name)).toEqual(metrics)
  })

  test("the Collectors' topics are made only with --collector", async () => {
    const { admin, topics } = cluster()
    const open = { ...ON_KAFKA, intake: { topics: { enabled: true } } }
    const without = await run(admin, ['apply'], open)
    expect([topics.has('otlp_metrics'), topics.has('otlp_metrics.dlq')]).toEqual([false, true])
    expect(without.said).toContain('otlp_metrics: Collectors make it, or you: --collector makes it here')
    await run(admin, ['apply', '--collector'], open)
    expect(topics.get('otlp_spans')).toMatchObject({ partitions: 4, replication: 3 })
  })

  test('commands of further environments get their topics', async () => {
    const { admin, topics } = cluster()
    await run(admin, ['apply', '--environment', 'staging', 'lab'])
    for (const name of ['prod', 'staging', 'lab']) expect(topics.has(`homeostat.commands.${name}.v1`), name).toBe(true)
  })

  test('a cluster that fails half-way: what was done was said, and the next run does the rest', async () => {
    const { admin, topics, closed, refuse } = cluster()
    await run(admin, ['apply'])
    for (const [name, topic] of topics) topics.set(name, { ...topic, configs: {} })
    refuse('homeostat.spans.v1')
    await expect(run(admin, ['apply'])).rejects.toMatchObject({ code: 'log_unavailable' })
    expect(Object.keys(topics.get('homeostat.metrics.v1')!.configs)).not.toEqual([])
    expect(closed()).toBe(2)
    refuse(undefined)
    await run(admin, ['apply'])
    expect((await run(admin, ['plan'])).text).toContain('nothing to do')
  })

  test('acls names the rights of every role, and of the actuator of each environment, without asking a broker', async () => {
    const printed = await run(cluster().admin, ['acls', '--environment', 'staging', '--principal-prefix', 'User:h-'])
    for (const name of ['intake', 'act-prod', 'act-staging']) expect(printed.text).toContain(`--allow-principal 'User:h-${name}'`)
    expect([printed.opened, printed.result.length]).toEqual([0, printed.text.split('\n').length])
  })

  test('on the embedded log there is nothing to do, and no broker is asked', async () => {
    const printed = await run(cluster().admin, ['plan'], {})
    expect(printed.text).toContain('log.kind is embedded')
    expect([printed.opened, printed.result]).toEqual([0, []])
  })
})
