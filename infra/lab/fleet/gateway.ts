// gateway: the front door. POST /checkout?country=XX → orders.

import { httpClient, serve } from './http.ts'
import { startService } from './service.ts'

const ORDERS_TIMEOUT_MS = 1_600 // Longer than what orders waits for its own callee, so the deepest time-out speaks first.

let stop = (): void => undefined
const { layout, port, telemetry } = await startService('gateway', () => stop())
const orders = httpClient(telemetry, 'orders', layout.ports.orders, ORDERS_TIMEOUT_MS)

const server = await serve(telemetry, port, {
  'GET /healthz': () => ({ status: 200, body: { ok: true } }),
  'POST /checkout': async query => {
    const { status } = await orders(`/orders?country=${query.get('country') ?? ''}`)
    if (status === 200) return { status, body: { ok: true } }
    telemetry.error(`checkout failed: orders answered ${status}`)
    return { status: status === 504 ? 504 : 502, body: { error: 'orders failed' } }
  }
})
stop = () => void server.close()
