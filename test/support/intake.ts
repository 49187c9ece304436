// An intake over a log in memory, and plain clients of both doors, for tests.

import { type IncomingHttpHeaders, request as httpRequest } from 'node:http'
import { connect, type OutgoingHttpHeaders } from 'node:http2'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { Intake } from '../../pipeline/intake/intake.ts'
import { systemClock } from '../../pipeline/system.ts'
import { type Config, configSchema } from '../../schemas/config.ts'
import type { Clock, Logger, Meter } from '../../schemas/ports.ts'
import { type MemoryLog, memoryLog } from './memory-log.ts'

export interface LoggedLine {
  level: 'debug' | 'info' | 'warn' | 'error'
  fields: Record<string, unknown>
  message: string
}

/** A logger that keeps its lines. */
export function keptLogger(): Logger & { lines: LoggedLine[] } {
  const lines: LoggedLine[] = []
  const at = (level: LoggedLine['level']) => (fields: object, message: string) => void lines.push({ level, fields: { ...fields }, message })
  const logger = { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => logger }
  return logger
}

/** A meter that keeps sums: `total(name, attributes)` adds up what matches. */
export function keptMeter(): Meter & { total(name: string, attributes?: Record<string, string>): number } {
  const counts: { name: string; value: number; attributes: Readonly<Record<string, string>> }[] = []
  return {
    count: (name, value = 1, attributes = {}) => void counts.push({ name, value, attributes }),
    gauge: () => {},
    total: (name, wanted = {}) =>
      counts
        .filter(count => count.name === name && Object.entries(wanted).every(([key, value]) => count.attributes[key] === value))
        .reduce((sum, count) => sum + count.value, 0)
  }
}

/** The intake section with defaults, ports free to choose. */
export function intakeConfig(changes: Partial<Config['intake']> = {}): Config['intake'] {
  const { intake } = configSchema.parse({ apiVersion: 'homeostat.io/v1', kind: 'Homeostat' })
  return { ...intake, grpc: { host: '127.0.0.1', port: 0 }, http: { host: '127.0.0.1', port: 0 }, ...changes }
}

export async function openTestIntake(options: { config?: Partial<Config['intake']>; log?: MemoryLog; clock?: Clock } = {}) {
  const log = options.log ?? memoryLog()
  const logger = keptLogger()
  const meter = keptMeter()
  const clock = options.clock ?? systemClock
  const intake = await Intake.open({ config: intakeConfig(options.config), environment: 'test', log, clock, logger, meter })
  return { intake, log, logger, meter }
}

export interface HttpAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}
export interface HttpCall {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: Uint8Array | string
}

/** One HTTP request on a connection of its own. */
export function httpCall(address: string, { method = 'POST', path = '/v1/metrics', headers = {}, body }: HttpCall): Promise<HttpAnswer> {
  const [host, port] = address.split(':')
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host, port, method, path, agent: false, headers: { 'content-type': 'application/x-protobuf', ...headers } }, response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

export const GRPC_METHODS = {
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  spans: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export'
} as const

export interface GrpcAnswer {
  code: number
  message: string
  body: Buffer
  details: Buffer
}

/** One unary call by the grpc-js client, bytes in and bytes out. */
export function grpcCall(
  address: string,
  call: { method?: string; body: Uint8Array; metadata?: Record<string, string>; deadlineMs?: number; gzip?: boolean }
): Promise<GrpcAnswer> {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
    ...(call.gzip ? { 'grpc.default_compression_algorithm': 2 } : {})
  })
  const metadata = new Metadata()
  for (const [key, value] of Object.entries(call.metadata ?? {})) metadata.set(key, value)
  const deadline = call.deadlineMs === undefined ? {} : { deadline: Date.now() + call.deadlineMs }
  const bytes = (value: Uint8Array): Buffer => Buffer.from(value)
  return new Promise(resolve => {
    const done = (error: ServiceError | null, body?: Buffer): void => {
      client.close()
      const details = error?.metadata.get('grpc-status-details-bin')[0] as Buffer | undefined
      resolve({ code: error?.code ?? 0, message: error?.details ?? '', body: body ?? Buffer.alloc(0), details: details ?? Buffer.alloc(0) })
    }
    client.makeUnaryRequest<Uint8Array, Buffer>(call.method ?? GRPC_METHODS.metrics, bytes, value => value, call.body, metadata, deadline, done)
  })
}

/** One HTTP/2 request with any headers and any bytes: for what a proper gRPC client would never send. */
export function http2Call(
  address: string,
  headers: OutgoingHttpHeaders,
  body: Uint8Array
): Promise<{ headers: Record<string, unknown>; trailers: Record<string, unknown> }> {
  const session = connect(`http://${address}`)
  return new Promise((resolve, reject) => {
    session.on('error', reject)
    const all = { ':method': 'POST', ':path': GRPC_METHODS.metrics, 'content-type': 'application/grpc', te: 'trailers', ...headers }
    const stream = session.request(all)
    const answer = { headers: {} as Record<string, unknown>, trailers: {} as Record<string, unknown> }
    stream.on('response', got => Object.assign(answer.headers, got))
    stream.on('trailers', got => Object.assign(answer.trailers, got))
    stream.on('error', reject)
    stream.on('close', () => {
      session.close()
      resolve(answer)
    })
    stream.resume()
    stream.end(body)
  })
}

/** A gRPC message frame. */
export function grpcFrame(message: Uint8Array, flag = 0): Buffer {
  const frame = Buffer.alloc(5 + message.length)
  frame[0] = flag
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, 5)
  return frame
}

/** Waits for real I/O of the process itself: turns of the event loop, no fixed time. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setImmediate(resolve))
}
