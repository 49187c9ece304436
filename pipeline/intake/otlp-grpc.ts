// OTLP over gRPC: the three Export methods, straight on node:http2.
//
// A unary call is one length-prefixed message in, one out, and trailers; the handler needs its raw bytes and nothing of a
// generated service. Own framing also speaks zstd and judges the limit before and after decompression, which grpc-js does not.
//   request   HEADERS (path, grpc-encoding, grpc-timeout)  DATA: flag (1) length (4) message
//   answer    HEADERS  DATA  trailers grpc-status      or, refused: HEADERS alone with grpc-status (+ grpc-status-details-bin)

import {
  createSecureServer,
  createServer,
  constants as http2,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream
} from 'node:http2'
import type { Socket } from 'node:net'
import { AppError } from '../../schemas/errors.ts'
import type { Lease } from './admission.ts'
import { GRPC, type Refusal, statusBytes, successBytes } from './answer.ts'
import { type Encoding, tooLarge } from './decompress.ts'
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

const method = (signal: string, service: string): string => `/opentelemetry.proto.collector.${signal}.v1.${service}Service/Export`
const METHODS: Readonly<Record<string, Signal | undefined>> = {
  [method('metrics', 'Metrics')]: 'metrics',
  [method('trace', 'Trace')]: 'spans',
  [method('logs', 'Logs')]: 'logs'
}
const PREFIX_BYTES = 5
const COMPRESSED = 1
const STREAMS_MAX = 100 // Calls at once on one connection; a Collector's queue has 10 consumers.
const STREAM_WINDOW_BYTES = 2 ** 20 // HTTP/2's 64 KiB would cost a round trip for each 64 KiB of a batch.
const SESSION_WINDOW_BYTES = 8 * 2 ** 20
const SESSION_MEMORY_MB = 64 // nghttp2's own queues; beyond it new calls of the connection are refused.
const ACCEPT_ENCODING = { 'grpc-accept-encoding': 'identity,gzip,zstd' }

/** Binds the gRPC door. @throws AppError `config_invalid` */
export async function openGrpcDoor(options: DoorOptions): Promise<Door> {
  const sessions = new Set<ServerHttp2Session>()
  const sockets = new Set<Socket>()
  const server = openServer(options)
  server.maxConnections = CONNECTIONS_MAX
  const probation = openProbation<ServerHttp2Session>()
  const serve = grpcHandler(options)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('session', session => {
    sessions.add(session)
    probation.add(session, session)
    session.setLocalWindowSize(SESSION_WINDOW_BYTES)
    session.setTimeout(HEADERS_TIMEOUT_MS, () => session.close()) // A connection that never calls is not worth its memory …
    session.once('stream', () => session.setTimeout(IDLE_TIMEOUT_MS)) // … one that called may rest between exports.
    session.once('close', () => sessions.delete(session))
    session.on('error', () => session.destroy())
  })
  server.on('stream', (stream, headers) => {
    probation.prove(stream.session as ServerHttp2Session)
    void serve(stream, headers)
  })
  server.on('sessionError', () => {}) // The session's own handler has destroyed it.
  const address = await listen(server, options.address, 'grpc')

  async function drain(): Promise<void> {
    const done = new AbortController()
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    void closed.then(() => done.abort())
    for (const session of sessions) session.close() // GOAWAY: calls under way finish, new ones go elsewhere.
    await options.clock.sleep(DRAIN_MS, done.signal)
    // A session that was closed in good order waits for its peer to hang up, however long: its socket is cut instead.
    for (const socket of sockets) socket.destroy()
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

function grpcHandler({ receiver, clock, retryAfterMs, ...options }: DoorOptions) {
  const outcome = outcomeOf(options, 'grpc')

  function examine(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, signal: Signal, arrivedMs: number): Arrival {
    receiver.authorize(headers.authorization)
    const clientTimeoutMs = parseTimeout(headers['grpc-timeout'])
    return {
      signal,
      transport: 'grpc',
      encoding: messageEncoding(headers),
      format: 'protobuf',
      peer: peerAddress(stream.session?.socket),
      arrivedMs,
      ...(clientTimeoutMs === undefined ? {} : { clientTimeoutMs })
    }
  }

  return async function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const arrivedMs = clock.monotonicMs()
    stream.on('error', () => {}) // `close` follows; a reset is the peer's way of giving up.
    const cut = setTimeout(() => stream.close(http2.NGHTTP2_CANCEL), REQUEST_TIMEOUT_MS).unref()
    stream.once('close', () => clearTimeout(cut))
    if (!headers['content-type']?.startsWith('application/grpc')) return refuseNonGrpc(stream)
    const path = headers[':path'] ?? ''
    const signal = METHODS[path]
    const lease = receiver.lease()
    let handedOver = false
    try {
      if (signal === undefined) throw new AppError('not_found', `${path.slice(0, 200)} is not served here`)
      const arrival = examine(stream, headers, signal, arrivedMs)
      const message = await readMessage(stream, receiver.bodyBytesMax, lease)
      if (message === undefined) return // The peer gave up: nobody to answer, nothing taken.
      handedOver = true
      const encoding = message.compressed ? arrival.encoding : 'identity'
      const { rejected, reason } = await receiver.receive({ ...arrival, encoding }, message.body, lease)
      outcome(signal)
      succeed(stream, successBytes(rejected, reason))
    } catch (error) {
      refuse(stream, outcome(signal ?? 'none', error)!, retryAfterMs)
    } finally {
      if (!handedOver) lease.release()
    }
  }
}

function refuse(stream: ServerHttp2Stream, { grpc, message, retry }: Refusal, retryAfterMs: number): void {
  if (stream.destroyed || stream.headersSent) return
  const details = statusBytes(grpc, message, retry ? retryAfterMs : undefined)
  const headers = {
    ':status': 200,
    'content-type': 'application/grpc',
    ...ACCEPT_ENCODING,
    'grpc-status': String(grpc),
    'grpc-message': percentEncoded(message),
    'grpc-status-details-bin': Buffer.from(details).toString('base64')
  }
  stream.respond(headers, { endStream: true })
  stream.resume() // What is still coming is thrown away; the stream's own timer ends a sender who does not stop.
}

function openServer(options: DoorOptions): Http2Server {
  const settings = {
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: STREAMS_MAX,
      maxHeaderListSize: HEADER_BYTES_MAX,
      enablePush: false
    },
    maxSessionMemory: SESSION_MEMORY_MB
  }
  if (options.tls === undefined) return createServer(settings)
  return createSecureServer({ ...settings, ...tlsOptions(options.tls), allowHTTP1: false }) as unknown as Http2Server
}

/** Status messages travel as printable ASCII; the rest of their UTF-8 as %XX. */
function percentEncoded(message: string): string {
  return message.replace(/[^\x20-\x24\x26-\x7e]+/g, part => encodeURIComponent(part.toWellFormed()))
}

/** Somebody else's protocol on our port: an HTTP answer, since gRPC would not be understood. */
function refuseNonGrpc(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 415 }, { endStream: true })
  stream.resume()
}

function succeed(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.destroyed) return
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...ACCEPT_ENCODING }, { waitForTrailers: true })
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(GRPC.ok) }))
  const frame = Buffer.alloc(PREFIX_BYTES + message.length)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, PREFIX_BYTES)
  stream.end(frame)
}

function messageEncoding(headers: IncomingHttpHeaders): Encoding {
  const encoding = headers['grpc-encoding'] ?? 'identity'
  if (encoding === 'identity' || encoding === 'gzip' || encoding === 'zstd') return encoding
  throw new AppError('unsupported_encoding', `grpc-encoding '${String(encoding).slice(0, 40)}' is not spoken here; send gzip, zstd or identity`)
}

const TIMEOUT_UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }

/** `grpc-timeout` in milliseconds; undefined when absent or not of the protocol's form, which then sets no deadline. */
export function parseTimeout(header: string | string[] | undefined): number | undefined {
  const parts = /^(\d{1,8})([HMSmun])$/.exec(String(header ?? ''))
  return parts === null ? undefined : Number(parts[1]) * TIMEOUT_UNIT_MS[parts[2]!]!
}

interface Message {
  compressed: boolean
  body: Uint8Array
}

/** The one message of a unary call, or undefined when the peer gave up. @throws AppError `body_too_large`, `overloaded`, `malformed_otlp` */
function readMessage(stream: ServerHttp2Stream, bytesMax: number, lease: Lease): Promise<Message | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    let checked = false
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      chunks.push(chunk)
      try {
        lease.grow(chunk.length)
        if (!checked && length >= PREFIX_BYTES) {
          checked = true
          if (bodyLength(Buffer.concat(chunks)) > bytesMax) throw tooLarge(bytesMax, 'received')
        }
        if (length > bytesMax + PREFIX_BYTES) throw tooLarge(bytesMax, 'received')
      } catch (error) {
        stop()
        reject(error)
      }
    }
    const onEnd = (): void => {
      stop()
      const frame = lease.join(chunks, length)
      const announced = length >= PREFIX_BYTES ? bodyLength(frame) : -1
      if (announced !== length - PREFIX_BYTES)
        reject(new AppError('malformed_otlp', `a message of ${announced} bytes was announced, ${length - PREFIX_BYTES} came`))
      else if (frame[0]! > COMPRESSED) reject(new AppError('malformed_otlp', `message flag ${frame[0]} is neither 0 nor 1`))
      else resolve({ compressed: frame[0] === COMPRESSED, body: frame.subarray(PREFIX_BYTES) })
    }
    const onClose = (): void => {
      stop()
      resolve(undefined)
    }
    const stop = (): void => {
      stream.off('data', onData).off('end', onEnd).off('close', onClose)
    }
    stream.on('data', onData).on('end', onEnd).on('close', onClose)
  })
}

/** The length that a frame of at least its prefix announces. */
function bodyLength(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(1)
}
