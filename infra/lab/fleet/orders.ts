// orders: takes an order, has it paid, writes the invoice by the tax rate of its country, hands a shipping job to the worker.

import { httpClient, serve } from './http.ts'
import { startService } from './service.ts'

const PAYMENTS_TIMEOUT_MS = 1_200
const WORKER_TIMEOUT_MS = 500

let stop = (): void => undefined
const { layout, port, telemetry, config, cache } = await startService('orders', () => stop())
const payments = httpClient(telemetry, 'payments', layout.ports.payments, PAYMENTS_TIMEOUT_MS)
const worker = httpClient(telemetry, 'worker', layout.ports.worker, WORKER_TIMEOUT_MS)
let orderCount = 0

const server = await serve(telemetry, port, {
  'GET /healthz': () => ({ status: 200, body: { ok: true } }),
  'POST /orders': async query => {
    const country = query.get('country') ?? ''
    const order = ++orderCount
    const paid = await payments(`/payments?country=${country}&amount=${cache[country] ?? 0}`)
    if (paid.status !== 200) {
      telemetry.error(`order ${order} not paid: payments answered ${paid.status}`)
      return { status: paid.status === 504 ? 504 : 502, body: { error: 'payments failed' } }
    }
    if (config().countries[country] === undefined) {
      telemetry.error(`order ${order} has no invoice: configuration lacks a tax rate for ${country}`)
      return { status: 500, body: { error: 'no tax rate' } }
    }
    const queued = await worker(`/jobs?order=${order}`)
    if (queued.status !== 202) telemetry.warn(`order ${order} ships later: worker answered ${queued.status}`)
    telemetry.info(`order ${order} accepted`)
    return { status: 200, body: { order } }
  }
})
stop = () => void server.close()
