// The fetch loops of a group's member over a broker that the test plays: room, leaders, positions, and what comes too late.

import { afterEach, describe, expect, test } from 'vitest'
import type { Owned } from '../../../../pipeline/log/consumer.ts'
import { type GroupFetcher, groupFetcher } from '../../../../pipeline/log/kafka/group-fetcher.ts'
import type { Fetched, FetchRequest } from '../../../../pipeline/log/kafka/kafka-client.ts'
import { systemClock } from '../../../../pipeline/system.ts'
import { AppError } from '../../../../schemas/errors.ts'
import type { LogRecord } from '../../../../schemas/ports.ts'
import { bytes, countingMeter, eventually, quietLogger, textOf } from '../../../support/log-tools.ts'

const LIMITS = { recordsMax: 100, bytesMax: 2 ** 23 }
const owned = (partition: number, position = 0): Owned => ({ topic: 't', partition, name: `t/${partition}`, generation: 1, position })
const aRecord = (partition: number, offset: number, value: Uint8Array): LogRecord => ({
  topic: 't',
  partition,
  offset,
  key: 'k',
  value,
  headers: {},
  appendedAtMs: 0
})

let open: GroupFetcher | undefined
afterEach(() => open?.close())

/** Partitions with their records; `answer` may replace what a fetch gives. */
function aWorld(answer?: (broker: number, request: FetchRequest) => Partial<Fetched> | undefined) {
  const stored = new Map<number, Uint8Array[]>()
  const starts = new Map<number, number>()
  const leaders = new Map<number, number>()
  const fetches: { broker: number; requests: readonly FetchRequest[] }[] = []
  const meter = countingMeter()
  let trouble: AppError | undefined
  const read = (broker: number, request: FetchRequest): Fetched => {
    const { topic, partition, offset, bytesMax } = request
    const instead = answer?.(broker, request)
    if (instead !== undefined) return { topic, partition, records: [], next: offset, end: 0, ...instead }
    const all = stored.get(partition) ?? []
    const end = (starts.get(partition) ?? 0) + all.length
    const records: LogRecord[] = []
    for (let at = offset, size = 0; at < end && (records.length === 0 || size < bytesMax); at++) {
      records.push(aRecord(partition, at, all[at - (starts.get(partition) ?? 0)]!))
      size += records.at(-1)!.value!.length
    }
    return { topic, partition, records, next: offset + records.length, end }
  }
  open = groupFetcher({
    group: 'g',
    from: 'earliest',
    fetcher: {
      async leaders(partitions) {
        return Map.groupBy(partitions, at => leaders.get(at.partition) ?? 1)
      },
      async fetch(broker, requests, { waitMsMax }) {
        fetches.push({ broker, requests })
        if (trouble !== undefined) throw trouble
        const answers = requests.map(request => read(broker, request))
        if (answers.every(one => one.records.length === 0 && one.error === undefined)) await systemClock.sleep(Math.min(waitMsMax, 5))
        return answers
      },
      async close() {}
    },
    offsets: async () =>
      [0, 1].map(partition => ({ partition, start: starts.get(partition) ?? 0, end: (starts.get(partition) ?? 0) + (stored.get(partition) ?? []).length })),
    lag: async () => new Map(),
    clock: systemClock,
    logger: quietLogger,
    meter
  })
  return {
    source: open,
    stored,
    starts,
    leaders,
    fetches,
    meter,
    fail(error: AppError | undefined) {
      trouble = error
    }
  }
}

async function takeAll(source: GroupFetcher, one: Owned, count: number): Promise<(string | null)[]> {
  const texts: (string | null)[] = []
  await eventually(`${count} records of ${one.name}`, () => {
    const found = source.next(one, LIMITS)
    if (found !== undefined) texts.push(...found.records.map(textOf))
    return texts.length >= count
  })
  return texts
}

describe('the fetch loops of a group’s member', () => {
  test('bring records in order with the end of the log, and what is appended later', async () => {
    const { source, stored } = aWorld()
    stored.set(0, ['a', 'b', 'c'].map(bytes))
    const one = owned(0, 1)
    source.start(one)
    const found: unknown[] = []
    await eventually('the first batch', () => {
      const batch = source.next(one, { recordsMax: 1, bytesMax: 100 })
      if (batch !== undefined) found.push(batch.records.map(textOf), batch.endOffset)
      return batch !== undefined
    })
    expect(found).toEqual([['b'], 3])
    expect(await takeAll(source, one, 1)).toEqual(['c'])
    stored.get(0)!.push(bytes('d'))
    expect(await takeAll(source, one, 1)).toEqual(['d'])
  })

  test('a partition whose buffer is full is not asked for, the others are, and it is again when there is room', async () => {
    const { source, stored, fetches } = aWorld()
    const large = new Uint8Array(2 ** 20)
    stored.set(
      0,
      Array.from({ length: 20 }, () => large)
    )
    const [slow, other] = [owned(0), owned(1)]
    source.start(slow)
    source.start(other)
    const asksFor = (partition: number, { requests }: (typeof fetches)[number]) => requests.some(one => one.partition === partition)
    await eventually('the buffer is full', () => fetches.length > 3 && !asksFor(0, fetches.at(-1)!))
    const before = fetches.length
    stored.set(1, [bytes('quick')])
    expect(await takeAll(source, other, 1)).toEqual(['quick'])
    await eventually('more fetches', () => fetches.length > before + 5)
    expect(fetches.slice(before).some(fetch => asksFor(0, fetch))).toBe(false)
    let taken = 0
    await eventually('all of it', () => {
      taken += source.next(slow, LIMITS)?.records.length ?? 0
      return taken === 20
    })
  })

  test('a leader that moved is asked for, and reading goes on there', async () => {
    const { source, stored, leaders, fetches } = aWorld((broker, { partition }) => (leaders.get(partition) === broker ? undefined : { error: 'not_leader' }))
    stored.set(0, ['a', 'b'].map(bytes))
    leaders.set(0, 1)
    const one = owned(0)
    source.start(one)
    expect(await takeAll(source, one, 2)).toEqual(['a', 'b'])
    leaders.set(0, 2)
    stored.get(0)!.push(bytes('c'))
    expect(await takeAll(source, one, 1)).toEqual(['c'])
    expect(fetches.at(-1)!.broker).toBe(2)
  })

  test('a broker that does not answer is asked again, without end, and counted', async () => {
    const { source, stored, fail, meter } = aWorld()
    stored.set(0, ['a'].map(bytes))
    fail(new AppError('log_unavailable', 'away'))
    const one = owned(0)
    source.start(one)
    await eventually('it has failed twice', () => (meter.counts.get('homeostat.log.fetch_troubles') ?? 0) >= 2)
    fail(undefined)
    expect(await takeAll(source, one, 1)).toEqual(['a'])
  })

  test('a position that retention removed moves to what is left, and the loss is counted; one behind the end starts over', async () => {
    const { source, stored, starts, meter } = aWorld((_broker, { offset, partition }) => {
      const start = starts.get(partition) ?? 0
      return offset < start || offset > start + stored.get(partition)!.length ? { error: 'out_of_range' } : undefined
    })
    stored.set(0, ['x', 'y', 'c', 'd'].map(bytes).slice(2))
    starts.set(0, 2)
    stored.set(1, ['n'].map(bytes))
    const [behind, beyond] = [owned(0, 0), owned(1, 50)]
    source.start(behind)
    source.start(beyond)
    expect(await takeAll(source, behind, 2)).toEqual(['c', 'd'])
    expect(await takeAll(source, beyond, 1)).toEqual(['n'])
    expect(meter.counts.get('homeostat.log.removed_unread_records')).toBe(2)
  })

  test('what arrives for a partition that went, or came back since, is not delivered', async () => {
    const { source, stored } = aWorld()
    stored.set(0, ['a', 'b'].map(bytes))
    const first = owned(0)
    source.start(first)
    await eventually('something is there', () => source.next(first, { recordsMax: 1, bytesMax: 1 }) !== undefined)
    source.stop(first)
    expect(source.next(first, LIMITS)).toBeUndefined()
    const again = owned(0, 1)
    source.start(again)
    expect(await takeAll(source, again, 1)).toEqual(['b'])
    expect(source.next(first, LIMITS)).toBeUndefined()
  })

  test('the delivery loop is woken by records and by news of the group', async () => {
    const { source, stored } = aWorld()
    const forever = new AbortController().signal
    source.start(owned(0))
    for (const wake of [() => source.notify(), () => stored.set(0, [bytes('a')])]) {
      const waiting = source.wait(source.version(), 10_000, forever)
      wake()
      await waiting
    }
    await source.wait(source.version(), 1, forever)
  })
})
