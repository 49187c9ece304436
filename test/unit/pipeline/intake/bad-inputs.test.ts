// The table of bad inputs and their answers, over both doors, on real sockets.

import { gzipSync, zstdCompressSync } from 'node:zlib'
import protobuf from 'protobufjs'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { AppError } from '../../../../schemas/errors.ts'
import { GRPC_METHODS, type GrpcAnswer, grpcCall, grpcFrame, type HttpCall, http2Call, httpCall, openTestIntake } from '../../../support/intake.ts'
import { aMetricsRequest, encodeOtlp } from '../../../support/otlp.ts'

const LIMIT = 256 * 1024
const STATUS = protobuf.parse(`syntax = "proto3"; package google.rpc;
message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
message Any { string type_url = 1; bytes value = 2; }
message RetryInfo { Duration retry_delay = 1; } message Duration { int64 seconds = 1; int32 nanos = 2; }`).root

const good = aMetricsRequest()
const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024)) // 64 MiB in 64 KiB: below the limit as it comes, far above once unpacked.
const big = encodeOtlp('logs', { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'x'.repeat(LIMIT) } }] }] }] })
const json = { 'content-type': 'application/json' }
const token = { authorization: 'Bearer right' }

let open: Awaited<ReturnType<typeof openTestIntake>>
beforeAll(async () => {
  open = await openTestIntake({ config: { tokens: ['left', 'right'], bodyBytesMax: LIMIT, retryAfter: 1_500 } })
})
afterAll(() => open.intake.close())
beforeEach(() => open.log.failAppends(undefined))

function decodeStatus(bytes: Uint8Array): { code: number; message: string; retryMs: number | undefined } {
  const { code, message, details } = STATUS.lookupType('google.rpc.Status').decode(bytes) as any
  if (details.length === 0) return { code, message, retryMs: undefined }
  expect(details[0].typeUrl).toBe('type.googleapis.com/google.rpc.RetryInfo')
  const { retryDelay } = STATUS.lookupType('google.rpc.RetryInfo').decode(details[0].value) as any
  return { code, message, retryMs: Number(retryDelay.seconds) * 1_000 + retryDelay.nanos / 1e6 }
}

interface HttpRow extends HttpCall {
  what: string
  status: number
  says: RegExp
}
const HTTP_ROWS: HttpRow[] = [
  { what: 'a truncated protobuf', body: good.subarray(0, -3), status: 400, says: /at byte \d+/ },
  { what: 'text as protobuf', body: 'hello world', status: 400, says: /at byte/ },
  { what: 'a field that ends behind its message', body: Uint8Array.from([0x0a, 0x7f, 0x01]), status: 400, says: /at byte 1/ },
  { what: 'JSON cut in the middle', headers: json, body: '{"resourceMetrics": [', status: 400, says: /not JSON: .*end of JSON/ },
  { what: 'JSON of another shape', headers: json, body: '{"resourceMetrics": {}}', status: 400, says: /array is expected at resourceMetrics/ },
  {
    what: 'JSON with text for a number',
    headers: json,
    body: '{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"many"}]}}]}]}]}',
    status: 400,
    says: /integer is expected at resourceMetrics\[0\].scopeMetrics\[0\].metrics\[0\].gauge.dataPoints\[0\].asInt/
  },
  { what: 'JSON that is not UTF-8', headers: json, body: Buffer.from([0x7b, 0xff, 0x7d]), status: 400, says: /not JSON/ },
  { what: 'a body that says gzip and is not', headers: { 'content-encoding': 'gzip' }, body: good, status: 400, says: /not valid gzip/ },
  { what: 'a truncated gzip body', headers: { 'content-encoding': 'gzip' }, body: gzipSync(good).subarray(0, -12), status: 400, says: /not valid gzip/ },
  { what: 'a body that says zstd and is not', headers: { 'content-encoding': 'zstd' }, body: good, status: 400, says: /not valid zstd/ },
  { what: 'a content type we do not speak', headers: { 'content-type': 'text/plain' }, body: 'cpu 1', status: 415, says: /text\/plain/ },
  { what: 'no content type', headers: { 'content-type': '' }, body: good, status: 415, says: /content type/ },
  { what: 'a content encoding we do not speak', headers: { 'content-encoding': 'br' }, body: good, status: 415, says: /'br'/ },
  { what: 'a body over the limit', path: '/v1/logs', body: big, status: 413, says: /received body is over the limit of 262144/ },
  {
    what: 'a body over the limit without a length',
    path: '/v1/logs',
    headers: { 'transfer-encoding': 'chunked' },
    body: big,
    status: 413,
    says: /received body is over/
  },
  {
    what: 'a body over the limit once unpacked',
    path: '/v1/logs',
    headers: { 'content-encoding': 'gzip' },
    body: gzipSync(big),
    status: 413,
    says: /decompressed/
  },
  { what: 'the same in zstd', path: '/v1/logs', headers: { 'content-encoding': 'zstd' }, body: zstdCompressSync(big), status: 413, says: /decompressed/ },
  { what: 'a gzip bomb', headers: { 'content-encoding': 'gzip' }, body: bomb, status: 413, says: /decompressed/ },
  { what: 'a wrong token', headers: { authorization: 'Bearer wrong' }, body: good, status: 401, says: /not known/ },
  { what: 'another scheme than bearer', headers: { authorization: 'Basic cmlnaHQ=' }, body: good, status: 401, says: /no bearer token/ },
  { what: 'no token', headers: { authorization: '' }, body: good, status: 401, says: /no bearer token/ },
  { what: 'an unknown path', path: '/v1/profiles', body: good, status: 404, says: /no such path/ },
  { what: 'another method', method: 'PUT', body: good, status: 405, says: /PUT/ },
  { what: 'a GET', method: 'GET', status: 405, says: /GET/ }
]

describe('OTLP/HTTP', () => {
  test.each(HTTP_ROWS)('$what → $status', async ({ status, says, ...call }) => {
    const answer = await httpCall(open.intake.addresses.http, { ...call, headers: { ...token, ...call.headers } })
    expect(answer.status).toBe(status)
    expect(answer.headers['retry-after']).toBeUndefined()
    const type = call.headers?.['content-type'] ?? 'application/x-protobuf'
    const protobufAsked = type === 'application/x-protobuf'
    expect(answer.headers['content-type']).toBe(protobufAsked ? type : 'application/json')
    const { message } = protobufAsked ? decodeStatus(answer.body) : JSON.parse(String(answer.body))
    expect(message).toMatch(says)
    if (status === 405) expect(answer.headers.allow).toBe('POST')
    if (status === 401) expect(answer.headers['www-authenticate']).toBe('Bearer')
    expect(open.log.records('homeostat.metrics.v1')).toEqual([])
    expect(open.log.records('homeostat.logs.v1')).toEqual([])
  })

  test.each(['log_unavailable', 'log_full'] as const)('%s → 503, Retry-After and RetryInfo in either encoding', async code => {
    open.log.failAppends(new AppError(code, 'the disk is full'))
    const answer = await httpCall(open.intake.addresses.http, { body: good, headers: token })
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '2'])
    expect(decodeStatus(answer.body)).toEqual({ code: 14, message: 'the disk is full', retryMs: 1_500 })
    const inJson = await httpCall(open.intake.addresses.http, { body: '{"resourceMetrics":[{}]}', headers: { ...token, ...json } })
    expect(inJson.status).toBe(503)
    expect(JSON.parse(String(inJson.body)).details[0].retryDelay).toBe('1.5s')
  })

  test('a fault of our own is a 503 as well, never a 500, and is logged', async () => {
    open.log.failAppends(new TypeError('x is not a function') as unknown as AppError)
    const answer = await httpCall(open.intake.addresses.http, { body: good, headers: token })
    expect(answer.status).toBe(503)
    expect(decodeStatus(answer.body).message).not.toContain('function')
    expect(open.logger.lines.some(line => line.level === 'error')).toBe(true)
  })

  test('what is not HTTP at all is answered 400 and hung up on', async () => {
    const { connect } = await import('node:net')
    const [host, port] = open.intake.addresses.http.split(':')
    const socket = connect(Number(port), host)
    socket.end('\x16\x03\x01 hello\r\n\r\n')
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk)
    expect(String(Buffer.concat(chunks))).toMatch(/^HTTP\/1.1 400 /)
  })
})

interface GrpcRow {
  what: string
  method?: string
  body: Uint8Array
  metadata?: Record<string, string>
  gzip?: boolean
  code: number
  says: RegExp
}
const GRPC_ROWS: GrpcRow[] = [
  { what: 'a truncated protobuf', body: good.subarray(0, -3), code: 3, says: /at byte \d+/ },
  { what: 'text as protobuf', body: Buffer.from('hello world'), code: 3, says: /at byte/ },
  { what: 'a message over the limit', method: GRPC_METHODS.logs, body: big, code: 8, says: /received body is over/ },
  { what: 'a message over the limit once unpacked', method: GRPC_METHODS.logs, body: big, gzip: true, code: 8, says: /decompressed/ },
  { what: 'a gzip bomb', body: Buffer.alloc(64 * 1024 * 1024), gzip: true, code: 8, says: /decompressed/ },
  { what: 'a wrong token', body: good, metadata: { authorization: 'Bearer wrong' }, code: 16, says: /not known/ },
  { what: 'no token', body: good, metadata: { authorization: '' }, code: 16, says: /no bearer token/ },
  {
    what: 'profiles',
    method: '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export',
    body: good,
    code: 12,
    says: /not served here/
  },
  { what: 'an unknown method', method: '/helloworld.Greeter/SayHello', body: good, code: 12, says: /not served here/ }
]

describe('OTLP/gRPC', () => {
  const expectRefused = ({ code, message, details }: GrpcAnswer, wanted: number, says: RegExp): void => {
    expect(code).toBe(wanted)
    expect(message).toMatch(says)
    // Without RetryInfo, or senders would repeat for ever what can never be taken.
    expect(decodeStatus(details)).toMatchObject({ code: wanted, retryMs: undefined })
    expect(open.log.records('homeostat.metrics.v1')).toEqual([])
  }

  test.each(GRPC_ROWS)('$what → code $code', async ({ code, says, ...call }) => {
    expectRefused(await grpcCall(open.intake.addresses.grpc, { ...call, metadata: { ...token, ...call.metadata } }), code, says)
  })

  test.each([
    ['a frame shorter than it says', Buffer.from([0, 0, 0, 0, 9, 1]), {}, '3'],
    ['less than a frame', Buffer.from([0, 0]), {}, '3'],
    ['two messages', Buffer.concat([grpcFrame(good), grpcFrame(good)]), {}, '3'],
    ['a flag that does not exist', grpcFrame(good, 7), {}, '3'],
    ['a compressed frame that is not', grpcFrame(good, 1), { 'grpc-encoding': 'gzip' }, '3'],
    ['an encoding we do not speak', grpcFrame(good, 1), { 'grpc-encoding': 'snappy' }, '12'],
    ['a frame that announces 4 GiB', Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), {}, '8']
  ])('%s → code %4$s', async (_, body, headers, code) => {
    const answer = await http2Call(open.intake.addresses.grpc, { ...token, ...headers }, body)
    expect(answer.headers['grpc-status']).toBe(code)
    expect(answer.headers['grpc-accept-encoding']).toBe('identity,gzip,zstd')
  })

  test('HTTP/2 that is not gRPC is told so in HTTP', async () => {
    const answer = await http2Call(open.intake.addresses.grpc, { 'content-type': 'application/json' }, Buffer.from('{}'))
    expect(answer.headers[':status']).toBe(415)
  })

  test.each(['log_unavailable', 'log_full', 'overloaded'] as const)('%s → UNAVAILABLE with RetryInfo', async code => {
    open.log.failAppends(new AppError(code, 'the disk is full – 100%'))
    const answer = await grpcCall(open.intake.addresses.grpc, { body: good, metadata: token })
    expect([answer.code, answer.message]).toEqual([14, 'the disk is full – 100%'])
    expect(decodeStatus(answer.details)).toEqual({ code: 14, message: 'the disk is full – 100%', retryMs: 1_500 })
  })
})

test('every refusal was counted under its code', () => {
  for (const transport of ['http', 'grpc']) {
    for (const code of ['malformed_otlp', 'body_too_large', 'unauthenticated', 'log_full', 'log_unavailable']) {
      expect(open.meter.total('homeostat.intake.refused', { transport, code }), `${transport} ${code}`).toBeGreaterThan(0)
    }
  }
})

test('some spans without a trace id: the rest is taken and the sender is told', async () => {
  const two = encodeOtlp('spans', { resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: Buffer.alloc(16, 1), name: 'kept' }, { name: 'lost' }] }] }] })
  const answer = await httpCall(open.intake.addresses.http, { path: '/v1/traces', headers: token, body: two })
  expect(answer.status).toBe(200)
  const root = protobuf.parse('syntax = "proto3"; message R { P p = 1; } message P { int64 rejected = 1; string message = 2; }').root
  const decoded = root.lookupType('R').decode(answer.body) as any
  expect([Number(decoded.p.rejected), decoded.p.message]).toEqual([1, expect.stringContaining('trace id')])
  const inGrpc = await grpcCall(open.intake.addresses.grpc, { method: GRPC_METHODS.spans, metadata: token, body: two })
  expect([inGrpc.code, inGrpc.body]).toEqual([0, answer.body])
  const inJson = await httpCall(open.intake.addresses.http, {
    path: '/v1/traces',
    headers: { ...token, ...json },
    body: '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"lost"}]}]}]}'
  })
  expect(JSON.parse(String(inJson.body)).partialSuccess.rejectedSpans).toBe('1')
  expect(open.meter.total('homeostat.intake.rejected', { signal: 'spans' })).toBe(3)
})
