// A small API for the http driver's tests: it counts effects by idempotency key, and knows which it has seen.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { HttpEndpoint } from '../../../../actuators/drivers/http.ts'
import type { DriverOrder } from '../../../../schemas/ports.ts'

export const SECRET = 'Bearer s3cr3t-t0ken'
export const never = new AbortController().signal

export interface Seen {
  method: string
  url: string
  rawHeaders: string[]
  headers: IncomingMessage['headers']
  body: string
}
export interface Api {
  url: string
  seen: Seen[]
  /** Effects by idempotency key, counted by the server. */
  effects: Map<string, number>
  answer: (seen: Seen, response: ServerResponse) => void
  close(): Promise<void>
}

export async function openApi(): Promise<Api> {
  const api: Partial<Api> & Pick<Api, 'seen' | 'effects' | 'answer'> = { seen: [], effects: new Map(), answer: (_seen, response) => response.end('ok') }
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      return // The sender died on its way: nothing was ordered.
    }
    const { method = '', url = '', rawHeaders, headers } = request
    const seen = { method, url, rawHeaders, headers, body: Buffer.concat(chunks).toString('utf8') }
    api.seen.push(seen)
    if (method === 'GET') {
      response.statusCode = api.effects.has(decodeURIComponent(url.split('/').at(-1)!)) ? 200 : 404
      return response.end()
    }
    const key = String(headers['idempotency-key'] ?? '')
    api.effects.set(key, (api.effects.get(key) ?? 0) + 1)
    api.answer(seen, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  api.close = () =>
    new Promise<void>(resolve => {
      server.closeAllConnections()
      server.close(() => resolve())
    })
  return api as Api
}

export const endpoint = (over: Partial<HttpEndpoint> & { url: string }): HttpEndpoint => ({
  method: 'POST',
  headers: { authorization: SECRET },
  statusMax: 299,
  timeout: 60_000,
  ...over
})
export const endpointsOf = (url: string): Record<string, HttpEndpoint> => ({
  post: endpoint({ url: `${url}/act/{target}` }),
  put: endpoint({ method: 'PUT', url: `${url}/desired` }),
  asked: endpoint({ url: `${url}/act`, statusUrl: `${url}/orders/{key}` })
})
export const anOrder = (verb: string, key: string, over: Partial<DriverOrder> = {}): DriverOrder => ({
  ...{ idempotencyKey: key, target: 'orders', verb, args: { replicas: 3 }, fence: 1, deadlineMs: Date.now() + 120_000 },
  ...over
})
