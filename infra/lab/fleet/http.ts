// HTTP between the services with W3C trace context: SERVER spans and duration on one side, CLIENT spans and time-outs on the other.
//
// By hand rather than by auto-instrumentation: a service stays small (memory, start time) and every attribute is visible here.
// `/healthz` and `/admin/*` are for the lab's own probes and injector and leave no telemetry.

import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { Telemetry } from './telemetry.ts'

/** Advisory boundaries of the semantic conventions for HTTP durations, in seconds. */
const BOUNDARIES_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const SOCKETS_MAX = 64 // A hung callee holds a socket for a time-out each; beyond this requests queue in the agent.

export interface Answer {
  status: number
  body: object
}
export type Handler = (query: URLSearchParams) => Promise<Answer> | Answer

/** Serves `routes` (`'POST /orders'` → handler) on loopback. A handler that throws is a 500. */
export async function serve(telemetry: Telemetry, port: number, routes: Readonly<Record<string, Handler>>): Promise<Server> {
  const duration = telemetry.meter.createHistogram('http.server.request.duration', {
    unit: 's',
    description: 'Duration of HTTP server requests.',
    advice: { explicitBucketBoundaries: BOUNDARIES_S }
  })
  const server = createServer((incoming, outgoing) => {
    const url = new URL(incoming.url ?? '/', 'http://localhost')
    const method = incoming.method ?? 'GET'
    const handler = routes[`${method} ${url.pathname}`]
    if (!handler) return send(outgoing, { status: 404, body: { error: 'no such route' } })
    if (url.pathname === '/healthz' || url.pathname.startsWith('/admin/')) return void answer(handler, url.searchParams).then(result => send(outgoing, result))
    void serveTraced(incoming, outgoing, method, url, handler)
  })

  async function serveTraced(incoming: IncomingMessage, outgoing: ServerResponse, method: string, url: URL, handler: Handler): Promise<void> {
    const begun = performance.now()
    const attributes = { 'http.request.method': method, 'http.route': url.pathname }
    const parent = propagation.extract(context.active(), incoming.headers)
    const span = telemetry.tracer.startSpan(`${method} ${url.pathname}`, { kind: SpanKind.SERVER, attributes }, parent)
    const result = await context.with(trace.setSpan(parent, span), () => answer(handler, url.searchParams, span))
    span.setAttribute('http.response.status_code', result.status)
    if (result.status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    send(outgoing, result)
    span.end()
    duration.record((performance.now() - begun) / 1_000, { ...attributes, 'http.response.status_code': result.status })
  }

  server.keepAliveTimeout = 30_000
  return new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server)))
}

async function answer(handler: Handler, query: URLSearchParams, span?: Span): Promise<Answer> {
  try {
    return await handler(query)
  } catch (error) {
    span?.recordException(error as Error)
    return { status: 500, body: { error: (error as Error).message } }
  }
}

function send(outgoing: ServerResponse, { status, body }: Answer): void {
  const text = JSON.stringify(body)
  outgoing.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}

export type Call = (path: string) => Promise<{ status: number }>

/**
 * A client of one peer. The call answers the peer's status, or 504 after `timeoutMs`, or 503 when it cannot be reached.
 */
export function httpClient(telemetry: Telemetry, peer: string, port: number, timeoutMs: number): Call {
  const agent = new Agent({ keepAlive: true, maxSockets: SOCKETS_MAX })
  return path => {
    const span = telemetry.tracer.startSpan(`POST ${path.split('?')[0]}`, {
      kind: SpanKind.CLIENT,
      attributes: { 'http.request.method': 'POST', 'server.address': '127.0.0.1', 'server.port': port, 'peer.service': peer }
    })
    const headers: Record<string, string> = {}
    propagation.inject(trace.setSpan(context.active(), span), headers)
    return new Promise(resolve => {
      const settle = (status: number, errorType?: string): void => {
        clearTimeout(timer)
        span.setAttribute('http.response.status_code', status)
        if (errorType) span.setAttribute('error.type', errorType)
        if (status >= 400) span.setStatus({ code: SpanStatusCode.ERROR, message: errorType ?? `status ${status}` })
        span.end()
        resolve({ status })
      }
      const outgoing = request({ host: '127.0.0.1', port, path, method: 'POST', agent, headers }, incoming => {
        incoming.resume()
        incoming.once('end', () => settle(incoming.statusCode ?? 500))
        incoming.once('error', () => settle(503, 'connection_lost'))
      })
      const timer = setTimeout(() => {
        outgoing.removeAllListeners('error').on('error', () => undefined) // Destroying it reports an error that we know of.
        outgoing.destroy()
        settle(504, 'timeout')
      }, timeoutMs)
      outgoing.once('error', error => settle(503, (error as NodeJS.ErrnoException).code ?? 'connection_lost')).end()
    })
  }
}
