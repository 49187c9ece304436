// A replay service: values and timestamps from a script, sent as fast as Homeostat takes them, so that its verdicts can be compared.
//
// Four entities of an environment of their own, a point a second each of a level and of a counter; every 40 s one of them leaves its
// level for 8 s. A refused second is sent again before the next, so order is kept; a second that arrived without our hearing of it comes
// twice, which the detector must not mind. Nobody acts on it: control does not decide for this environment.

import { type Seeded, seeded } from '../../infra/lab/seeded.ts'

export const SCRIPT_ENVIRONMENT = 'script'
const ENTITIES = 4
const CYCLE_S = 40 // Longer than the 5 normal points that close an anomaly.
const EXCURSION_S = 8 // More than the 3 points that open one.
const QUIET_S = 60 // Above the warm-up: the first minute teaches.
const LEVEL = 100
const NOISE = 4
const EXCURSION = 160
const TIMEOUT_MS = 6_000
const RETRY_MS = 200

export interface ScriptedStream {
  /** Seconds of the script that were acknowledged. */
  sentS(): number
  /** Sends no more; resolves when nothing is in flight. */
  stop(): Promise<void>
}

/** @param otlpHttp host:port */
export function startScriptedStream(otlpHttp: string, seed: number): ScriptedStream {
  const startMs = Date.now()
  const secondOf = script(seed, startMs)
  const stopped = new AbortController()
  let sentS = 0

  const finished = (async () => {
    for (let second = 0; !stopped.signal.aborted; second++) {
      while (Date.now() < startMs + second * 1_000 && !stopped.signal.aborted) await pause(RETRY_MS / 2)
      const body = JSON.stringify(secondOf(second))
      // Also while stopping: the second begun is finished, for it may have arrived already.
      while (!(await isTaken(otlpHttp, body))) {
        if (stopped.signal.aborted) return
        await pause(RETRY_MS)
      }
      sentS = second + 1
    }
  })()
  return {
    sentS: () => sentS,
    stop() {
      stopped.abort()
      return finished
    }
  }
}

/** The script: the OTLP request of each second, asked for in order. */
export function script(seed: number, startMs: number): (second: number) => { resourceMetrics: object[] } {
  const draws = Array.from({ length: ENTITIES }, (_, entity) => seeded(seed).fork(`script ${entity}`))
  const totals = new Array<number>(ENTITIES).fill(0)
  return second => {
    const values = draws.map((draw, entity) => valueAt(draw, entity, second))
    for (const [entity, value] of values.entries()) totals[entity]! += Math.round(value)
    return { resourceMetrics: values.map((value, entity) => resourceOf(entity, startMs + second * 1_000, startMs, value, totals[entity]!)) }
  }
}

function valueAt(draw: Seeded, entity: number, second: number): number {
  const noise = NOISE * (draw.next() + draw.next() + draw.next() - 1.5)
  const phaseS = (second + entity * (CYCLE_S / ENTITIES)) % CYCLE_S
  return LEVEL + noise + (second >= QUIET_S && phaseS < EXCURSION_S ? EXCURSION : 0)
}

function resourceOf(entity: number, timeMs: number, startMs: number, value: number, total: number): object {
  const name = `replay-${entity}`
  const timeUnixNano = `${timeMs}000000`
  return {
    resource: {
      attributes: Object.entries({
        'service.namespace': 'script',
        'service.name': name,
        'service.instance.id': `${name}-1`,
        'deployment.environment.name': SCRIPT_ENVIRONMENT
      }).map(([key, stringValue]) => ({ key, value: { stringValue } }))
    },
    scopeMetrics: [
      {
        metrics: [
          { name: 'script.level', gauge: { dataPoints: [{ timeUnixNano, asDouble: value }] } },
          {
            name: 'script.work',
            sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ startTimeUnixNano: `${startMs}000000`, timeUnixNano, asDouble: total }] }
          }
        ]
      }
    ]
  }
}

async function isTaken(otlpHttp: string, body: string): Promise<boolean> {
  try {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`http://${otlpHttp}/v1/metrics`, { method: 'POST', headers, body, signal: AbortSignal.timeout(TIMEOUT_MS) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
