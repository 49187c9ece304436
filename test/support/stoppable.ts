// A process that can be killed or stopped, for workers that live in the test's own: its clock and its log stand still with it.
//
// Stopped (SIGSTOP): nothing of it moves, and everything goes on where it was when it is resumed; calls that had reached the log
// are done, their answers wait. Killed: the same, for ever. The group notices neither; tests let the session expire.

import type { Clock, Log, SubscribeOptions, Subscription } from '../../schemas/ports.ts'

export interface Stoppable {
  clock: Clock
  log: Log
  readonly isDead: boolean
  stop(): void
  resume(): void
  /** Never moves again. */
  kill(): void
}

export function stoppable(outer: { clock: Clock; log: Log }): Stoppable {
  let gate: PromiseWithResolvers<void> | undefined
  let isKilled = false
  const pass = async (): Promise<void> => {
    while (gate !== undefined) await gate.promise
  }
  /** Starts when the process runs, and answers when it runs. */
  const through = async <T>(work: () => Promise<T>): Promise<T> => {
    await pass()
    try {
      return await work()
    } finally {
      await pass()
    }
  }
  const { clock, log } = outer

  function subscribe(options: SubscribeOptions): Promise<Subscription> {
    const { onAssigned, onRevoked } = options
    return through(() =>
      log.subscribe({
        ...options,
        onBatch: batch => through(() => options.onBatch(batch)),
        ...(onAssigned && { onAssigned: partitions => through(() => onAssigned(partitions)) }),
        ...(onRevoked && { onRevoked: partitions => through(() => onRevoked(partitions)) })
      })
    )
  }

  return {
    clock: {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      sleep: (ms, signal) => through(() => clock.sleep(ms, signal))
    },
    log: {
      append: (topic, records) => through(() => log.append(topic, records)),
      subscribe,
      read: (from, recordsMax) => through(() => log.read(from, recordsMax)),
      offsets: topic => through(() => log.offsets(topic)),
      partitions: topic => log.partitions(topic),
      groups: () => through(() => log.groups()),
      close: () => log.close()
    },
    get isDead() {
      return isKilled
    },
    stop() {
      gate ??= Promise.withResolvers()
    },
    resume() {
      if (isKilled) return
      gate?.resolve()
      gate = undefined
    },
    kill() {
      isKilled = true
      gate ??= Promise.withResolvers()
    }
  }
}
