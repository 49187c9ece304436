// What both doors promise while all goes well, while the log is slow, and while the process goes down.

import { connect as connectTcp } from 'node:net'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import type { Signal } from '../../../../pipeline/intake/slices.ts'
import { AppError } from '../../../../schemas/errors.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { GRPC_METHODS, grpcCall, grpcFrame, http2Call, httpCall, openTestIntake, until } from '../../../support/intake.ts'
import { aLogsRequest, aMetricsRequest, aResource, aSpansRequest, encodeOtlp } from '../../../support/otlp.ts'
import { virtualClock } from '../../../support/virtual-clock.ts'

const PATHS = { metrics: '/v1/metrics', spans: '/v1/traces', logs: '/v1/logs' }
const REQUESTS: Record<Signal, Uint8Array> = { metrics: aMetricsRequest(), spans: aSpansRequest(), logs: aLogsRequest() }
const SIGNALS = ['metrics', 'spans', 'logs'] as const

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
async function intakeWith(options: Parameters<typeof openTestIntake>[0] = {}) {
  const open = await openTestIntake(options)
  closers.push(() => open.intake.close())
  return open
}

describe('what is taken is in the log, byte for byte', () => {
  const encodings = { identity: (bytes: Uint8Array) => bytes, gzip: gzipSync, zstd: zstdCompressSync } as const

  test.each(SIGNALS.flatMap(signal => (['identity', 'gzip', 'zstd'] as const).map(encoding => ({ signal, encoding }))))(
    '$signal in $encoding by HTTP and gRPC',
    async ({ signal, encoding }) => {
      const { intake, log, meter } = await intakeWith()
      const body = encodings[encoding](REQUESTS[signal])
      const headers: Record<string, string> = encoding === 'identity' ? {} : { 'content-encoding': encoding }
      const answer = await httpCall(intake.addresses.http, { path: PATHS[signal], headers, body })
      expect([answer.status, answer.body.length, answer.headers['content-type']]).toEqual([200, 0, 'application/x-protobuf'])
      const called = await http2Call(
        intake.addresses.grpc,
        { ':path': GRPC_METHODS[signal], 'grpc-encoding': encoding },
        grpcFrame(body, encoding === 'identity' ? 0 : 1)
      )
      expect(called.trailers['grpc-status']).toBe('0')
      const records = log.records(TOPICS[signal].name)
      expect(records.map(record => Buffer.from(record.value!))).toEqual([Buffer.from(REQUESTS[signal]), Buffer.from(REQUESTS[signal])])
      expect(meter.total('homeostat.intake.items', { signal })).toBe(signal === 'metrics' ? 6 : 2)
      expect(meter.total('homeostat.intake.requests', { signal, code: 'ok' })).toBe(2)
    }
  )

  test('the grpc-js client, gzip and ten calls at once', async () => {
    const { intake, log } = await intakeWith()
    const answers = await Promise.all(Array.from({ length: 10 }, () => grpcCall(intake.addresses.grpc, { body: REQUESTS.metrics, gzip: true })))
    expect(answers.map(answer => answer.code)).toEqual(Array(10).fill(0))
    expect(log.records(TOPICS.metrics.name)).toHaveLength(10)
  })

  test('large bodies in flight at once, by both doors, never share a buffer', async () => {
    const { intake, log } = await intakeWith({ config: { appendTimeout: 20_000 } })
    const bodyOf = (name: string, size: number): Uint8Array =>
      encodeOtlp('logs', { resourceLogs: [{ resource: aResource(name), scopeLogs: [{ logRecords: [{ body: { stringValue: name.repeat(size) } }] }] }] })
    for (let round = 0; round < 3; round++) {
      // Held back, all of them lie in their buffers together; the next round gets these buffers again.
      const release = log.holdAppends()
      const bodies = Array.from({ length: 8 }, (_, i) => bodyOf(`${round}-${i}`, 25_000 + 9_000 * i))
      const http = bodies.slice(0, 4).map(body => httpCall(intake.addresses.http, { path: '/v1/logs', body }))
      const grpc = bodies.slice(4).map(body => grpcCall(intake.addresses.grpc, { method: GRPC_METHODS.logs, body }))
      await httpCall(intake.addresses.http, { path: '/nowhere', body: '' })
      release()
      expect((await Promise.all(http)).map(answer => answer.status)).toEqual([200, 200, 200, 200])
      expect((await Promise.all(grpc)).map(answer => answer.code)).toEqual([0, 0, 0, 0])
      const stored = log.records(TOPICS.logs.name).map(record => Buffer.from(record.value!).toString('base64'))
      for (const body of bodies) expect(stored.filter(value => value === Buffer.from(body).toString('base64'))).toHaveLength(1)
    }
  })

  test('an empty request is a success that leaves no record', async () => {
    const { intake, log } = await intakeWith()
    expect((await httpCall(intake.addresses.http, { body: '' })).status).toBe(200)
    expect((await grpcCall(intake.addresses.grpc, { body: new Uint8Array(0) })).code).toBe(0)
    expect(log.records(TOPICS.metrics.name)).toEqual([])
  })

  test('a resource that names nobody is keyed by the configured name, else by the peer', async () => {
    const body = aMetricsRequest({ services: [''] })
    const named = await intakeWith({ config: { fallbackEntity: 'edge-7' } })
    await httpCall(named.intake.addresses.http, { body })
    expect(named.log.records(TOPICS.metrics.name)[0]!.key).toBe('edge-7')
    const unnamed = await intakeWith()
    await grpcCall(unnamed.intake.addresses.grpc, { body })
    expect(unnamed.log.records(TOPICS.metrics.name)[0]!.key).toBe('127.0.0.1')
  })
})

describe('a slow log', () => {
  test('the answer waits for the append', async () => {
    const { intake, log } = await intakeWith()
    const release = log.holdAppends()
    let answered = false
    const call = httpCall(intake.addresses.http, { body: REQUESTS.metrics }).then(answer => {
      answered = true
      return answer
    })
    await httpCall(intake.addresses.http, { path: '/nowhere', body: '' }) // A whole exchange goes by meanwhile.
    expect(answered).toBe(false)
    release()
    expect((await call).status).toBe(200)
    expect(log.records(TOPICS.metrics.name)).toHaveLength(1)
  })

  test('an append beyond appendTimeout is answered 503 at that time, and what came of it is still kept', async () => {
    const clock = virtualClock(0)
    const { intake, log } = await intakeWith({ clock, config: { appendTimeout: 4_000, retryAfter: 3_000 } })
    const release = log.holdAppends()
    const call = httpCall(intake.addresses.http, { body: REQUESTS.metrics })
    await until(() => clock.sleeping === 1)
    await clock.advance(3_999)
    expect(clock.sleeping).toBe(1)
    await clock.advance(1)
    const answer = await call
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '3'])
    release()
    await until(() => log.records(TOPICS.metrics.name).length === 1)
  })

  test('a gRPC call is answered UNAVAILABLE within its own deadline, which the client still hears', async () => {
    const clock = virtualClock(0)
    const { intake, log } = await intakeWith({ clock })
    const release = log.holdAppends()
    const call = http2Call(intake.addresses.grpc, { 'grpc-timeout': '1500m' }, grpcFrame(REQUESTS.metrics))
    await until(() => clock.sleeping === 1)
    await clock.advance(1_400) // A hundred milliseconds are kept for the way back.
    const answer = await call
    expect(answer.headers['grpc-status']).toBe('14')
    release()
  })

  test('bytes of an append nobody waits for any more stay counted until the log has settled it', async () => {
    const clock = virtualClock(0)
    const limits = { inFlightBytesMax: REQUESTS.metrics.length + 10, appendTimeout: 1_000 }
    const { intake, log } = await intakeWith({ clock, config: limits })
    const release = log.holdAppends()
    const first = httpCall(intake.addresses.http, { body: REQUESTS.metrics })
    await until(() => clock.sleeping === 1)
    await clock.advance(1_000)
    expect((await first).status).toBe(503)
    const second = await httpCall(intake.addresses.http, { body: REQUESTS.metrics })
    expect([second.status, second.headers['retry-after']]).toEqual([503, '2'])
    release()
    await until(() => log.records(TOPICS.metrics.name).length === 1)
    expect((await httpCall(intake.addresses.http, { body: REQUESTS.metrics })).status).toBe(200)
  })

  test('beyond the in-flight limit senders of both doors are told to come again, and are taken later', async () => {
    const { intake, log, meter } = await intakeWith({ config: { inFlightBytesMax: 1_024, appendTimeout: 20_000 } })
    const body = aMetricsRequest({ services: Array.from({ length: 8 }, (_, i) => `service-${i}`) })
    expect(body.length).toBeGreaterThan(1_024)
    const release = log.holdAppends()
    const first = httpCall(intake.addresses.http, { body }) // Alone it may pass the limit, else it could never be taken.
    await until(async () => (await httpCall(intake.addresses.http, { body: REQUESTS.logs, path: '/v1/logs' })).status === 503)
    const refused = await grpcCall(intake.addresses.grpc, { body: REQUESTS.metrics })
    expect(refused.code).toBe(14)
    expect(meter.total('homeostat.intake.refused', { code: 'overloaded', transport: 'grpc' })).toBe(1)
    release()
    expect((await first).status).toBe(200)
    expect((await grpcCall(intake.addresses.grpc, { body: REQUESTS.metrics })).code).toBe(0)
  })

  test('a log that failed and recovers takes the repeated request', async () => {
    const { intake, log } = await intakeWith()
    log.failAppends(new AppError('log_full', 'full'))
    expect((await httpCall(intake.addresses.http, { body: REQUESTS.metrics })).status).toBe(503)
    log.failAppends(undefined)
    expect((await httpCall(intake.addresses.http, { body: REQUESTS.metrics })).status).toBe(200)
    expect(log.records(TOPICS.metrics.name)).toHaveLength(1)
  })
})

describe('going down', () => {
  test('close lets the request under way be answered, and refuses new connections', async () => {
    const { intake, log } = await openTestIntake()
    const release = log.holdAppends()
    const http = httpCall(intake.addresses.http, { body: REQUESTS.metrics })
    const grpc = http2Call(intake.addresses.grpc, {}, grpcFrame(REQUESTS.metrics))
    let appending = 0
    const append = log.append
    log.append = (topic, records) => {
      appending++
      return append(topic, records)
    }
    await until(() => appending === 2)
    const closing = intake.close()
    await expect(httpCall(intake.addresses.http, { body: REQUESTS.metrics })).rejects.toThrow(/ECONNREFUSED/)
    release()
    expect((await http).status).toBe(200)
    expect((await grpc).trailers['grpc-status']).toBe('0')
    await closing
    await intake.close()
    expect(log.records(TOPICS.metrics.name)).toHaveLength(2)
  })

  test('close ends even where a peer neither sends nor hangs up', async () => {
    const clock = virtualClock(0)
    const { intake } = await openTestIntake({ clock })
    const [host, port] = intake.addresses.grpc.split(':')
    const silent = connectTcp(Number(port), host) // It never reads, so it does not even notice that it was asked to go.
    closers.push(() => silent.destroy())
    await new Promise(resolve => silent.write('PRI', resolve))
    await grpcCall(intake.addresses.grpc, { body: REQUESTS.metrics })
    const closing = intake.close()
    await until(() => clock.sleeping > 0)
    await clock.advance(5_000)
    await closing
  })

  test('an address that is taken is refused with the key that names it', async () => {
    const { intake } = await intakeWith()
    const port = Number(intake.addresses.http.split(':')[1])
    await expect(openTestIntake({ config: { http: { host: '127.0.0.1', port } } })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/intake.http: cannot listen/)
    })
  })

  test('listening beyond the machine without TLS and tokens is said loudly', async () => {
    const { logger } = await intakeWith({ config: { http: { host: '0.0.0.0', port: 0 } } })
    expect(logger.lines.filter(line => line.level === 'warn').map(line => line.message)).toEqual([
      expect.stringMatching(/without TLS/),
      expect.stringMatching(/from anybody/)
    ])
    const quiet = await intakeWith()
    expect(quiet.logger.lines.filter(line => line.level === 'warn')).toEqual([])
  })
})
