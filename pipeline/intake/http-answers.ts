// Answers of the HTTP door, each in the request's own type.
//
// An answer that comes before the whole body was read closes the connection, after the peer had a moment to read it.

import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Refusal, statusBytes, statusJson, successBytes, successJson } from './answer.ts'
import type { Signal } from './slices.ts'
import type { DoorOptions } from './transport.ts'

export const PROTOBUF = 'application/x-protobuf'
export const JSON_TYPE = 'application/json'
const LINGER_MS = 2_000 // A refused sender may still be writing; cut at once, it would see a reset instead of the answer.
const NEAREST_GRPC = { 404: 5, 405: 12 } as const // NOT_FOUND, UNIMPLEMENTED: for what concerns HTTP alone.

export interface Exchange {
  request: IncomingMessage
  response: ServerResponse
  json: boolean
}

export interface HttpAnswers {
  /** Value of `Retry-After`: whole seconds, at least one. */
  retryAfter: string
  success(exchange: Exchange, signal: Signal, rejected: number, reason: string): void
  refusal(exchange: Exchange, refused: Refusal): void
  status(exchange: Exchange, http: 404 | 405, message: string): void
}

export function httpAnswers({ clock, meter, retryAfterMs }: DoorOptions, isDraining: () => boolean): HttpAnswers {
  const retryAfter = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)))

  function answer({ request, response, json }: Exchange, status: number, body: Uint8Array | string, extra: Record<string, string> = {}): void {
    if (response.destroyed || response.headersSent) return
    const early = !request.complete && hasBody(request)
    response.writeHead(status, {
      'content-type': json ? JSON_TYPE : PROTOBUF,
      'content-length': Buffer.byteLength(body),
      ...extra,
      ...(early || isDraining() ? { connection: 'close' } : {})
    })
    if (!early) {
      response.end(body)
      return
    }
    // The answer is whole on the wire; the connection is closed when the sender has stopped writing, or after a moment.
    response.write(body)
    const done = new AbortController()
    const stopped = (): void => done.abort()
    request.once('close', stopped).once('end', stopped).resume()
    void clock.sleep(LINGER_MS, done.signal).then(() => response.end())
  }

  return {
    retryAfter,
    success(exchange, signal, rejected, reason) {
      answer(exchange, 200, exchange.json ? successJson(signal, rejected, reason) : successBytes(rejected, reason))
    },
    refusal(exchange, { http, grpc, message, retry }) {
      const extra = { ...(retry ? { 'retry-after': retryAfter } : {}), ...(http === 401 ? { 'www-authenticate': 'Bearer' } : {}) }
      const delayMs = retry ? retryAfterMs : undefined
      answer(exchange, http, exchange.json ? statusJson(grpc, message, delayMs) : statusBytes(grpc, message, delayMs), extra)
    },
    status(exchange, http, message) {
      meter.count('homeostat.intake.refused', 1, { signal: 'none', transport: 'http', code: `http_${http}` })
      const code = NEAREST_GRPC[http]
      answer(exchange, http, exchange.json ? statusJson(code, message) : statusBytes(code, message), http === 405 ? { allow: 'POST' } : {})
    }
  }
}

function hasBody(request: IncomingMessage): boolean {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
}
