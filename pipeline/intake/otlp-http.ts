// OTLP over HTTP/1.1: POST /v1/metrics | /v1/traces | /v1/logs, protobuf or JSON, answered in the request's own type. And, where it
// is asked for, POST /v1/alerts from an Alertmanager (alerts.ts).
//
// Plain node:http: the handler needs the raw body and nothing of a framework. Refusals that come before the whole body
// close the connection, after the peer had a moment to read them.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { AppError } from '../../schemas/errors.ts'
import type { Lease } from './admission.ts'
import { ALERTS_BYTES_MAX, ALERTS_PATH } from './alerts.ts'
import { type Encoding, tooLarge } from './decompress.ts'
import { type Exchange, type HttpAnswers, httpAnswers, JSON_TYPE, PROTOBUF } from './http-answers.ts'
import type { Arrival } from './receive.ts'
import type { Signal } from './slices.ts'
import {
  CONNECTIONS_MAX,
  type Door,
  type DoorOptions,
  DRAIN_MS,
  HEADER_BYTES_MAX,
  HEADERS_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  listen,
  openProbation,
  outcomeOf,
  peerAddress,
  REQUEST_TIMEOUT_MS,
  tlsOptions
} from './transport.ts'

const PATHS: Readonly<Record<string, Signal | undefined>> = { '/v1/metrics': 'metrics', '/v1/traces': 'spans', '/v1/logs': 'logs' }
const HEADERS_COUNT_MAX = 100
const CHECK_INTERVAL_MS = 2_000 // How often Node looks for connections over their time.

/** Binds the HTTP door. @throws AppError `config_invalid` */
export async function openHttpDoor(options: DoorOptions): Promise<Door> {
  const settings = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
    noDelay: true
  }
  const server = options.tls === undefined ? createServer(settings) : createTlsServer({ ...settings, ...tlsOptions(options.tls) })
  server.maxHeadersCount = HEADERS_COUNT_MAX
  server.maxConnections = CONNECTIONS_MAX
  const probation = openProbation<string>()
  let draining = false
  const answers = httpAnswers(options, () => draining)
  const serve = httpHandler(options, answers)
  server.on('connection', (socket: Socket) => probation.add(socketName(socket), socket))
  server.on('request', (request, response) => {
    probation.prove(socketName(request.socket))
    void serve(request, response)
  })
  // Preflight before a body that waits for leave: an oversized one is refused without being sent.
  server.on('checkContinue', (request, response) => void serve(request, response, true))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseConnection(error, socket as Socket, answers.retryAfter))
  const address = await listen(server, options.address, 'http')

  async function drain(): Promise<void> {
    draining = true
    const done = new AbortController()
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    void closed.then(() => done.abort())
    await options.clock.sleep(DRAIN_MS, done.signal)
    server.closeAllConnections()
    await closed
  }

  let closing: Promise<void> | undefined
  return {
    address,
    close() {
      closing ??= drain()
      return closing
    }
  }
}

type Serve = (request: IncomingMessage, response: ServerResponse, expectsContinue?: boolean) => Promise<void>

function httpHandler({ receiver, clock, ...options }: DoorOptions, answers: HttpAnswers): Serve {
  const outcome = outcomeOf(options, 'http')

  function examine(request: IncomingMessage, signal: Signal, arrivedMs: number): Arrival {
    receiver.authorize(request.headers.authorization)
    const type = mediaType(request)
    if (type !== PROTOBUF && type !== JSON_TYPE) {
      throw new AppError('unsupported_encoding', `content type '${type}' is not spoken here; send ${PROTOBUF} or ${JSON_TYPE}`)
    }
    const encoding = contentEncoding(request)
    if (Number(request.headers['content-length'] ?? 0) > receiver.bodyBytesMax) throw tooLarge(receiver.bodyBytesMax, 'received')
    return { signal, transport: 'http', encoding, format: type === JSON_TYPE ? 'json' : 'protobuf', peer: peerAddress(request.socket), arrivedMs }
  }

  async function takeAlerts(exchange: Exchange, receiveAlerts: (body: Uint8Array) => Promise<void>, expectsContinue: boolean): Promise<void> {
    const { request, response } = exchange
    const lease = receiver.lease()
    try {
      receiver.authorize(request.headers.authorization)
      if (mediaType(request) !== JSON_TYPE) throw new AppError('unsupported_encoding', `alerts come as ${JSON_TYPE}`)
      const bytesMax = Math.min(receiver.bodyBytesMax, ALERTS_BYTES_MAX)
      if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax, 'received')
      if (expectsContinue) response.writeContinue()
      const body = await readBody(request, bytesMax, lease)
      if (body === undefined) return
      await receiveAlerts(body)
      outcome('alerts')
      answers.success(exchange, 'logs', 0, '') // `{}`: Alertmanager reads the status only.
    } catch (error) {
      answers.refusal(exchange, outcome('alerts', error)!)
    } finally {
      lease.release()
    }
  }

  return async function serve(request, response, expectsContinue = false) {
    const arrivedMs = clock.monotonicMs()
    const path = request.url!.split('?', 1)[0]!
    const signal = PATHS[path]
    const exchange = { request, response, json: mediaType(request) !== PROTOBUF } // JSON for whoever sent something else: it reads well in a terminal.
    if (path === ALERTS_PATH && receiver.receiveAlerts !== undefined && request.method === 'POST')
      return takeAlerts(exchange, receiver.receiveAlerts, expectsContinue)
    if (signal === undefined) return answers.status(exchange, 404, `no such path: ${path.slice(0, 100)}`)
    if (request.method !== 'POST') return answers.status(exchange, 405, `${request.method} is not allowed here, only POST`)
    const lease = receiver.lease()
    let handedOver = false
    try {
      const arrival = examine(request, signal, arrivedMs)
      if (expectsContinue) response.writeContinue()
      const body = await readBody(request, receiver.bodyBytesMax, lease)
      if (body === undefined) return // The peer went away: nobody to answer, nothing taken.
      handedOver = true
      const { rejected, reason } = await receiver.receive(arrival, body, lease)
      outcome(signal)
      answers.success(exchange, signal, rejected, reason)
    } catch (error) {
      answers.refusal(exchange, outcome(signal, error)!)
    } finally {
      if (!handedOver) lease.release()
    }
  }
}

/** The same for a TLS socket and the one below it. */
function socketName(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase()
}

function contentEncoding(request: IncomingMessage): Encoding {
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (encoding === 'identity' || encoding === 'gzip' || encoding === 'zstd') return encoding
  throw new AppError('unsupported_encoding', `content encoding '${encoding.slice(0, 40)}' is not spoken here; send gzip, zstd or identity`)
}

/** The whole body, or undefined when the peer went away. @throws AppError `body_too_large`, `overloaded` */
function readBody(request: IncomingMessage, bytesMax: number, lease: Lease): Promise<Uint8Array | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      try {
        if (length > bytesMax) throw tooLarge(bytesMax, 'received')
        lease.grow(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        stop()
        reject(error)
      }
    }
    const onEnd = (): void => {
      stop()
      resolve(lease.join(chunks, length))
    }
    const onClose = (): void => {
      stop()
      resolve(undefined)
    }
    const stop = (): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose)
    }
    request.on('data', onData).on('end', onEnd).on('close', onClose)
    request.on('error', () => {}) // `close` follows and decides.
  })
}

/** Answers what is not HTTP, or too slow to be a request, where there is no request object yet. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket, retryAfter: string): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  // A request that was too slow may have been honest: 503 lets its sender come again (408 would make Collectors drop it).
  const slow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const status = slow ? '503 Service Unavailable' : error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
  socket.end(`HTTP/1.1 ${status}\r\n${slow ? `Retry-After: ${retryAfter}\r\n` : ''}Content-Length: 0\r\nConnection: close\r\n\r\n`)
  socket.destroySoon()
}
