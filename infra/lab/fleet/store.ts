// store: a key-value store over TCP. It sends metrics, but no spans: what it costs is seen in its callers' CLIENT spans.
//
// Protocol, one line each way, answered in order: `ADD key number` → the new total; `GET key` → the total;
// `PING -` → `PONG`; `LATENCY ms` → `OK` and every ADD and GET from then on waits that long (in memory only: a restart clears it).

import { createServer, type Socket } from 'node:net'
import { serve } from './http.ts'
import { startService } from './service.ts'

const LATENCY_MAX_MS = 10_000
const LINE_LENGTH_MAX = 1_024
const BOUNDARIES_S = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

let stop = (): void => undefined
const { layout, port, telemetry } = await startService('store', () => stop())
const operations = telemetry.meter.createCounter('store.operations', { unit: '{operation}' })
const duration = telemetry.meter.createHistogram('store.operation.duration', { unit: 's', advice: { explicitBucketBoundaries: BOUNDARIES_S } })
const sockets = new Set<Socket>()
telemetry.meter.createObservableGauge('store.connections', { unit: '{connection}' }).addCallback(result => result.observe(sockets.size))

const totals = new Map<string, number>()
let latencyMs = 0

function execute(operation: string, key: string, value: string): string {
  if (operation === 'PING') return 'PONG'
  if (operation === 'GET') return String(totals.get(key) ?? 0)
  if (operation === 'ADD') {
    const total = (totals.get(key) ?? 0) + (Number(value) || 0)
    totals.set(key, total)
    return String(total)
  }
  if (operation === 'LATENCY') {
    latencyMs = Math.min(Math.max(0, Number(key) || 0), LATENCY_MAX_MS)
    return 'OK'
  }
  return 'ERR unknown operation'
}

/** Serves one connection; replies keep the order of the requests even when the latency changes between them. */
function serveConnection(socket: Socket): void {
  let buffered = ''
  let lastDueMs = 0
  sockets.add(socket)
  socket.setEncoding('utf8').setNoDelay(true)
  socket.once('close', () => sockets.delete(socket))
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: string) => {
    const lines = (buffered + chunk).split('\n')
    buffered = lines.pop()!
    if (buffered.length > LINE_LENGTH_MAX) return void socket.destroy()
    for (const line of lines) {
      const [operation = '', key = '', value = ''] = line.split(' ')
      const traffic = operation === 'ADD' || operation === 'GET'
      const begunMs = performance.now()
      const reply = (): void => {
        socket.write(`${execute(operation, key, value)}\n`)
        if (!traffic) return
        operations.add(1, { operation })
        duration.record((performance.now() - begunMs) / 1_000, { operation })
      }
      lastDueMs = Math.max(lastDueMs, begunMs + (traffic ? latencyMs : 0))
      if (lastDueMs <= begunMs) reply()
      else setTimeout(reply, lastDueMs - begunMs)
    }
  })
}

const server = createServer(serveConnection)
server.listen(port, '127.0.0.1')
const health = await serve(telemetry, layout.storeHealthPort, {
  // As slow as an operation is, so that a probe with a time limit feels what the callers feel.
  'GET /healthz': () => new Promise(resolve => setTimeout(resolve, latencyMs, { status: 200, body: { ok: true } }))
})
stop = () => {
  server.close()
  health.close()
  for (const socket of sockets) socket.destroy()
}
