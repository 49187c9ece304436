// A log that behaves like another one but for what a test changes: faults of one call, delays, counters.

import type { Log } from '../../schemas/ports.ts'

/** `log` with some calls replaced. Closing it leaves `log` open. */
export function logWith(log: Log, changes: Partial<Log> = {}): Log {
  return {
    append: (topic, records) => log.append(topic, records),
    subscribe: options => log.subscribe(options),
    read: (from, recordsMax) => log.read(from, recordsMax),
    offsets: topic => log.offsets(topic),
    partitions: topic => log.partitions(topic),
    groups: () => log.groups(),
    close: async () => {},
    ...changes
  }
}
