// The assignor's promises as properties over random groups and histories.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AssignMode, assignPartitions, type GroupMember } from '../../../../pipeline/log/kafka/assignor.ts'
import { decodeClaims, encodeClaims } from '../../../../pipeline/log/kafka/group-protocol.ts'
import type { TopicPartition } from '../../../../schemas/ports.ts'

const TOPICS = ['metrics', 'spans', 'logs']
const counts = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }).map(list => new Map(list.map((count, i) => [TOPICS[i]!, count])))
const names = fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 7 }).map(list => list.map(n => `member-${n}`))

const aMember = (instance: string, topics: Iterable<string>, more: Partial<GroupMember> = {}): GroupMember => ({
  id: `id-${instance}`,
  instance,
  topics: [...topics],
  owned: [],
  generation: 0,
  ...more
})
const key = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`

/** The group as it is after a rebalance: each member says what it got. */
function settled(members: readonly GroupMember[], result: ReadonlyMap<string, readonly TopicPartition[]>, generation: number): GroupMember[] {
  return members.map(member => ({ ...member, owned: result.get(member.id)!, generation }))
}
function ownersOf(members: readonly GroupMember[]): Map<string, string> {
  return new Map(members.flatMap(member => member.owned.map(at => [key(at), member.instance])))
}
function group(instances: readonly string[], partitions: ReadonlyMap<string, number>, mode: AssignMode = 'shared'): GroupMember[] {
  const members = instances.map(instance => aMember(instance, partitions.keys()))
  return settled(members, assignPartitions(members, partitions, mode), 1)
}
const spread = (values: readonly number[]): number => Math.max(...values) - Math.min(...values)

describe('the assignor', () => {
  test('gives every partition to exactly one member that reads its topic, balanced within one per topic', () => {
    const claimed = fc.array(fc.record({ topic: fc.constantFrom(...TOPICS, 'gone'), partition: fc.nat(15) }), { maxLength: 20 })
    const member = fc.record({ topics: fc.subarray(TOPICS), owned: claimed, generation: fc.nat(3) })
    fc.assert(
      fc.property(counts, fc.array(member, { minLength: 1, maxLength: 6 }), (partitions, list) => {
        const members = list.map((one, i) => aMember(`m${i}`, one.topics, one))
        const result = assignPartitions(members, partitions, 'shared')
        expect([...result.keys()].sort()).toEqual(members.map(one => one.id).sort())
        const given = [...result.values()].flat().map(key)
        expect(new Set(given).size).toBe(given.length)
        for (const [topic, count] of partitions) {
          const readers = members.filter(one => one.topics.includes(topic))
          const shares = readers.map(one => result.get(one.id)!.filter(at => at.topic === topic).length)
          expect(shares.reduce((sum, n) => sum + n, 0)).toBe(readers.length === 0 ? 0 : count)
          if (readers.length > 0) expect(spread(shares)).toBeLessThanOrEqual(1)
        }
      })
    )
  })

  test('balances the total of members with the same topics within one', () => {
    fc.assert(
      fc.property(counts, names, (partitions, instances) => {
        expect(spread(group(instances, partitions).map(member => member.owned.length))).toBeLessThanOrEqual(1)
      })
    )
  })

  test('changes nothing when nobody came or went, in whatever order the members are named', () => {
    fc.assert(
      fc.property(counts, names, (partitions, instances) => {
        const members = group(instances, partitions)
        const again = settled(members, assignPartitions(members.toReversed(), partitions, 'shared'), 2)
        expect(ownersOf(again)).toEqual(ownersOf(members))
      })
    )
  })

  test('takes from the others only what the newcomer needs: between those who stay at most one partition a topic moves for the total', () => {
    fc.assert(
      fc.property(counts, names, (partitions, instances) => {
        const before = group(instances, partitions)
        const members = [...before, aMember('newcomer', partitions.keys())]
        const owners = ownersOf(settled(members, assignPartitions(members, partitions, 'shared'), 2))
        const moved = [...ownersOf(before)].filter(([name, instance]) => owners.get(name) !== instance)
        const between = moved.filter(([name]) => owners.get(name) !== 'newcomer')
        expect(between.length).toBeLessThanOrEqual(partitions.size === 1 ? 0 : partitions.size)
      })
    )
  })

  test('one topic: who stays keeps everything when another leaves', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), names, (count, instances) => {
        fc.pre(instances.length > 1)
        const [gone, ...rest] = group(instances, new Map([['metrics', count]]))
        const owners = ownersOf(settled(rest, assignPartitions(rest, new Map([['metrics', count]]), 'shared'), 2))
        for (const member of rest) for (const at of member.owned) expect(owners.get(key(at))).toBe(member.instance)
        expect([...owners.values()]).not.toContain(gone!.instance)
      })
    )
  })

  test('a member that comes back under its name has again most of what it had', () => {
    const partitions = new Map([['metrics', 60]])
    const before = group(['a', 'b', 'c'], partitions)
    const rest = before.filter(member => member.instance !== 'b')
    const without = settled(rest, assignPartitions(rest, partitions, 'shared'), 2)
    const members = [...without, aMember('b', partitions.keys(), { id: 'another id' })]
    const back = assignPartitions(members, partitions, 'shared').get('another id')!.map(key)
    const had = new Set(before.find(member => member.instance === 'b')!.owned.map(key))
    expect(back).toHaveLength(20)
    expect(back.filter(name => had.has(name)).length).toBeGreaterThanOrEqual(12) // By chance it would be 7.
  })

  test('of two claims to a partition the younger one holds', () => {
    const owned = [{ topic: 'metrics', partition: 0 }]
    const members = [aMember('stale', ['metrics'], { owned, generation: 3 }), aMember('owner', ['metrics'], { owned, generation: 4 })]
    expect(assignPartitions(members, new Map([['metrics', 2]]), 'shared').get('id-owner')).toEqual(owned)
  })

  test('exclusive: one member has everything, keeps it when others come, and another takes over when it goes', () => {
    fc.assert(
      fc.property(counts, names, (partitions, instances) => {
        const total = [...partitions.values()].reduce((sum, n) => sum + n, 0)
        const members = group(instances, partitions, 'exclusive')
        const [holder] = members.filter(member => member.owned.length > 0)
        expect(holder!.owned).toHaveLength(total)
        const more = [aMember('a first one', partitions.keys()), ...members]
        expect(assignPartitions(more, partitions, 'exclusive').get(holder!.id)).toHaveLength(total)
        const rest = more.filter(member => member !== holder)
        expect([...assignPartitions(rest, partitions, 'exclusive').values()].map(list => list.length).sort((a, b) => b - a)[0]).toBe(total)
      })
    )
  })

  test('200 partitions of 50 members are assigned in milliseconds', () => {
    const partitions = new Map(TOPICS.map(topic => [topic, 200]))
    const before = process.cpuUsage()
    const members = group(
      Array.from({ length: 50 }, (_, i) => `m${i}`),
      partitions
    )
    const { user } = process.cpuUsage(before) // Whatever else the machine does.
    expect(user / 1_000).toBeLessThan(2_000)
    expect(new Set(members.map(member => member.owned.length))).toEqual(new Set([12]))
  })

  test('claims survive their encoding, and what is not ours claims nothing', () => {
    const claims = { instance: 'host-1', generation: 7, owned: [{ topic: 'metrics', partition: 3 }] }
    expect(decodeClaims(encodeClaims(claims), 'id')).toEqual(claims)
    for (const data of [null, undefined, Buffer.from('{'), Buffer.from('null'), Buffer.from('{"instance":1}'), Buffer.alloc(0)]) {
      expect(decodeClaims(data, 'id')).toEqual({ instance: 'id', generation: -1, owned: [] })
    }
  })
})
