// A sender that counts: every point and log record carries its own number, and the numbers that were acknowledged are kept.
//
// Real OTLP/HTTP requests. Nothing is sent twice, so each number may be stored at most once, and every acknowledged one must be.

const BEAT_MS = 50
const ITEMS_PER_REQUEST = 5
const IN_FLIGHT_MAX = 8
const TIMEOUT_MS = 6_000 // Above Homeostat's own limit for an append, so a late answer is still heard.

export const COUNTER_METRIC = 'crash.counter'
export const COUNTER_SERVICE = 'counter'

export interface CountingSender {
  /** Numbers acknowledged so far, by signal. */
  acknowledged: { metrics: readonly number[]; logs: readonly number[] }
  /** Requests by how they ended. */
  requests: { acknowledged: number; refused: number; lost: number }
  /** Sends no more; resolves when no request is in flight. */
  stop(): Promise<void>
}

/** @param otlpHttp host:port */
export function startCountingSender(otlpHttp: string): CountingSender {
  const acknowledged = { metrics: [] as number[], logs: [] as number[] }
  const requests = { acknowledged: 0, refused: 0, lost: 0 }
  const inFlight = new Set<Promise<void>>()
  let next = 1
  let turn = 0

  async function send(signal: 'metrics' | 'logs', numbers: number[]): Promise<void> {
    try {
      const response = await fetch(`http://${otlpHttp}/v1/${signal}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(signal === 'metrics' ? metricsRequest(numbers) : logsRequest(numbers)),
        signal: AbortSignal.timeout(TIMEOUT_MS)
      })
      const text = await response.text()
      if (response.status === 200 && !text.includes('rejected')) {
        acknowledged[signal].push(...numbers)
        requests.acknowledged++
      } else requests.refused++
    } catch {
      requests.lost++ // Killed in between: stored or not, nobody was told.
    }
  }

  const timer = setInterval(() => {
    if (inFlight.size >= IN_FLIGHT_MAX) return
    const numbers = Array.from({ length: ITEMS_PER_REQUEST }, () => next++)
    const sent = send(turn++ % 2 === 0 ? 'metrics' : 'logs', numbers).finally(() => inFlight.delete(sent))
    inFlight.add(sent)
  }, BEAT_MS)

  return {
    acknowledged,
    requests,
    async stop() {
      clearInterval(timer)
      await Promise.all(inFlight)
    }
  }
}

const resource = {
  attributes: [
    { key: 'service.namespace', value: { stringValue: 'crash' } },
    { key: 'service.name', value: { stringValue: COUNTER_SERVICE } },
    { key: 'service.instance.id', value: { stringValue: 'counter-1' } },
    { key: 'deployment.environment.name', value: { stringValue: 'lab' } }
  ]
}

/** One OTLP/JSON request, a point a number. */
export function metricsRequest(numbers: readonly number[]): object {
  const dataPoints = numbers.map((number, index) => ({ timeUnixNano: nanosNow(index), asDouble: number }))
  return { resourceMetrics: [{ resource, scopeMetrics: [{ metrics: [{ name: COUNTER_METRIC, gauge: { dataPoints } }] }] }] }
}

function logsRequest(numbers: readonly number[]): object {
  const logRecords = numbers.map((number, index) => ({ timeUnixNano: nanosNow(index), severityNumber: 9, body: { stringValue: `counted ${number}` } }))
  return { resourceLogs: [{ resource, scopeLogs: [{ logRecords }] }] }
}

/** Distinct within a request. */
function nanosNow(index: number): string {
  return String(BigInt(Date.now()) * 1_000_000n + BigInt(index))
}
