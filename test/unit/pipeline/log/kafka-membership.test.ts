// A member's ownership on Kafka, over a client that the test plays: what stays, what goes, who is told, what may be committed.

import { describe, expect, test } from 'vitest'
import type { Owned } from '../../../../pipeline/log/consumer.ts'
import type { GroupOptions, KafkaClient, KafkaMember } from '../../../../pipeline/log/kafka/kafka-client.ts'
import { joinKafkaGroup } from '../../../../pipeline/log/kafka/kafka-membership.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { Position, SubscribeOptions } from '../../../../schemas/ports.ts'
import { quietLogger } from '../../../support/log-tools.ts'

const T = 't'
const places = (...partitions: number[]) => partitions.map(partition => ({ topic: T, partition }))

async function aWorld(more: Partial<SubscribeOptions> = {}) {
  let group: GroupOptions | undefined
  const events: string[] = []
  const commits: { generation: number; positions: readonly Position[] }[] = []
  const committed: Position[] = []
  let refusesUntil = -1
  const member: KafkaMember = {
    async commit(generation, positions) {
      commits.push({ generation, positions })
      return generation > refusesUntil
    },
    committed: async () => committed,
    async leave(forGood) {
      events.push(`left ${forGood ? 'for good' : 'for a while'}`)
    }
  }
  const client = {
    async join(options: GroupOptions) {
      group = options
      return member
    }
  } as KafkaClient
  const reading = new Map<string, Owned>()
  const fetcher = {
    start: (one: Owned) => void reading.set(one.name, one),
    stop: (one: Owned) => void reading.delete(one.name),
    notify() {}
  }
  const list = (partitions: readonly { partition: number }[]) => partitions.map(at => at.partition).join(' ')
  const membership = await joinKafkaGroup({
    client,
    subscribe: {
      group: 'g',
      topics: [T],
      from: 'earliest',
      onBatch: async () => ({ kind: 'done' }),
      async onAssigned(partitions) {
        events.push(`assigned ${list(partitions)} @${partitions[0]!.generation}`)
        return []
      },
      async onRevoked(partitions) {
        events.push(`revoked ${list(partitions)}`)
      },
      ...more
    },
    fetcher: fetcher as never,
    offsets: async () => [0, 1, 2, 3].map(partition => ({ partition, start: 100 + partition, end: 200 + partition })),
    leavesForGood: () => false,
    instance: 'i',
    sessionTimeoutMs: 1,
    rebalanceTimeoutMs: 1,
    heartbeatMs: 1,
    logger: quietLogger
  })
  return {
    membership,
    events,
    commits,
    committed,
    reading,
    share: (generation: number, ...partitions: number[]) => group!.onAssigned({ generation, partitions: places(...partitions) }),
    lose: () => group!.onLost(),
    rebalance: () => group!.onRebalance(),
    balance: (onLeft = (_name: string) => {}) => membership.balance(onLeft),
    owned: () => membership.owned().map(one => `${one.partition}@${one.generation}`),
    commit: (partition: number, generation: number, offset = 150) => membership.commit([{ topic: T, partition, generation, offset }]),
    refuseUntil(generation: number) {
      refusesUntil = generation
    }
  }
}

describe('membership of a Kafka group', () => {
  test('starts where the group is, else at the start of the topic, and commits that', async () => {
    const world = await aWorld()
    world.committed.push({ topic: T, partition: 1, offset: 177 })
    world.share(5, 0, 1)
    await world.balance()
    await world.membership.started
    expect(world.membership.owned().map(one => [one.partition, one.position])).toEqual([
      [0, 100],
      [1, 177]
    ])
    expect(world.commits).toEqual([{ generation: 5, positions: [{ topic: T, partition: 0, offset: 100 }] }])
    expect([...world.reading.keys()]).toEqual(['t/0', 't/1'])
  })

  test('from latest starts at the end, and an assignment may seek', async () => {
    const world = await aWorld({ from: 'latest', onAssigned: async () => [{ topic: T, partition: 2, offset: 7 }] })
    world.share(1, 2, 3)
    await world.balance()
    expect(world.membership.owned().map(one => one.position)).toEqual([7, 203])
    expect(world.commits[0]!.positions.map(one => one.offset)).toEqual([202, 203])
  })

  test('a partition that stays over a rebalance keeps its generation and its state; its commits go under the group’s', async () => {
    const world = await aWorld()
    world.share(5, 0, 1)
    await world.balance()
    const [kept] = world.membership.owned()
    world.share(6, 0, 2)
    expect(world.membership.owns(kept!)).toBe(true)
    await world.balance()
    expect(world.owned()).toEqual(['0@5', '2@6'])
    expect(world.events).toEqual(['assigned 0 1 @5', 'revoked 1', 'assigned 2 @6'])
    world.commits.length = 0
    expect(await world.commit(0, 5)).toBe(true)
    expect(world.commits.map(one => one.generation)).toEqual([6])
    expect([await world.commit(0, 6), await world.commit(1, 5), await world.commit(2, 5)]).toEqual([false, false, false])
  })

  test('commits of what has gone are refused from the first moment, before its owner is told', async () => {
    const world = await aWorld()
    world.share(5, 0, 1)
    await world.balance()
    world.commits.length = 0
    world.share(6, 0)
    expect(await world.commit(1, 5)).toBe(false)
    expect(world.commits).toEqual([])
    expect(world.owned()).toEqual(['0@5'])
  })

  for (const [why, generation] of [
    ['who may have missed a generation', 7],
    ['whose group was forgotten and began anew', 1]
  ] as const) {
    test(`${why} gives everything up and takes it anew`, async () => {
      const world = await aWorld()
      world.share(5, 0, 1)
      await world.balance()
      const left: string[] = []
      world.share(generation, 0, 1)
      await world.balance(name => left.push(name))
      expect(left).toEqual(['t/0', 't/1'])
      expect(world.events).toEqual(['assigned 0 1 @5', 'revoked 0 1', `assigned 0 1 @${generation}`])
      expect(await world.commit(0, 5)).toBe(false)
    })
  }

  test('who is thrown out owns nothing at once, and is told between batches', async () => {
    const world = await aWorld()
    world.share(5, 0)
    await world.balance()
    const [one] = world.membership.owned()
    world.lose()
    expect([world.membership.owns(one!), await world.commit(0, 5), world.events.length]).toEqual([false, false, 1])
    await world.balance()
    expect(world.events).toEqual(['assigned 0 @5', 'revoked 0'])
    world.share(6, 0)
    await world.balance()
    expect(world.owned()).toEqual(['0@6'])
  })

  test('a rebalance waits for the running batch; then nothing is delivered and commits wait until the new share', async () => {
    const world = await aWorld()
    world.share(5, 0, 1)
    await world.balance()
    let hasFinished = false
    const finishing = world.rebalance().then(() => {
      hasFinished = true
    })
    expect([world.owned().length, hasFinished]).toEqual([2, false])
    expect(await world.commit(0, 5)).toBe(true) // The running batch still counts.
    await world.balance()
    await finishing
    expect(world.owned()).toEqual([])
    const [kept, gone] = [world.commit(0, 5), world.commit(1, 5)]
    world.share(6, 0)
    expect([await kept, await gone]).toEqual([true, false])
    await world.balance()
    expect(world.owned()).toEqual(['0@5'])
  })

  test('a rebalance that went on without the owner does not stop it afterwards', async () => {
    const world = await aWorld()
    world.share(5, 0)
    await world.balance()
    const finishing = world.rebalance()
    world.share(6, 0)
    await finishing
    await world.balance()
    expect(world.owned()).toEqual(['0@5'])
  })

  test('a commit that met a rebalance is made again under the new generation', async () => {
    const world = await aWorld()
    world.share(5, 0)
    await world.balance()
    world.refuseUntil(5)
    const committing = world.commit(0, 5)
    world.share(6, 0)
    expect(await committing).toBe(true)
    world.refuseUntil(6)
    expect(await world.commit(0, 5)).toBe(false)
  })

  test('an assignment that meets passing trouble is made again, the owner sees it as one', async () => {
    let tries = 0
    const world = await aWorld({
      async onAssigned() {
        if (++tries === 1) throw new AppError('log_unavailable', 'checkpoints cannot be read')
        return []
      }
    })
    world.share(5, 0)
    await expect(world.balance()).rejects.toMatchObject({ code: 'log_unavailable' })
    expect([world.owned(), world.reading.size]).toEqual([[], 0])
    await world.balance()
    expect([world.owned(), world.reading.size, tries]).toEqual([['0@5'], 1, 2])
  })

  test('what goes while it is being assigned is revoked and never read', async () => {
    const world = await aWorld()
    const slow = Promise.withResolvers<void>()
    const other = await aWorld({
      async onAssigned() {
        await slow.promise
        return []
      }
    })
    other.share(5, 0, 1)
    const balancing = other.balance()
    await new Promise(resolve => setImmediate(resolve))
    other.share(6, 1)
    slow.resolve()
    await balancing
    expect([[...other.reading.keys()], other.owned()]).toEqual([['t/1'], ['1@5']])
    await other.balance()
    expect(other.events).toEqual(['revoked 0'])
    expect(world.events).toEqual([])
  })

  test('leaving tells the owner while its commits still count, and gives up for good only after a bug', async () => {
    const verdicts: boolean[] = []
    let commit = (): Promise<boolean> => Promise.resolve(false)
    const world = await aWorld({
      async onRevoked() {
        verdicts.push(await commit())
      }
    })
    commit = () => world.commit(0, 5)
    world.share(5, 0)
    await world.balance()
    await world.membership.leave('gracefully')
    await world.membership.leave('at once')
    expect([verdicts, world.events, world.owned()]).toEqual([[true], ['assigned 0 @5', 'left for a while'], []])
    const failed = await aWorld()
    failed.share(5, 0)
    await failed.balance()
    await failed.membership.leave('at once')
    expect(failed.events).toEqual(['assigned 0 @5', 'left for good'])
  })
})
