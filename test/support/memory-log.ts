// A Log in memory for tests: the port's promises without a disk, and faults at will.
//
// Appends are atomic and ordered, consumer groups share partitions and keep offsets, dead letters go to `<topic>.dlq`.
// Faults: `failAppends(error)` refuses, `holdAppends()` lets appends hang until the returned release is called.

import { AppError, assert } from '../../schemas/errors.ts'
import { keyPartition } from '../../schemas/partition.ts'
import type { AssignedPartition, Batch, Log, LogRecord, LogRecordInput, Position, SubscribeOptions, Subscription, TopicPartition } from '../../schemas/ports.ts'
import { deadLetterTopic, topicSpec } from '../../schemas/topics.ts'

const RECORDS_PER_BATCH = 500 // As the embedded log's default order of magnitude; tests that care pass their own.

export interface MemoryLogOptions {
  /** Time of the appends; default: a counter that grows by 1 ms each record, so that tests repeat. */
  nowMs?: () => number
  /** Waits out `retry` fates; default: the event loop's next turn, whatever the delay asked. */
  sleep?: (ms: number) => Promise<void>
  /** Values above are refused as record_too_large. */
  recordBytesMax?: number
}

export interface MemoryLog extends Log {
  /** Every record of a topic, by partition and offset. */
  records(topic: string): readonly LogRecord[]
  /** Appends throw `error` until called with undefined. */
  failAppends(error: AppError | undefined): void
  /** Appends wait (nothing is stored) until the returned function is called. */
  holdAppends(): () => void
  /**
   * The session of a group's member (in the order of joining) times out: the others take its partitions, and it is not told.
   * A batch that it holds, its timers and its appends go on. @returns its coming back: it is told, and joins again
   */
  expel(group: string, member: number): Promise<() => Promise<void>>
  /** Resolves when every subscription has seen all records and settled them. */
  drained(): Promise<void>
}

interface Group {
  generation: number
  members: Member[]
  committed: Map<string, number>
}
interface Member {
  options: SubscribeOptions
  /** Of its last assignment. While the group has another one it is given no batch: the rebalance is about to reach it. */
  generation: number
  owned: Map<string, Position>
  closed: boolean
  wake: () => void
  running: Promise<void>
  /** The batch in its hands. */
  handling: Promise<unknown>
}

/** Opens an empty log. */
export function memoryLog(options: MemoryLogOptions = {}): MemoryLog {
  const topics = new Map<string, LogRecord[][]>()
  const groups = new Map<string, Group>()
  let ticks = 0
  const nowMs = options.nowMs ?? (() => ++ticks)
  const sleep = options.sleep ?? (() => new Promise<void>(resolve => setImmediate(resolve)))
  let refusal: AppError | undefined
  let held: Promise<void> | undefined
  let closed = false

  const partitionsOf = (topic: string): LogRecord[][] => {
    let partitions = topics.get(topic)
    if (partitions === undefined) {
      const spec = topicSpec(topic)
      if (spec === undefined) throw new AppError('unknown_topic', `topic ${topic} is not in schemas/topics.ts`)
      partitions = Array.from({ length: spec.partitions }, () => [])
      topics.set(topic, partitions)
    }
    return partitions
  }
  const wakeReaders = (topic: string) => {
    for (const group of groups.values()) for (const member of group.members) if (member.options.topics.includes(topic)) member.wake()
  }

  function appendNow(topic: string, inputs: readonly LogRecordInput[]): Position[] {
    const partitions = partitionsOf(topic)
    for (const { key, value, partition } of inputs) {
      assert(key !== null || partition !== undefined, 'a record without a key needs a partition')
      if ((value?.length ?? 0) > (options.recordBytesMax ?? Number.POSITIVE_INFINITY)) {
        throw new AppError('record_too_large', `a record of ${value?.length} bytes on ${topic}`)
      }
    }
    const positions = inputs.map(input => {
      const partition = input.partition ?? keyPartition(input.key!, partitions.length)
      const records = partitions[partition]
      assert(records !== undefined, `partition ${partition} of ${topic} does not exist`)
      const offset = records.length
      // Copied: the caller may reuse its buffer once the append resolved.
      const value = input.value === null ? null : new Uint8Array(input.value)
      records.push({ topic, partition, offset, key: input.key, value, headers: { ...input.headers }, appendedAtMs: nowMs() })
      return { topic, partition, offset }
    })
    wakeReaders(topic)
    return positions
  }

  async function append(topic: string, inputs: readonly LogRecordInput[]): Promise<readonly Position[]> {
    while (held !== undefined) await held
    if (refusal !== undefined) throw refusal
    if (closed) throw new AppError('log_unavailable', 'the log is closed')
    return appendNow(topic, inputs)
  }

  async function revoke(member: Member): Promise<void> {
    const revoked = [...member.owned.values()].map(placeOf)
    member.owned.clear()
    await member.handling
    if (revoked.length > 0) await member.options.onRevoked?.(revoked)
  }

  async function rebalance(group: Group): Promise<void> {
    group.generation++
    for (const member of group.members) await revoke(member)
    for (const [index, member] of group.members.entries()) {
      const mine: AssignedPartition[] = []
      for (const topic of member.options.topics) {
        const count = partitionsOf(topic).length
        for (let partition = 0; partition < count; partition++)
          if ((member.options.exclusive ? 0 : partition % group.members.length) === index) mine.push({ topic, partition, generation: group.generation })
      }
      member.generation = group.generation
      const sought = mine.length > 0 ? ((await member.options.onAssigned?.(mine)) ?? []) : []
      for (const { topic, partition } of mine) {
        const name = `${topic}/${partition}`
        const start = member.options.from === 'earliest' ? 0 : partitionsOf(topic)[partition]!.length
        const position = sought.find(p => p.topic === topic && p.partition === partition)?.offset
        member.owned.set(name, { topic, partition, offset: position ?? group.committed.get(name) ?? start })
      }
      member.wake()
    }
  }

  async function pump(group: Group, member: Member): Promise<void> {
    while (!member.closed) {
      let worked = false
      for (const name of [...member.owned.keys()]) {
        if (!member.closed && member.owned.has(name)) worked = (await step(group, member, name)) || worked
      }
      if (worked || member.closed) continue
      await new Promise<void>(resolve => {
        member.wake = resolve
        if (member.closed || (hasWork(member) && member.generation === group.generation)) resolve()
      })
    }
  }
  const hasWork = (member: Member): boolean =>
    [...member.owned.values()].some(({ topic, partition, offset }) => offset < partitionsOf(topic)[partition]!.length)

  async function step(group: Group, member: Member, name: string): Promise<boolean> {
    const { topic, partition, offset: from } = member.owned.get(name)!
    const all = partitionsOf(topic)[partition]!
    if (from >= all.length || member.generation !== group.generation) return false
    const records = all.slice(from, from + (member.options.batchRecordsMax ?? RECORDS_PER_BATCH))
    const batch: Batch = { topic, partition, generation: member.generation, records, endOffset: all.length }
    const handled = member.options.onBatch(batch)
    member.handling = handled.catch(() => {})
    const fate = await handled
    if (fate.kind === 'retry') {
      await sleep(fate.afterMs)
      return true
    }
    for (const letter of fate.deadLetters ?? []) {
      const record = records.find(r => r.offset === letter.offset)
      assert(record !== undefined, `dead letter ${letter.offset} is not in the batch`)
      const headers = { ...record.headers, 'dlq.reason': letter.reason, 'dlq.message': letter.message }
      appendNow(deadLetterTopic(topic), [{ key: record.key, value: record.value, headers, partition: 0 }])
    }
    if (!member.owned.has(name) || batch.generation !== group.generation) return true
    member.owned.set(name, { topic, partition, offset: records.at(-1)!.offset + 1 })
    if (member.options.autoCommit !== false) group.committed.set(name, records.at(-1)!.offset + 1)
    return true
  }

  async function subscribe(subscribed: SubscribeOptions): Promise<Subscription> {
    const joined: Group = groups.get(subscribed.group) ?? { generation: 0, members: [], committed: new Map() }
    groups.set(subscribed.group, joined)
    const member: Member = {
      options: subscribed,
      generation: 0,
      owned: new Map(),
      closed: false,
      wake: () => {},
      running: Promise.resolve(),
      handling: Promise.resolve()
    }
    joined.members.push(member)
    await rebalance(joined)
    member.running = pump(joined, member)
    member.running.catch(() => {}) // The bug is reported through `finished`; here it must not be unhandled.
    return {
      finished: member.running,
      async commit(positions) {
        for (const { topic, partition, generation } of positions) {
          if (generation !== joined.generation || !member.owned.has(`${topic}/${partition}`)) return false
        }
        for (const { topic, partition, offset } of positions) joined.committed.set(`${topic}/${partition}`, offset)
        return true
      },
      async lag() {
        let lag = 0
        for (const topic of subscribed.topics) {
          for (const [partition, records] of partitionsOf(topic).entries()) lag += records.length - (joined.committed.get(`${topic}/${partition}`) ?? 0)
        }
        return lag
      },
      async close() {
        if (member.closed) return
        member.closed = true
        member.wake()
        const isStopped = await member.running.then(
          () => true,
          () => false
        )
        if (isStopped) await revoke(member)
        if (joined.members.includes(member)) joined.members.splice(joined.members.indexOf(member), 1)
        await rebalance(joined)
      }
    }
  }

  return {
    append,
    subscribe,
    async read(from, recordsMax) {
      return partitionsOf(from.topic)[from.partition]!.slice(from.offset, from.offset + recordsMax)
    },
    async offsets(topic) {
      return partitionsOf(topic).map((records, partition) => ({ partition, start: 0, end: records.length }))
    },
    partitions: topic => partitionsOf(topic).length,
    async groups() {
      return [...groups].flatMap(([group, { committed }]) =>
        [...committed].map(([name, offset]) => {
          const at = parsePartition(name)
          return { group, ...at, committed: offset, end: partitionsOf(at.topic)[at.partition]!.length }
        })
      )
    },
    async close() {
      closed = true
    },
    records: topic => partitionsOf(topic).flat(),
    async expel(groupName, index) {
      const group = groups.get(groupName)!
      const [member] = group.members.splice(index, 1)
      const lost = [...member!.owned.values()].map(placeOf)
      member!.owned.clear()
      await rebalance(group)
      return async () => {
        if (member!.closed) return
        if (lost.length > 0) await member!.options.onRevoked?.(lost)
        group.members.push(member!)
        await rebalance(group)
      }
    },
    failAppends(error) {
      refusal = error
    },
    holdAppends() {
      let release: () => void = () => {}
      held = new Promise<void>(resolve => {
        release = () => {
          held = undefined
          resolve()
        }
      })
      return release
    },
    async drained() {
      const members = () => [...groups.values()].flatMap(group => group.members)
      while (members().some(member => !member.closed && hasWork(member))) await new Promise<void>(resolve => setImmediate(resolve))
    }
  }
}

const placeOf = ({ topic, partition }: Position): TopicPartition => ({ topic, partition })

function parsePartition(name: string): TopicPartition {
  const slash = name.lastIndexOf('/')
  return { topic: name.slice(0, slash), partition: Number(name.slice(slash + 1)) }
}
