// Watches the handlers of subscriptions: a batch that is never settled is a role that stands still while its event loop turns.
//
// Wraps the log that a role gets; each thread or process has its own. What it measures is judged in roles/health.ts, together with
// whether the log and ClickHouse answer: waiting for one of them is patience, not a fault.

import type { Clock, Log } from '../../schemas/ports.ts'

export interface Progress {
  /** The log to hand to the role. */
  log: Log
  /** For how long the oldest batch or hand-over has been in a handler's hands, ms; 0 when none is. */
  heldMs(): number
}

export function watchProgress(log: Log, clock: Clock): Progress {
  const inHand = new Map<symbol, number>()

  /** The handler, noted while it runs. */
  function watched<Arguments extends unknown[], Result>(handler: (...parameters: Arguments) => Promise<Result>): (...parameters: Arguments) => Promise<Result> {
    return async (...parameters) => {
      const hold = Symbol('hold')
      inHand.set(hold, clock.monotonicMs())
      try {
        return await handler(...parameters)
      } finally {
        inHand.delete(hold)
      }
    }
  }

  return {
    heldMs() {
      const [sinceMs] = inHand.values() // Insertion order: the first is the oldest.
      return sinceMs === undefined ? 0 : clock.monotonicMs() - sinceMs
    },
    log: {
      append: (topic, records) => log.append(topic, records),
      subscribe: ({ onBatch, onAssigned, onRevoked, ...options }) =>
        log.subscribe({
          ...options,
          onBatch: watched(batch => onBatch(batch)),
          ...(onAssigned && { onAssigned: watched(partitions => onAssigned(partitions)) }),
          ...(onRevoked && { onRevoked: watched(partitions => onRevoked(partitions)) })
        }),
      read: (from, recordsMax) => log.read(from, recordsMax),
      offsets: topic => log.offsets(topic),
      partitions: topic => log.partitions(topic),
      groups: () => log.groups(),
      close: () => log.close()
    }
  }
}
