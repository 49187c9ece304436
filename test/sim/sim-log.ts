// The log of a world: the contract-tested log in memory (test/support/memory-log.ts), seen by each process through faults.
//
// Not the EmbeddedLog: it answers from a thread of its own, whose timing no seed can repeat (test:crash has the real one).
// Appends are refused, or taken and not answered; answers take long; batches come again or after those of other partitions.
// A member that is dead or stopped loses its partitions when its session ends, and is not told before it comes back.

import { AppError } from '../../schemas/errors.ts'
import type { AssignedPartition, Batch, BatchFate, Log, LogRecordInput, Position, SubscribeOptions, Subscription } from '../../schemas/ports.ts'
import { type MemoryLog, memoryLog } from '../support/memory-log.ts'
import { Crash, type SimProcess } from './process.ts'
import type { Stream } from './streams.ts'
import type { Timeline } from './timeline.ts'

const AGAIN_MS = 200

export interface LogFaults {
  /** Probability that an append fails; half of those were taken all the same. */
  append: number
  redeliver: number
  reorder: number
  delay: number
  disturb: Stream
}

export interface Observer {
  /** A record is durable. */
  onAppend(topic: string, record: LogRecordInput, position: Position, by: string): void
  /** A batch is settled: its offsets count as done. */
  onSettled(group: string, batch: Batch, fate: BatchFate, by: SimProcess): void
}

interface Member {
  process: SimProcess
  /** Resolves when the log has given up on it. */
  lost: PromiseWithResolvers<void>
  isOut: boolean
  isClosed: boolean
  /** The handler that runs; the next one waits for it, also when it belongs to a session that is over. */
  tail: Promise<unknown>
  comeBack: (() => Promise<void>) | undefined
}

export class SimLog {
  readonly memory: MemoryLog
  readonly #timeline: Timeline
  readonly #observer: Observer
  readonly #members = new Map<string, Member[]>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(timeline: Timeline, observer: Observer) {
    this.#timeline = timeline
    this.#observer = observer
    this.memory = memoryLog({ nowMs: () => timeline.nowMs, sleep: ms => timeline.wait(ms) })
  }

  /** Appends for somebody outside of all processes. */
  async append(topic: string, records: readonly LogRecordInput[], by: string): Promise<readonly Position[]> {
    const positions = await this.memory.append(topic, records)
    for (const [index, record] of records.entries()) this.#observer.onAppend(topic, record, positions[index]!, by)
    return positions
  }

  /** The log as this process has it. */
  of(process: SimProcess, faults: LogFaults): Log {
    const { memory } = this
    const answer = async <T>(what: string, work: () => Promise<T>): Promise<T> =>
      process.call(what, async () => {
        await this.#delay(faults)
        if (faults.disturb.chance(faults.append / 4)) throw new AppError('log_unavailable', 'the log gives no answer')
        return work()
      })
    return {
      ...memory,
      append: (topic, records) =>
        process.call(`append ${topic}`, async () => {
          await this.#delay(faults)
          const fails = faults.disturb.chance(faults.append)
          if (fails && faults.disturb.chance(0.5)) throw new AppError('log_unavailable', 'the log refuses')
          const positions = await this.append(topic, records, process.name)
          if (fails) throw new AppError('log_unavailable', 'the log took it and its answer is lost')
          return positions
        }),
      read: (from, recordsMax) => answer(`read ${from.topic}`, () => memory.read(from, recordsMax)),
      offsets: topic => answer('offsets', () => memory.offsets(topic)),
      groups: () => answer('groups', () => memory.groups()),
      subscribe: options => process.call('subscribe', () => this.#subscribe(process, faults, options))
    }
  }

  /** The sessions of a process end: others have its partitions. */
  expel(process: SimProcess): void {
    for (const [group, members] of this.#members) {
      for (const member of members) {
        if (member.process !== process || member.isOut) continue
        member.isOut = true
        member.lost.resolve()
        void this.#inTurn(async () => {
          const index = members.indexOf(member)
          if (index === -1 || member.isClosed) return
          members.splice(index, 1)
          const comeBack = await this.memory.expel(group, index)
          member.comeBack = async () => {
            members.push(member)
            await comeBack()
          }
        })
      }
    }
  }

  /** A process whose sessions ended goes on: it is told, and joins again. */
  rejoin(process: SimProcess): void {
    for (const member of this.#outcasts.get(process) ?? []) {
      void this.#inTurn(async () => {
        if (!process.isAlive || member.isClosed || !member.isOut || member.comeBack === undefined) return
        member.isOut = false
        member.lost = Promise.withResolvers()
        await member.comeBack()
      })
    }
  }

  /** Members of each process, for its coming back. */
  readonly #outcasts = new Map<SimProcess, Member[]>()

  /** What an answer waits for; most are not delayed. */
  #delay({ delay, disturb }: LogFaults): Promise<void> | undefined {
    if (!disturb.chance(delay)) return undefined
    return this.#timeline.wait(disturb.chance(0.1) ? disturb.between(500, 8_000) : disturb.between(1, 300))
  }

  async #subscribe(process: SimProcess, faults: LogFaults, options: SubscribeOptions): Promise<Subscription> {
    const member: Member = { process, lost: Promise.withResolvers(), isOut: false, isClosed: false, tail: Promise.resolve(), comeBack: undefined }
    const members = this.#members.get(options.group) ?? []
    this.#members.set(options.group, members)
    this.#outcasts.set(process, [...(this.#outcasts.get(process) ?? []), member])
    /** Runs what the process does until it is over, or until the log has given up on the process, which does not notice. */
    const within = <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
      if (!process.isAlive || member.isOut) return Promise.resolve(otherwise)
      const running = member.tail.then(() => process.awake()).then(work)
      member.tail = running.catch(() => {})
      return Promise.race([running, member.lost.promise.then(() => otherwise)])
    }
    const wrapped: SubscribeOptions = {
      ...options,
      onBatch: batch => this.#deliver(faults, options, batch, process, within)
    }
    const { onAssigned, onRevoked } = options
    if (onAssigned)
      wrapped.onAssigned = (partitions: readonly AssignedPartition[]) => within(() => this.#persistently(process, () => onAssigned(partitions)), [])
    if (onRevoked) wrapped.onRevoked = partitions => within(() => this.#persistently(process, () => onRevoked(partitions)), undefined)
    const subscription = await this.#inTurn(async () => {
      if (!process.isAlive) throw new Crash('before it had joined') // Its session has ended already: nobody would end it again.
      members.push(member)
      return this.memory.subscribe(wrapped)
    })
    return {
      ...subscription,
      finished: subscription.finished,
      close: () =>
        process.call('close', () =>
          this.#inTurn(async () => {
            if (member.isClosed) return
            member.isClosed = true
            const index = members.indexOf(member)
            if (index !== -1) members.splice(index, 1)
            await subscription.close()
          })
        )
    }
  }

  /** As the real logs: a handover that meets trouble is told again. */
  async #persistently<T>(process: SimProcess, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof AppError && error.retriable)) throw error
        await process.clock.sleep(AGAIN_MS)
      }
    }
  }

  async #deliver(
    faults: LogFaults,
    options: SubscribeOptions,
    batch: Batch,
    process: SimProcess,
    within: (work: () => Promise<BatchFate>, otherwise: BatchFate) => Promise<BatchFate>
  ): Promise<BatchFate> {
    const later: BatchFate = { kind: 'retry', afterMs: 1, reason: 'of the simulator' }
    if (faults.disturb.chance(faults.reorder)) return { ...later, afterMs: Math.round(faults.disturb.between(1, 400)) }
    const cut = faults.disturb.chance(faults.reorder) ? { ...batch, records: batch.records.slice(0, 1) } : batch
    const fate = await within(() => options.onBatch(cut), { ...later, afterMs: 100 })
    if (fate.kind !== 'done') return fate
    if (cut !== batch || faults.disturb.chance(faults.redeliver)) return later
    this.#observer.onSettled(options.group, batch, fate, process)
    return fate
  }

  /** One change of membership at a time. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => {})
    return turn
  }
}
