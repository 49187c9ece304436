// The lab's own eyes: real requests every 200 ms, through the gateway and to each service, independent of Homeostat.
//
// Probes are sent on a fixed beat without waiting for the one before, so the end of an outage is known to a beat even
// while requests run into their time-outs. A sample counts at the time it was sent.

import { connect } from 'node:net'
import { type LabLayout, SERVICES, type ServiceName } from './layout.ts'
import { readProcess } from '../../actuators/drivers/process-table.ts'
import { readWitness } from './witness.ts'

const BEAT_MS = 200
const GATEWAY_TIMEOUT_MS = 2_500
const DIRECT_TIMEOUT_MS = 1_000
/** A checkout takes 2-5 ms at rest; the latency fault adds 300 ms or more. */
const GATEWAY_LIMIT_MS = 200
/** A second of right answers that are slow, between good ones, is a busy machine. */
const SLOW_SAMPLES_MAX = 5
const SAMPLES_MAX = 3_000 // Ten minutes of one stream; older ones are dropped.

export interface Sample {
  sentAtMs: number
  ok: boolean
  /** Not ok for its time alone: the answer was right. */
  isSlow: boolean
  durationMs: number
  detail: string
}

/** `gateway/e2e` is a checkout through the whole fleet; a service's name is a probe of it alone. */
export type Stream = 'checkout' | ServiceName

export interface Probes {
  samples(stream: Stream): readonly Sample[]
  latest(stream: Stream): Sample | undefined
  /** Checkouts are of this country from now on: a bad configuration breaks some countries only. */
  useCountry(country: string): void
  /** Resident bytes above which the worker counts as unhealthy. */
  workerLimitBytes(limit: number): void
  /** Resident bytes of the worker now. */
  workerBytes(): number
  close(): void
}

export function openProbes(layout: LabLayout): Probes {
  const streams = new Map<Stream, Sample[]>()
  let country = 'DE'
  let workerLimit = Number.POSITIVE_INFINITY
  let workerBytes = 0

  function add(stream: Stream, sample: Sample): void {
    const samples = streams.get(stream) ?? []
    streams.set(stream, samples)
    // Answers overtake each other: kept in the order of sending.
    let at = samples.length
    while (at > 0 && samples[at - 1]!.sentAtMs > sample.sentAtMs) at--
    samples.splice(at, 0, sample)
    if (samples.length > SAMPLES_MAX) samples.shift()
  }

  async function probe(stream: Stream, ask: () => Promise<string>, limitMs: number): Promise<void> {
    const sentAtMs = Date.now()
    const begun = performance.now()
    const detail = await ask().catch(error => `${(error as Error).name}: ${(error as Error).message}`)
    const durationMs = performance.now() - begun
    const late = durationMs > limitMs
    add(stream, {
      sentAtMs,
      ok: detail === '' && !late,
      isSlow: detail === '' && late,
      durationMs,
      detail: detail || (late ? `${Math.round(durationMs)} ms` : '')
    })
  }

  const timer = setInterval(() => {
    void probe('checkout', () => httpOk(layout.ports.gateway, `/checkout?country=${country}`, 'POST', GATEWAY_TIMEOUT_MS), GATEWAY_LIMIT_MS)
    for (const service of SERVICES) {
      const ask = (): Promise<string> =>
        service === 'store' ? storeOk(layout.ports.store) : httpOk(layout.ports[service], '/healthz', 'GET', DIRECT_TIMEOUT_MS)
      void probe(service, service === 'worker' ? () => workerOk(ask) : ask, GATEWAY_LIMIT_MS)
    }
  }, BEAT_MS)

  async function workerOk(ask: () => Promise<string>): Promise<string> {
    const problem = await ask()
    const pid = readWitness(layout.folder).findLast(({ service, event }) => service === 'worker' && event === 'start')?.pid
    workerBytes = (pid === undefined ? undefined : readProcess(pid)?.rssBytes) ?? 0
    return problem || (workerBytes > workerLimit ? `${Math.round(workerBytes / 2 ** 20)} MiB resident` : '')
  }

  return {
    samples: stream => streams.get(stream) ?? [],
    latest: stream => streams.get(stream)?.at(-1),
    useCountry: next => {
      country = next
    },
    workerLimitBytes: limit => {
      workerLimit = limit
    },
    workerBytes: () => workerBytes,
    close: () => clearInterval(timer)
  }
}

/**
 * When a stream was healthy again after `fromMs`.
 * @returns the first good sample of the unbroken good run that lasts until now; null while there is none, or when the
 *          stream was never unhealthy. One bad sample between good ones (a busy machine) does not break a run, nor do some slow ones.
 */
export function healthyAgainMs(samples: readonly Sample[], fromMs: number, nowMs: number, holdMs: number): number | null {
  const since = samples.filter(({ sentAtMs }) => sentAtMs >= fromMs)
  for (let end = since.length - 1; end >= 0; end--) {
    if (since[end]!.ok) continue
    let start = end
    while (start > 0 && !since[start - 1]!.ok) start--
    const trouble = since.slice(start, end + 1)
    const forgivenMax = start > 0 && trouble.every(({ isSlow }) => isSlow) ? SLOW_SAMPLES_MAX : 1
    if (end < since.length - 1 && trouble.length <= forgivenMax) {
      end = start
      continue
    }
    const healthy = since[end + 1]?.sentAtMs
    return healthy !== undefined && nowMs - healthy >= holdMs ? healthy : null
  }
  return null
}

/** @returns the longest time since `fromMs` in which no probe was due and sent: for so long the lab, or the whole machine, stood still */
export function heldUpMs(samples: readonly Sample[], fromMs: number): number {
  const sent = samples.map(({ sentAtMs }) => sentAtMs).filter(sentAtMs => sentAtMs >= fromMs)
  return sent.reduce((longest, sentAtMs, index) => Math.max(longest, sentAtMs - (sent[index - 1] ?? sentAtMs) - BEAT_MS), 0)
}

/** @returns '' when the answer is 200, else what it was */
async function httpOk(port: number, path: string, method: string, timeoutMs: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, signal: AbortSignal.timeout(timeoutMs) })
  await response.arrayBuffer()
  return response.status === 200 ? '' : `status ${response.status}`
}

/** A GET on a connection of its own: it feels the store's latency as the callers do. */
function storeOk(port: number): Promise<string> {
  return storeCommand(port, 'GET probe').then(reply => (/^\d+$/.test(reply) ? '' : reply))
}

/** Sends one line to the store. @returns its reply; rejects after DIRECT_TIMEOUT_MS */
export function storeCommand(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    const end = (settle: () => void): void => {
      socket.destroy()
      settle()
    }
    socket.setEncoding('utf8').setTimeout(DIRECT_TIMEOUT_MS, () => end(() => reject(new Error('the store does not answer'))))
    socket.once('error', error => end(() => reject(error)))
    socket.once('data', chunk => end(() => resolve(String(chunk).trim())))
    socket.write(`${line}\n`)
  })
}
