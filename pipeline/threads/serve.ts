// The worker's side: opens the role, says ready, answers calls, sends its meter readings over once a second.

import { parentPort } from 'node:worker_threads'
import { assert } from '../../schemas/errors.ts'
import { type MeterReading, memoryMeter, type SelfMeter } from '../self/meter.ts'
import { type Methods, openPeer, type Peer } from './peer.ts'

const READINGS_INTERVAL_MS = 1_000

export interface ServedRole {
  methods: Methods
  /** Finishes what is in hand; the thread ends after it. */
  close(): Promise<void>
}

/** Runs `open` in this thread. A failure while opening ends the thread with that error. */
export async function serveThread(open: (context: { meter: SelfMeter; parent: Peer }) => Promise<ServedRole>): Promise<void> {
  assert(parentPort, 'serveThread runs in a worker thread')
  const port = parentPort
  const sent = new Map<string, number>()
  const meter = memoryMeter()
  let role: ServedRole | undefined
  const methods: Record<string, (parameters: never) => unknown> = {
    close: async () => {
      clearInterval(timer)
      await role?.close()
      await parent.call('readings', changed(meter, sent))
    }
  }
  const parent = openPeer(port, methods)
  const timer = setInterval(() => void parent.call('readings', changed(meter, sent)), READINGS_INTERVAL_MS)
  role = await open({ meter, parent })
  Object.assign(methods, role.methods)
  await parent.call('ready')
}

/** Counters as differences since the last call, gauges whose value moved. */
function changed(meter: SelfMeter, sent: Map<string, number>): MeterReading[] {
  const changes: MeterReading[] = []
  for (const reading of meter.readings()) {
    const key = `${reading.name}${JSON.stringify(reading.attributes)}`
    const before = sent.get(key) ?? 0
    if (reading.value === before) continue
    sent.set(key, reading.value)
    changes.push(reading.kind === 'counter' ? { ...reading, value: reading.value - before } : reading)
  }
  return changes
}
