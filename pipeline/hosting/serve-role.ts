// The hosted role's side: opens the role, says ready, answers calls; once a second a heartbeat takes its meter readings over.

import { type MessagePort, parentPort } from 'node:worker_threads'
import { AppError, assert } from '../../schemas/errors.ts'
import { type MeterReading, memoryMeter, type SelfMeter } from '../self/meter.ts'
import { type Methods, openPeer, type Peer, type Port } from './peer.ts'

const HEARTBEAT_MS = 1_000

/** What the host hears once a second: that the event loop turns, and what it counted. */
export interface Heartbeat {
  readings: MeterReading[]
  /** As `Progress.heldMs`. */
  heldMs: number
}

export interface ServedRole {
  methods: Methods
  /** For how long a batch has been in hand (pipeline/self/progress.ts). */
  heldMs?(): number
  /** Rejects with the bug that stopped the role: the host starts it again. */
  finished?: Promise<unknown>
  /** Finishes what is in hand; the thread or process ends after it. */
  close(): Promise<void>
}

export interface RoleContext<Data> {
  data: Data
  meter: SelfMeter
  parent: Peer
}

/** Runs `open` in this thread or process. A failure while opening is told to the host and ends it. */
export async function serveRole<Data>(open: (context: RoleContext<Data>) => Promise<ServedRole>): Promise<void> {
  const port = parentPort ? threadPort(parentPort) : processPort()
  const sent = new Map<string, number>()
  const meter = memoryMeter()
  let role: ServedRole | undefined
  const heartbeat = (): Heartbeat => ({ readings: changed(meter, sent), heldMs: role?.heldMs?.() ?? 0 })
  const methods: Record<string, (parameters: never) => unknown> = {
    close: async () => {
      clearInterval(timer)
      await role?.close()
      await parent.call('heartbeat', heartbeat())
      // After the answer went out.
      setImmediate(() => (parentPort ? parentPort.close() : process.disconnect()))
    }
  }
  const parent = openPeer(port, methods)
  const timer = setInterval(() => void parent.call('heartbeat', heartbeat()), HEARTBEAT_MS)
  try {
    role = await open({ data: await parent.call<Data>('data'), meter, parent })
    Object.assign(methods, role.methods)
    role.finished?.catch(fail)
    await parent.call('ready')
  } catch (cause) {
    await fail(cause)
  }

  async function fail(cause: unknown): Promise<void> {
    const { code, message } =
      cause instanceof AppError ? cause : { code: 'bug' as const, message: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }
    await parent.call('failed', { code, message })
    process.exit(1)
  }
}

function threadPort(port: MessagePort): Port {
  return { postMessage: message => port.postMessage(message), on: (_event, listener) => port.on('message', listener) }
}

/** The line to the parent process. Signals of the terminal are the parent's to handle; when it is gone, so are we. */
function processPort(): Port {
  assert(process.send, 'serveRole runs in a worker thread or a child process')
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  process.on('disconnect', () => process.exit(0))
  return {
    postMessage: message => void (process.connected && process.send!(message)),
    on: (_event, listener) => process.on('message', listener)
  }
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
