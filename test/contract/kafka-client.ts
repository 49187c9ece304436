// What each Kafka client promises the Kafka log, on a real broker. Both libraries run the same suite; a promise that one cannot
// keep is skipped with the reason in words.
//
// Longer than 300 lines because it is one suite: its promises share the clients and the names that it opens.

import { setTimeout as delay } from 'node:timers/promises'
import { Producer } from '@platformatic/kafka'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { KafkaClientOptions, KafkaCompression } from '../../pipeline/log/kafka/client-options.ts'
import type { KafkaAdmin, KafkaClient, KafkaFetcher, KafkaProducer } from '../../pipeline/log/kafka/kafka-client.ts'
import { AppError } from '../../schemas/errors.ts'
import { aBatch, aMember, aName, aTopic, fetchAll, kafkaOptions, shared, type TestMember } from '../support/kafka-tools.ts'
import { bytes, eventually, gate, textOf } from '../support/log-tools.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

export type MakeClient = (options: KafkaClientOptions) => KafkaClient
export interface ContractOptions {
  /** The other library, by name: what one writes the other reads. */
  others: Readonly<Record<string, MakeClient>>
  skip?: readonly { test: string; why: string }[]
}

const WAIT = { waitMsMax: 200, bytesMax: 1 << 20 }
const LONG_WAIT_MS = 25_000 // Below the 30 s after which a client gives up a request.
const BUSY_SESSION_MS = 6_000 // Longer than a machine that is busy otherwise may hold up a heartbeat.
const CODECS: readonly KafkaCompression[] = ['none', 'gzip', 'zstd', 'lz4', 'snappy']

export function kafkaClientContract(name: string, make: MakeClient, options: ContractOptions): void {
  const promise = (title: string, run: () => Promise<void>): void => {
    const skipped = options.skip?.find(one => one.test === title)
    if (skipped !== undefined) test.skip(`${title} (${skipped.why})`, () => {})
    else test(title, run)
  }
  const world = aWorld(make)
  describe(`${name} keeps the promises of a Kafka client:`, () => {
    beforeAll(() => world.open())
    afterEach(() => world.close())
    writing(promise, world)
    reading(promise, world)
    codecs(promise, world, options.others)
    groups(promise, world)
    administering(promise, world)
  })
}

type Promised = (title: string, run: () => Promise<void>) => void
type World = ReturnType<typeof aWorld>

/** The broker, a client, and all that a test opens, closed after it. */
function aWorld(make: MakeClient) {
  let brokers: string[] = []
  let closers: (() => Promise<void>)[] = []
  const opened = <T extends { close(): Promise<void> }>(one: T): T => {
    closers.push(() => one.close())
    return one
  }
  const client = (more: Partial<KafkaClientOptions> = {}, by = make): KafkaClient => by(kafkaOptions(brokers, more))
  return {
    client,
    brokers: () => brokers,
    async open(): Promise<void> {
      brokers = (await sharedKafka()).brokers
    },
    async close(): Promise<void> {
      await Promise.all(closers.map(close => close()))
      closers = []
    },
    producer: async (by: KafkaClient = client()): Promise<KafkaProducer> => opened(await by.openProducer()),
    fetcher: async (by: KafkaClient = client()): Promise<KafkaFetcher> => opened(await by.openFetcher()),
    admin: async (): Promise<KafkaAdmin> => opened(await client().openAdmin()),
    async topic(partitions = 1, configs: Readonly<Record<string, string>> = {}): Promise<string> {
      const topic = aName('topic')
      const admin = await client().openAdmin()
      await admin.create([aTopic(topic, { partitions, configs })])
      await admin.close()
      return topic
    },
    async member(given: Parameters<typeof aMember>[1]): Promise<TestMember> {
      const member = await aMember(client(), given)
      closers.push(() => member.member.leave(true))
      return member
    }
  }
}

function writing(promise: Promised, world: World): void {
  promise('what is written comes back as it was, in order, at the offsets that were acknowledged', async () => {
    const topic = await world.topic()
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    const records = [
      { key: 'ä', value: bytes('eins'), headers: { h: 'ü', empty: '' } },
      { key: null, value: bytes('zwei'), headers: {} },
      { key: '', value: new Uint8Array(0), headers: {} },
      { key: 'gone', value: null, headers: {} }
    ]
    const before = Date.now()
    expect(await producer.send([{ topic, partition: 0, records }])).toEqual([0])
    expect(await producer.send([aBatch(topic, 0, ['more', 'and more'])])).toEqual([4])
    const { records: read, next } = await fetchAll(fetcher, topic)
    expect(next).toBe(6)
    expect(read.map(({ topic: of, partition, offset }) => [of, partition, offset])).toEqual([0, 1, 2, 3, 4, 5].map(offset => [topic, 0, offset]))
    expect(read.map(({ key, headers }) => [key, { ...headers }])).toEqual([
      ['ä', { h: 'ü', empty: '' }],
      [null, {}],
      ['', {}],
      ['gone', {}],
      ['k', {}],
      ['k', {}]
    ])
    expect(read.map(textOf)).toEqual(['eins', 'zwei', '', null, 'more', 'and more'])
    for (const { appendedAtMs } of read) expect(appendedAtMs).toBeGreaterThanOrEqual(before - 1_000)
    for (const { appendedAtMs } of read) expect(appendedAtMs).toBeLessThanOrEqual(Date.now() + 1_000)
  })

  promise('one send writes to partitions of several topics, each batch at its own offset', async () => {
    const [one, two] = [await world.topic(2), await world.topic()]
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    await producer.send([aBatch(one, 1, ['first'])])
    expect(await producer.send([aBatch(two, 0, ['a', 'b']), aBatch(one, 1, ['c']), aBatch(one, 0, ['d'])])).toEqual([0, 1, 0])
    expect((await fetchAll(fetcher, one, 1)).records.map(textOf)).toEqual(['first', 'c'])
    expect((await fetchAll(fetcher, two)).records.map(textOf)).toEqual(['a', 'b'])
  })

  promise('a record over the limit of its topic is refused for good, and nothing of its batch is written', async () => {
    const topic = await world.topic(1, { 'max.message.bytes': '100000' })
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    const large = { key: 'k', value: new Uint8Array(200_000), headers: {} }
    const refused = await producer.send([{ topic, partition: 0, records: [{ key: 'k', value: bytes('small'), headers: {} }, large] }]).catch(error => error)
    expect(refused).toBeInstanceOf(AppError)
    expect((refused as AppError).code).toBe('record_too_large')
    const another = await world.producer()
    expect(await another.send([aBatch(topic, 0, ['fits'])])).toEqual([0])
    expect((await fetchAll(fetcher, topic)).records.map(textOf)).toEqual(['fits'])
  })

  promise('64 MB go through in one record', async () => {
    const topic = await world.topic(1, { 'max.message.bytes': '70000000' })
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    const value = new Uint8Array(64 * 2 ** 20).fill(7)
    expect(await producer.send([{ topic, partition: 0, records: [{ key: null, value, headers: {} }] }])).toEqual([0])
    const { records } = await fetchAll(fetcher, topic)
    expect(Buffer.compare(records[0]!.value!, value)).toBe(0)
  })
}

function reading(promise: Promised, world: World): void {
  promise('reading starts in the middle of a batch, and waits at the end', async () => {
    const topic = await world.topic()
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    await producer.send([aBatch(topic, 0, ['a', 'b', 'c', 'd'])])
    expect((await fetchAll(fetcher, topic, 0, 2)).records.map(textOf)).toEqual(['c', 'd'])
    const [broker] = [...(await fetcher.leaders([{ topic, partition: 0 }])).keys()]
    const at = { topic, partition: 0, offset: 4, bytesMax: 1_000 }
    const startMs = performance.now()
    expect(await fetcher.fetch(broker!, [at], WAIT)).toEqual([{ topic, partition: 0, records: [], next: 4, end: 4 }])
    expect(performance.now() - startMs).toBeGreaterThan(WAIT.waitMsMax * 0.8)
    const waitingMs = performance.now()
    const waiting = fetcher.fetch(broker!, [at], { ...WAIT, waitMsMax: LONG_WAIT_MS })
    await producer.send([aBatch(topic, 0, ['e'])])
    expect((await waiting)[0]!.records.map(textOf)).toEqual(['e'])
    expect(performance.now() - waitingMs, 'what comes ends the wait').toBeLessThan(LONG_WAIT_MS)
  })

  promise('a position beyond the end, and a partition that is not there, are told apart; the others of the request are read', async () => {
    const topic = await world.topic(2)
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    await producer.send([aBatch(topic, 0, ['a']), aBatch(topic, 1, ['b'])])
    const [broker] = [...(await fetcher.leaders([{ topic, partition: 0 }])).keys()]
    const requests = [
      { topic, partition: 0, offset: 99, bytesMax: 1_000 },
      { topic, partition: 1, offset: 0, bytesMax: 1_000 },
      { topic: aName('nowhere'), partition: 0, offset: 0, bytesMax: 1_000 }
    ]
    const answers = await fetcher.fetch(broker!, requests, WAIT)
    const of = (wanted: string, partition: number) => answers.find(one => one.topic === wanted && one.partition === partition)
    expect(of(topic, 0)?.error).toBe('out_of_range')
    expect(of(requests[2]!.topic, 0)?.error).toBe('not_leader')
    // The broker may answer the failures at once and leave the rest to the next request.
    if (of(topic, 1)!.records.length === 0) expect((await fetchAll(fetcher, topic, 1)).records.map(textOf)).toEqual(['b'])
    else expect(of(topic, 1)!.records.map(textOf)).toEqual(['b'])
    expect([...(await fetcher.leaders([{ topic, partition: 7 }])).values()]).toEqual([])
  })

  promise('a batch larger than what was asked for comes whole', async () => {
    const topic = await world.topic()
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    await producer.send([aBatch(topic, 0, ['x'.repeat(300_000), 'y'])])
    const [broker] = [...(await fetcher.leaders([{ topic, partition: 0 }])).keys()]
    const [part] = await fetcher.fetch(broker!, [{ topic, partition: 0, offset: 0, bytesMax: 100 }], { waitMsMax: 200, bytesMax: 100 })
    expect(part!.records.map(record => record.value!.length)).toEqual([300_000, 1])
  })

  promise('reading moves over holes of compaction', async () => {
    const topic = await world.topic(1, { 'cleanup.policy': 'compact', 'segment.ms': '100', 'min.cleanable.dirty.ratio': '0.01', 'delete.retention.ms': '0' })
    const [producer, fetcher] = [await world.producer(), await world.fetcher()]
    for (let round = 0; round < 3; round++) {
      await producer.send([aBatch(topic, 0, [`a${round}`, `b${round}`])])
      await delay(150) // The next append rolls the segment; only closed ones are compacted.
    }
    await producer.send([aBatch(topic, 0, ['newest'])])
    let found = await fetchAll(fetcher, topic)
    await eventually('the older values of the key are gone', async () => {
      found = await fetchAll(fetcher, topic)
      return found.records.length === 2
    })
    expect(found.records.map(textOf)).toEqual(['b2', 'newest'])
    expect(found.records.map(({ offset }) => offset)).toEqual([5, 6])
    expect((await fetchAll(fetcher, topic, 0, 1)).records.map(({ offset }) => offset)).toEqual([5, 6])
    expect(found.next).toBe(7)
  })

  promise('what a transaction aborted is not read, and reading moves over it', async () => {
    const topic = await world.topic()
    const foreign = new Producer({ clientId: 'foreign', bootstrapBrokers: world.brokers(), idempotent: true, transactionalId: aName('tx'), retryDelay: 20 })
    const fetcher = await world.fetcher()
    for (const [fate, text] of [
      ['commit', 'kept'],
      ['abort', 'dropped'],
      ['commit', 'kept too']
    ] as const) {
      const transaction = await foreign.beginTransaction()
      await transaction.send({ messages: [{ topic, partition: 0, key: Buffer.from('k'), value: Buffer.from(text) }] })
      await transaction[fate]()
    }
    await foreign.close()
    await eventually('the last marker is written', async () => (await fetchAll(fetcher, topic)).next === 6)
    const { records, next } = await fetchAll(fetcher, topic)
    expect(records.map(textOf)).toEqual(['kept', 'kept too'])
    expect(next).toBe(6) // Three records, three markers.
  })
}

function codecs(promise: Promised, world: World, others: Readonly<Record<string, MakeClient>>): void {
  const texts = Array.from({ length: 200 }, (_, index) => `the same words again and again ${index}`)
  for (const compression of CODECS) {
    promise(`reads what it wrote with compression ${compression}`, () => crosses(compression, undefined, undefined))
    for (const [other, make] of Object.entries(others)) {
      promise(`writes with compression ${compression} what ${other} reads`, () => crosses(compression, undefined, make))
    }
  }
  async function crosses(compression: KafkaCompression, writer: MakeClient | undefined, reader: MakeClient | undefined): Promise<void> {
    const topic = await world.topic()
    const producer = await world.producer(world.client({ compression }, writer))
    const fetcher = await world.fetcher(world.client({}, reader))
    expect(await producer.send([aBatch(topic, 0, texts)])).toEqual([0])
    expect(await producer.send([aBatch(topic, 0, ['alone'])])).toEqual([200])
    expect((await fetchAll(fetcher, topic, 0, 3)).records.map(textOf)).toEqual([...texts.slice(3), 'alone'])
  }
}

function groups(promise: Promised, world: World): void {
  promise('a member gets all partitions, commits, and finds its commits again', async () => {
    const [topic, group] = [await world.topic(3), aName('group')]
    const one = await world.member({ group, topics: [topic] })
    await shared([one], 3)
    const all = [0, 1, 2].map(partition => ({ topic, partition }))
    expect(await one.member.committed(all)).toEqual([])
    expect(
      await one.member.commit(one.generation(), [
        { topic, partition: 0, offset: 5 },
        { topic, partition: 2, offset: 0 }
      ])
    ).toBe(true)
    const committed = [
      { topic, partition: 0, offset: 5 },
      { topic, partition: 2, offset: 0 }
    ]
    expect([...(await one.member.committed(all))].sort((a, b) => a.partition - b.partition)).toEqual(committed)
    expect([...(await (await world.admin()).committed(group, [topic]))].sort((a, b) => a.partition - b.partition)).toEqual(committed)
  })

  promise('a second member takes half after the first has finished, and gives it back when it leaves', async () => {
    const [topic, group] = [await world.topic(4), aName('group')]
    const finishing = gate()
    const one = await world.member({ group, topics: [topic], onRebalance: () => finishing.opened })
    await shared([one], 4)
    const first = one.generation()
    const two = await world.member({ group, topics: [topic] })
    await eventually('the first is told', () => one.rebalances() === 1)
    expect(await one.member.commit(first, [{ topic, partition: 0, offset: 7 }])).toBe(true) // What it has in hand still counts.
    expect(two.assigned).toEqual([])
    finishing.open()
    await shared([one, two], 4)
    expect([one.owns().length, two.owns().length]).toEqual([2, 2])
    expect(one.generation()).toBeGreaterThan(first)
    expect([one.losses(), two.losses()]).toEqual([0, 0])
    const kept = one.owns()
    await two.member.leave(true)
    await shared([one], 4)
    expect(one.owns()).toEqual(expect.arrayContaining(kept))
  })

  promise('commits of an older generation are refused', async () => {
    const [topic, group] = [await world.topic(2), aName('group')]
    const one = await world.member({ group, topics: [topic] })
    await shared([one], 2)
    const old = one.generation()
    const two = await world.member({ group, topics: [topic] })
    await shared([one, two], 2)
    expect(await one.member.commit(old, [{ topic, partition: 0, offset: 1 }])).toBe(false)
    expect(await two.member.commit(old, [{ topic, partition: 0, offset: 1 }])).toBe(false)
    expect(await (await world.admin()).committed(group, [topic])).toEqual([])
  })

  promise('in exclusive mode one has everything, and the next takes it over', async () => {
    const [topic, group] = [await world.topic(3), aName('group')]
    const one = await world.member({ group, topics: [topic], mode: 'exclusive' })
    await shared([one], 3)
    const two = await world.member({ group, topics: [topic], mode: 'exclusive' })
    await shared([one, two], 3)
    expect([one.owns().length, two.owns().length]).toEqual([3, 0])
    await one.member.leave(true)
    await shared([two], 3)
  })

  promise('heartbeats go on while the owner is busy for longer than a session', async () => {
    const [topic, group] = [await world.topic(2), aName('group')]
    const times = { sessionTimeoutMs: BUSY_SESSION_MS, heartbeatMs: 200 }
    const one = await world.member({ group, topics: [topic], ...times, onRebalance: () => delay(BUSY_SESSION_MS * 1.2) })
    await shared([one], 2)
    const two = await world.member({ group, topics: [topic], ...times })
    await shared([one, two], 2)
    expect(one.losses()).toBe(0)
    expect(one.owns().length).toBe(1)
  })

  promise('who is removed from the group hears of it, cannot commit, and comes back by itself', async () => {
    const [topic, group] = [await world.topic(2), aName('group')]
    const instance = aName('instance')
    const one = await world.member({ group, topics: [topic], instance })
    await shared([one], 2)
    const old = one.generation()
    await removeMembers(world.brokers(), group)
    await eventually('it is told', () => one.losses() === 1)
    await eventually('it is back', () => one.assigned.length === 2)
    await shared([one], 2)
    expect(await one.member.commit(old, [{ topic, partition: 0, offset: 1 }])).toBe(false)
    expect(await one.member.commit(one.generation(), [{ topic, partition: 0, offset: 1 }])).toBe(true)
  })

  promise('a static member that went without farewell finds its share as it was, and nobody else notices', async () => {
    const [topic, group, instance] = [await world.topic(4), aName('group'), aName('instance')]
    const stays = await world.member({ group, topics: [topic] })
    const goes = await world.member({ group, topics: [topic], instance })
    await shared([stays, goes], 4)
    const [had, told, generation] = [goes.owns(), stays.assigned.length, goes.generation()]
    await goes.member.leave(false)
    const back = await world.member({ group, topics: [topic], instance })
    await eventually('it is back', () => back.assigned.length === 1)
    expect([back.owns(), back.generation()]).toEqual([had, generation])
    expect(await back.member.commit(generation, [{ topic, partition: 0, offset: 3 }])).toBe(true)
    expect([stays.assigned.length, stays.losses()]).toEqual([told, 0])
  })

  promise('a process that takes another’s instance name throws it out, and both go on', async () => {
    const [topic, group, instance] = [await world.topic(2), aName('group'), aName('instance')]
    const first = await world.member({ group, topics: [topic], instance })
    await shared([first], 2)
    const second = await world.member({ group, topics: [topic], instance })
    await eventually('the first is told', () => first.losses() === 1)
    await shared([first, second], 2)
    expect([first.owns().length, second.owns().length]).toEqual([1, 1])
  })

  promise('partitions that a topic gets come to the group', async () => {
    const [topic, group] = [await world.topic(1), aName('group')]
    const one = await world.member({ group, topics: [topic] })
    await shared([one], 1)
    await (await world.admin()).grow(topic, 3)
    await shared([one], 3)
    expect(one.losses()).toBe(0)
  })
}

function administering(promise: Promised, world: World): void {
  const names = ['cleanup.policy', 'retention.ms']

  promise('topics are created, described, grown and changed', async () => {
    const [topic, admin] = [aName('topic'), await world.admin()]
    expect(await admin.describe([topic], names)).toEqual([])
    const wanted = aTopic(topic, { partitions: 2, configs: { 'cleanup.policy': 'compact', 'retention.ms': '1234567' } })
    await admin.create([wanted])
    await admin.create([wanted]) // Whoever comes second finds it done.
    expect(await admin.describe([topic, aName('nowhere')], names)).toEqual([wanted])
    await admin.grow(topic, 5)
    await admin.alterConfigs(topic, { 'retention.ms': '7654321' })
    expect(await admin.describe([topic], names)).toEqual([{ ...wanted, partitions: 5, configs: { 'cleanup.policy': 'compact', 'retention.ms': '7654321' } }])
  })

  promise('starts and ends are told by partition, and a topic that is not there is named', async () => {
    const [topic, admin, producer] = [await world.topic(2), await world.admin(), await world.producer()]
    await producer.send([aBatch(topic, 1, ['a', 'b'])])
    expect(await admin.offsets(topic)).toEqual([
      { partition: 0, start: 0, end: 0 },
      { partition: 1, start: 0, end: 2 }
    ])
    const missing = await admin.offsets(aName('nowhere')).catch(error => error)
    expect((missing as AppError).code).toBe('unknown_topic')
  })

  promise('groups are found by their prefix, and brokers with their addresses', async () => {
    const [topic, admin, prefix] = [await world.topic(), await world.admin(), aName('prefix')]
    for (const name of ['one', 'two']) await shared([await world.member({ group: `${prefix}.${name}`, topics: [topic] })], 1)
    expect([...(await admin.groups(`${prefix}.`))].sort()).toEqual([`${prefix}.one`, `${prefix}.two`])
    expect(await admin.groups(aName('nobody'))).toEqual([])
    expect((await admin.brokers()).map(({ address }) => address)).toEqual(world.brokers())
  })

  promise('a broker that is not there is log_unavailable', async () => {
    const admin = await world.client({ brokers: ['127.0.0.1:1'] }).openAdmin()
    const failed = await admin.brokers().catch(error => error)
    await admin.close()
    expect((failed as AppError).code).toBe('log_unavailable')
  })
}

/** As an operator does it: all members of the group are thrown out. */
async function removeMembers(brokers: string[], group: string): Promise<void> {
  const { Admin } = await import('@platformatic/kafka')
  const admin = new Admin({ clientId: 'operator', bootstrapBrokers: brokers })
  await admin.removeMembersFromConsumerGroup({ groupId: group })
  await admin.close()
}
