// Builders for tests of the Kafka clients: options for a broker, names that nobody else uses, a member that remembers what it was told.

import { randomUUID } from 'node:crypto'
import type { TopicPartition } from '../../schemas/ports.ts'
import type { KafkaClientOptions } from '../../pipeline/log/kafka/client-options.ts'
import type { Fetched, GroupOptions, KafkaClient, KafkaFetcher, KafkaMember, ProduceBatch, TopicSettings } from '../../pipeline/log/kafka/kafka-client.ts'
import { bytes, eventually, quietLogger } from './log-tools.ts'

const FETCH_BYTES = 1 << 20
const WAIT_MS = 200
const SESSION_MS = 30_000

/**
 * Options with short heartbeats, so that groups form within seconds, and long sessions: who is held up by a busy machine stays a member.
 * A test of losses takes shorter ones.
 */
export function kafkaOptions(brokers: readonly string[], more: Partial<KafkaClientOptions> = {}): KafkaClientOptions {
  return {
    brokers,
    clientId: 'homeostat-test',
    compression: 'none',
    instance: 'test',
    sessionTimeoutMs: SESSION_MS,
    rebalanceTimeoutMs: SESSION_MS,
    heartbeatMs: 300,
    logger: quietLogger,
    meter: { count() {}, gauge() {} },
    ...more
  }
}

/** A name that no other test has: the broker is shared and never emptied. */
export const aName = (what: string): string => `test.${what}.${randomUUID().slice(0, 8)}`

export const aTopic = (name: string, more: Partial<TopicSettings> = {}): TopicSettings => ({ name, partitions: 1, replication: 1, configs: {}, ...more })

/** One batch of records with these texts as values, key `k`. */
export const aBatch = (topic: string, partition: number, texts: readonly string[]): ProduceBatch => ({
  topic,
  partition,
  records: texts.map(text => ({ key: 'k', value: bytes(text), headers: {} }))
})

/** Everything from `offset` to the end. */
export async function fetchAll(
  fetcher: KafkaFetcher,
  topic: string,
  partition = 0,
  offset = 0
): Promise<{ records: Fetched['records'][number][]; next: number }> {
  const records: Fetched['records'][number][] = []
  let next = offset
  for (;;) {
    const [broker] = [...(await fetcher.leaders([{ topic, partition }])).keys()]
    const [part] = await fetcher.fetch(broker!, [{ topic, partition, offset: next, bytesMax: FETCH_BYTES }], { waitMsMax: WAIT_MS, bytesMax: FETCH_BYTES })
    if (part!.error !== undefined) throw new Error(`${topic}/${partition} at ${next}: ${part!.error}`)
    records.push(...part!.records)
    if (part!.next >= part!.end) return { records, next: part!.next }
    next = part!.next
  }
}

export interface TestMember {
  member: KafkaMember
  /** All that it was told, newest last. */
  assigned: { generation: number; partitions: readonly TopicPartition[] }[]
  rebalances: () => number
  losses: () => number
  /** `topic/partition` of its newest share. */
  owns(): string[]
  generation(): number
}

/** A member that only remembers. `onRebalance` may be replaced. */
export async function aMember(client: KafkaClient, options: Pick<GroupOptions, 'group' | 'topics'> & Partial<GroupOptions>): Promise<TestMember> {
  const assigned: TestMember['assigned'] = []
  let rebalances = 0
  let losses = 0
  const { onRebalance, ...given } = options
  const member = await client.join({
    instance: aName('instance'),
    mode: 'shared',
    sessionTimeoutMs: SESSION_MS,
    rebalanceTimeoutMs: SESSION_MS,
    heartbeatMs: 300,
    onRebalance() {
      rebalances++
      return onRebalance === undefined ? Promise.resolve() : onRebalance()
    },
    onAssigned: share => void assigned.push(share),
    onLost: () => void losses++,
    ...given
  })
  return {
    member,
    assigned,
    rebalances: () => rebalances,
    losses: () => losses,
    owns: () => (assigned.at(-1)?.partitions ?? []).map(({ topic, partition }) => `${topic}/${partition}`).sort(),
    generation: () => assigned.at(-1)?.generation ?? -1
  }
}

/** Waits until the members' newest shares cover `count` partitions, each once, from one generation. */
export async function shared(members: readonly TestMember[], count: number): Promise<void> {
  await eventually(`${members.length} members share ${count} partitions`, () => {
    const all = members.flatMap(member => member.owns())
    return all.length === count && new Set(all).size === count && new Set(members.map(member => member.generation())).size === 1
  })
}
