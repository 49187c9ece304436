// Wakes consumers when the log grew: at once for appends of this thread and of others in the process, within `POLL_MS` for
// appends of other processes (SQLite's data_version, a few microseconds to ask).
//
// A waiter names its topics and the version it has seen, so an append between its last look and its wait is not missed.

import { BroadcastChannel } from 'node:worker_threads'
import type { Clock } from '../../schemas/ports.ts'
import type { LogReader } from './log-reader.ts'

const POLL_MS = 20
const SWEEP_EVERY_POLLS = 50 // Once a second: files of removed segments are let go.

export interface ChangeSignal {
  /** Grows with every change that concerns one of the topics. */
  version(topics: readonly string[]): number
  /** Resolves when `version(topics)` is no longer `seen`, when `ms` have passed, or when `signal` aborts. */
  wait(topics: readonly string[], seen: number, ms: number, signal: AbortSignal): Promise<void>
  /** This thread appended, or changed who owns what (`topics` of the group). */
  announce(topics: readonly string[]): void
  close(): void
}

/** @param dir the log's folder, absolute: names the channel between threads */
export function changeSignal(options: { dir: string; clock: Clock; reader: LogReader }): ChangeSignal {
  const { dir, clock, reader } = options
  const versions = new Map<string, number>()
  const waiters = new Set<() => void>()
  const channel = new BroadcastChannel(`homeostat-log:${dir}`)
  const closing = new AbortController()
  let dataVersion = reader.dataVersion()
  let isPolling = false
  reader.grownTopics()

  channel.onmessage = event => touch((event as unknown as { data: string[] }).data)
  channel.unref()

  function touch(topics: readonly string[]): void {
    if (topics.length === 0) return
    for (const topic of topics) versions.set(topic, (versions.get(topic) ?? 0) + 1)
    for (const wake of [...waiters]) wake()
  }

  async function poll(): Promise<void> {
    isPolling = true
    for (let polls = 1; waiters.size > 0 && !closing.signal.aborted; polls++) {
      await clock.sleep(POLL_MS, closing.signal)
      if (closing.signal.aborted) break
      const current = reader.dataVersion()
      if (current !== dataVersion) {
        dataVersion = current
        touch(reader.grownTopics())
      }
      if (polls % SWEEP_EVERY_POLLS === 0) reader.sweep()
    }
    isPolling = false
  }

  const version = (topics: readonly string[]): number => topics.reduce((sum, topic) => sum + (versions.get(topic) ?? 0), 0)

  async function wait(topics: readonly string[], seen: number, ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || signal.aborted || closing.signal.aborted || version(topics) !== seen) return
    const ended = new AbortController()
    await new Promise<void>(resolve => {
      const end = (): void => {
        waiters.delete(wake)
        signal.removeEventListener('abort', end)
        ended.abort()
        resolve()
      }
      const wake = (): void => {
        if (closing.signal.aborted || version(topics) !== seen) end()
      }
      waiters.add(wake)
      signal.addEventListener('abort', end, { once: true })
      void clock.sleep(ms, ended.signal).then(end)
      if (!isPolling) void poll()
    })
  }

  return {
    version,
    wait,
    announce(topics) {
      touch(topics)
      channel.postMessage([...topics])
    },
    close() {
      closing.abort()
      channel.close()
      for (const wake of [...waiters]) wake()
    }
  }
}
