// Group commit: appends that arrive together share one write, one sync and one transaction.
//
// A group goes when it is large, when the oldest append has waited `groupCommitMs`, or as soon as an earlier group is done.
// At most `GROUPS_IN_FLIGHT_MAX` are with the writer; what waits is bounded by `QUEUE_BYTES_MAX`. Calls keep their order.

import { AppError } from '../../schemas/errors.ts'
import type { Clock } from '../../schemas/ports.ts'
import type { WriterClient } from './writer-client.ts'
import type { AppendCall } from './writer-protocol.ts'

const FLUSH_BYTES = 512 * 2 ** 10 // From here on waiting for company saves nothing: the sync is a small part of the write.
const GROUP_BYTES_MAX = 8 * 2 ** 20 // Bounds how long one group occupies the writer: about 10 ms.
const GROUP_RECORDS_MAX = 5_000
const GROUPS_IN_FLIGHT_MAX = 3 // One is written, one synced, one packed: with two the disk waits a fifth of the time.
const QUEUE_BYTES_MAX = 512 * 2 ** 20 // Twice what intake admits by default: reached only when the disk hangs.

interface Pending {
  call: AppendCall
  bytes: number
  resolve(offsets: readonly number[]): void
  reject(error: AppError): void
}

export interface AppendQueue {
  /** Offsets of the records, once durable. @throws AppError `log_unavailable` when the queue is full, or as the writer says */
  push(call: AppendCall): Promise<readonly number[]>
  /** Resolves when everything pushed so far is settled. */
  drain(): Promise<void>
}

/** @param onCommitted called with the topics of a group after it became durable, before its appends resolve */
export function appendQueue(options: { writer: WriterClient; clock: Clock; groupCommitMs: number; onCommitted(topics: readonly string[]): void }): AppendQueue {
  const { writer, clock, groupCommitMs, onCommitted } = options
  let pending: Pending[] = []
  let pendingBytes = 0
  let inFlight = 0
  let isTimerRunning = false
  const idle: (() => void)[] = []

  function push(call: AppendCall): Promise<readonly number[]> {
    const bytes = call.values.reduce((sum, value) => sum + (value?.length ?? 0), 0)
    if (pending.length > 0 && pendingBytes + bytes > QUEUE_BYTES_MAX) {
      return Promise.reject(new AppError('log_unavailable', `${pendingBytes} bytes wait for the log's disk already: see whether it answers`))
    }
    return new Promise((resolve, reject) => {
      pending.push({ call, bytes, resolve, reject })
      pendingBytes += bytes
      if (pendingBytes >= FLUSH_BYTES) flush()
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
    while (pending.length > 0 && inFlight < GROUPS_IN_FLIGHT_MAX) void commit(takeGroup())
  }

  function takeGroup(): Pending[] {
    let bytes = 0
    let records = 0
    let count = 0
    for (const { bytes: size, call } of pending) {
      if (count > 0 && (bytes + size > GROUP_BYTES_MAX || records + call.keys.length > GROUP_RECORDS_MAX)) break
      bytes += size
      records += call.keys.length
      count++
    }
    pendingBytes -= bytes
    const group = pending.slice(0, count)
    pending = pending.slice(count)
    return group
  }

  async function commit(group: readonly Pending[]): Promise<void> {
    inFlight++
    try {
      const results = await writer.call(
        'append',
        clock.nowMs(),
        group.map(({ call }) => call)
      )
      onCommitted([...new Set(group.filter((_, index) => results[index]!.ok).map(({ call }) => call.topic))])
      for (const [index, { resolve, reject }] of group.entries()) {
        const result = results[index]!
        if (result.ok) resolve(result.offsets)
        else reject(new AppError(result.code, result.message))
      }
    } catch (cause) {
      const error = cause instanceof AppError ? cause : new AppError('log_unavailable', String(cause), { cause })
      for (const { reject } of group) reject(error)
    } finally {
      inFlight--
      flush()
      if (inFlight === 0 && pending.length === 0) for (const resolve of idle.splice(0)) resolve()
    }
  }

  async function drain(): Promise<void> {
    flush()
    if (inFlight > 0 || pending.length > 0) await new Promise<void>(resolve => idle.push(resolve))
  }

  return { push, drain }
}
