// worker: takes shipping jobs into a queue and works them off one by one, as CONSUMER spans of the order's trace.
//
// POST /admin/leak?bytesPerS=N makes it keep memory it does not need (in memory only: a restart clears it).

import { type Context, context, SpanKind } from '@opentelemetry/api'
import { serve } from './http.ts'
import { startService } from './service.ts'

const QUEUE_MAX = 1_000
const JOB_MS = 8
const LEAK_STEP_MS = 100
const LEAK_BYTES_MAX = 700 * 2 ** 20 // The lab must not hurt the machine when nothing heals it.
const BOUNDARIES_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

let stop = (): void => undefined
const { port, telemetry } = await startService('worker', () => stop())
const queue: { parent: Context; queuedAtMs: number }[] = []
const duration = telemetry.meter.createHistogram('job.duration', { unit: 's', advice: { explicitBucketBoundaries: BOUNDARIES_S } })
telemetry.meter.createObservableGauge('queue.depth', { unit: '{job}' }).addCallback(result => result.observe(queue.length))
let working = false

function work(): void {
  const job = queue.shift()
  working = job !== undefined
  if (!job) return
  const span = telemetry.tracer.startSpan('process job', { kind: SpanKind.CONSUMER, attributes: { 'messaging.operation.name': 'process' } }, job.parent)
  setTimeout(() => {
    span.end()
    duration.record((performance.now() - job.queuedAtMs) / 1_000)
    work()
  }, JOB_MS)
}

const leaked: Buffer[] = []
let leakedBytes = 0
let leakTimer: NodeJS.Timeout | undefined

function leak(bytesPerS: number): void {
  clearInterval(leakTimer)
  if (!(bytesPerS > 0)) return
  leakTimer = setInterval(() => {
    if (leakedBytes >= LEAK_BYTES_MAX) return
    const bytes = Math.round((bytesPerS * LEAK_STEP_MS) / 1_000)
    leaked.push(Buffer.alloc(bytes, 1)) // Written to, or the kernel would not give it.
    leakedBytes += bytes
  }, LEAK_STEP_MS)
}

const server = await serve(telemetry, port, {
  'GET /healthz': () => ({ status: 200, body: { ok: true, queueDepth: queue.length } }),
  'POST /admin/leak': query => {
    leak(Number(query.get('bytesPerS')))
    return { status: 200, body: { ok: true } }
  },
  'POST /jobs': () => {
    if (queue.length >= QUEUE_MAX) return { status: 503, body: { error: 'queue full' } }
    queue.push({ parent: context.active(), queuedAtMs: performance.now() })
    if (!working) work()
    return { status: 202, body: { ok: true } }
  }
})
stop = () => void server.close()
