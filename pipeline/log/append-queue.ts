// Group commit, for any log: appends that arrive together are written together.
//
// A group goes when it is large, when the oldest append has waited `groupCommitMs`, or as soon as an earlier group is done. Calls
// keep their order. What waits is bounded in bytes; where a write may hang (a broker is away) also in time: what has not been sent
// then is refused, so that its sender may go elsewhere or wait without a copy of it being written later.

import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import type { AppendResult } from './writer-protocol.ts'

export interface AppendQueueOptions<Call> {
  /** Writes a group; one result a call, in order. @throws AppError: every call of the group is rejected with it */
  write(group: readonly Call[]): Promise<readonly AppendResult[]>
  sizeOf(call: Call): number
  /** Begins a group: tells for one call after another whether it may come along. The first of a group always does. */
  openGroup(): (call: Call) => boolean
  clock: Clock
  groupCommitMs: number
  limits: {
    /** From here on nobody waits for company. */
    flushBytes: number
    groupsInFlightMax: number
    queueBytesMax: number
    /** While a write takes longer than this, whatever waits behind it is refused, and what comes as well. Default: never. */
    stallMs?: number
  }
  /** What the queue waits for, for messages: `the log's disk`. */
  waitsFor: string
}

interface Pending<Call> {
  call: Call
  bytes: number
  resolve(offsets: readonly number[]): void
  reject(error: AppError): void
}

export interface AppendQueue<Call> {
  /** Offsets of the records, once durable. @throws AppError `log_unavailable` when the queue is full or stands still, or as `write` says */
  push(call: Call): Promise<readonly number[]>
  /** Resolves when everything pushed so far is settled. */
  drain(): Promise<void>
}

export function appendQueue<Call>({ write, sizeOf, openGroup, clock, groupCommitMs, limits, waitsFor }: AppendQueueOptions<Call>): AppendQueue<Call> {
  let pending: Pending<Call>[] = []
  let pendingBytes = 0
  let inFlight = 0
  let isTimerRunning = false
  let stalled = 0
  const idle: (() => void)[] = []

  function push(call: Call): Promise<readonly number[]> {
    const bytes = sizeOf(call)
    if (stalled > 0) return Promise.reject(stall())
    if (pending.length > 0 && pendingBytes + bytes > limits.queueBytesMax) {
      return Promise.reject(new AppError('log_unavailable', `${pendingBytes} bytes wait for ${waitsFor} already: see whether it answers`))
    }
    return new Promise((resolve, reject) => {
      pending.push({ call, bytes, resolve, reject })
      pendingBytes += bytes
      if (pendingBytes >= limits.flushBytes) flush()
      else startTimer()
    })
  }

  function startTimer(): void {
    if (isTimerRunning) return
    isTimerRunning = true
    const due = (): void => {
      isTimerRunning = false
      flush()
    }
    if (groupCommitMs > 0) void clock.sleep(groupCommitMs).then(due)
    else setImmediate(due)
  }

  function flush(): void {
    while (pending.length > 0 && inFlight < limits.groupsInFlightMax) void commit(takeGroup())
  }

  function takeGroup(): Pending<Call>[] {
    const admits = openGroup()
    let count = 0
    while (count < pending.length && (admits(pending[count]!.call) || count === 0)) count++
    const group = pending.slice(0, count)
    pending = pending.slice(count)
    for (const { bytes } of group) pendingBytes -= bytes
    return group
  }

  async function commit(group: readonly Pending<Call>[]): Promise<void> {
    inFlight++
    const written = watchStall()
    try {
      const results = await write(group.map(({ call }) => call))
      for (const [index, { resolve, reject }] of group.entries()) {
        const result = results[index]!
        if (result.ok) resolve(result.offsets)
        else reject(new AppError(result.code, result.message))
      }
    } catch (cause) {
      const error = cause instanceof AppError ? cause : new AppError('log_unavailable', String(cause), { cause })
      for (const { reject } of group) reject(error)
    } finally {
      written()
      inFlight--
      flush()
      if (inFlight === 0 && pending.length === 0) for (const resolve of idle.splice(0)) resolve()
    }
  }

  /** @returns to be called when the write is over */
  function watchStall(): () => void {
    const { stallMs } = limits
    if (stallMs === undefined) return () => {}
    const over = new AbortController()
    let isStalled = false
    void clock.sleep(stallMs, over.signal).then(() => {
      if (over.signal.aborted) return
      isStalled = true
      stalled++
      for (const { reject } of pending.splice(0)) reject(stall())
      pendingBytes = 0
    })
    return () => {
      over.abort()
      if (isStalled) stalled--
    }
  }

  const stall = (): AppError => new AppError('log_unavailable', `${waitsFor} has not answered for ${limits.stallMs} ms, nothing of this was sent: try again`)

  async function drain(): Promise<void> {
    flush()
    if (inFlight > 0 || pending.length > 0) await new Promise<void>(resolve => idle.push(resolve))
  }

  return { push, drain }
}
