// A sender that never gives up: points are made at a steady rate, wait in a queue, and are sent until they are acknowledged,
// as a Collector with a persistent queue and retry without end does.
//
// Every point carries its own number. It does what it is told: Retry-After is kept, other refusals are counted.

import { metricsRequest } from './counting-sender.ts'

const REQUESTS_PER_S = 10
const POINTS_PER_REQUEST = 200
/** Points made each second. */
export const POINTS_PER_S = REQUESTS_PER_S * POINTS_PER_REQUEST
const IN_FLIGHT_MAX = 10 // Consumers of a Collector's queue.
const TIMEOUT_MS = 10_000
const RETRY_MS = 500 // Where the answer names no time, or there is none.
const RETRY_MAX_MS = 30_000

export interface PatientSender {
  acknowledged(): readonly number[]
  /** Made, not yet acknowledged. */
  waiting(): number
  made(): number
  /** Answers by status; `none`: no connection, or no answer in time. */
  answers: ReadonlyMap<string, number>
  /** Refusals that a Collector would take for final: it would have dropped the points. */
  permanent(): number
  /** Makes no more points. */
  pause(): void
  stop(): Promise<void>
}

/** @param otlpHttp host:port */
export function startPatientSender(otlpHttp: string): PatientSender {
  const queue: number[][] = []
  const acknowledged: number[] = []
  const answers = new Map<string, number>()
  const stop = new AbortController()
  let wake = Promise.withResolvers<void>()
  let next = 1
  let inFlight = 0
  let permanent = 0

  const timer = setInterval(() => {
    queue.push(Array.from({ length: POINTS_PER_REQUEST }, () => next++))
    wake.resolve()
    wake = Promise.withResolvers()
  }, 1_000 / REQUESTS_PER_S)

  /** @returns ms to wait before it is sent again; undefined when it was taken */
  async function send(numbers: readonly number[]): Promise<number | undefined> {
    const count = (name: string): void => void answers.set(name, (answers.get(name) ?? 0) + 1)
    try {
      const response = await fetch(`http://${otlpHttp}/v1/metrics`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(metricsRequest(numbers)),
        signal: AbortSignal.timeout(TIMEOUT_MS)
      })
      await response.arrayBuffer()
      count(String(response.status))
      if (response.status === 200) return undefined
      if (![429, 502, 503, 504].includes(response.status)) permanent++
      return Math.min(RETRY_MAX_MS, Number(response.headers.get('retry-after') ?? RETRY_MS / 1_000) * 1_000)
    } catch {
      count('none')
      return RETRY_MS
    }
  }

  async function consume(): Promise<void> {
    while (!stop.signal.aborted) {
      const numbers = queue.shift()
      if (numbers === undefined) {
        await Promise.race([wake.promise, aborted(stop.signal)])
        continue
      }
      inFlight += numbers.length
      for (let waitMs = await send(numbers); waitMs !== undefined && !stop.signal.aborted; waitMs = await send(numbers)) await pauseFor(waitMs, stop.signal)
      inFlight -= numbers.length
      acknowledged.push(...numbers)
    }
  }

  const consumers = Array.from({ length: IN_FLIGHT_MAX }, consume)
  return {
    acknowledged: () => acknowledged,
    waiting: () => queue.length * POINTS_PER_REQUEST + inFlight,
    made: () => next - 1,
    answers,
    permanent: () => permanent,
    pause: () => clearInterval(timer),
    async stop() {
      clearInterval(timer)
      stop.abort()
      await Promise.all(consumers)
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}

function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true }
    )
  })
}
