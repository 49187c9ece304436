// payments: books the amount in the store, then hands it to the payment provider of the country.

import { serve } from './http.ts'
import { startService } from './service.ts'
import { storeClient } from './store-client.ts'

const STORE_TIMEOUT_MS = 800

let stop = (): void => undefined
const { layout, port, telemetry, config, cache } = await startService('payments', () => stop())
const store = storeClient(telemetry, layout.ports.store, STORE_TIMEOUT_MS)

const server = await serve(telemetry, port, {
  'GET /healthz': () => ({ status: 200, body: { ok: true } }),
  'POST /payments': async query => {
    const country = query.get('country') ?? ''
    try {
      await store('ADD', `${country} ${Number(query.get('amount')) + (cache[country] ?? 0)}`)
    } catch (error) {
      telemetry.error(`payment not booked: ${(error as Error).message}`)
      return { status: 503, body: { error: 'store failed' } }
    }
    if (config().countries[country] === undefined) {
      telemetry.error(`payment refused: configuration lacks a provider for ${country}`)
      return { status: 500, body: { error: 'no provider' } }
    }
    return { status: 200, body: { ok: true } }
  }
})
stop = () => void server.close()
