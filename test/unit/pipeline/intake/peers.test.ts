// Peers that are slow, greedy or silent, and doors with TLS.

import { readFileSync } from 'node:fs'
import { connect } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import { connect as connectTcp, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { UNPROVEN_MAX } from '../../../../pipeline/intake/transport.ts'
import { TOPICS } from '../../../../schemas/topics.ts'
import { GRPC_METHODS, grpcCall, grpcFrame, httpCall, openTestIntake, until } from '../../../support/intake.ts'
import { aMetricsRequest } from '../../../support/otlp.ts'

const body = aMetricsRequest()
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
async function intakeWith(options: Parameters<typeof openTestIntake>[0] = {}) {
  const open = await openTestIntake(options)
  closers.push(() => open.intake.close())
  return open
}

describe('slow and greedy peers', () => {
  test('more half-open requests than a door keeps do not shut out an honest sender, nor one that is connected', async () => {
    const { intake, log } = await intakeWith()
    const session = connect(`http://${intake.addresses.grpc}`)
    const call = (): Promise<unknown> => {
      const stream = session.request({ ':method': 'POST', ':path': GRPC_METHODS.metrics, 'content-type': 'application/grpc' })
      stream.end(grpcFrame(body))
      stream.resume()
      return new Promise(resolve => stream.once('trailers', trailers => resolve(trailers['grpc-status'])))
    }
    expect(await call()).toBe('0')
    for (const address of [intake.addresses.http, intake.addresses.grpc]) {
      const [host, port] = address.split(':')
      const sockets: Socket[] = []
      closers.push(() => sockets.forEach(socket => void socket.destroy()))
      let cut = 0
      for (let i = 0; i < UNPROVEN_MAX + 50; i++) {
        const socket = connectTcp(Number(port), host, () => socket.write(address === intake.addresses.http ? 'POST /v1/metrics HTTP/1.1\r\nX-' : 'PRI'))
        socket
          .on('error', () => {})
          .on('close', () => cut++)
          .resume()
        sockets.push(socket)
      }
      await until(() => cut >= 50)
    }
    expect((await httpCall(intake.addresses.http, { body })).status).toBe(200)
    expect((await grpcCall(intake.addresses.grpc, { body })).code).toBe(0)
    expect(await call()).toBe('0')
    session.close()
    expect(log.records(TOPICS.metrics.name)).toHaveLength(4)
  })

  test('calls that are reset at once leave nothing behind', async () => {
    const { intake, log } = await intakeWith({ config: { inFlightBytesMax: 2_000 } })
    const session = connect(`http://${intake.addresses.grpc}`)
    session.on('error', () => {})
    for (let i = 0; i < 300 && !session.destroyed; i++) {
      const stream = session.request({ ':method': 'POST', ':path': GRPC_METHODS.metrics, 'content-type': 'application/grpc' })
      stream.on('error', () => {})
      stream.write(grpcFrame(body).subarray(0, 50))
      stream.close(8)
    }
    await new Promise(resolve => session.close(() => resolve(undefined)))
    // Had their bytes stayed counted, the limit would refuse this one.
    expect((await grpcCall(intake.addresses.grpc, { body })).code).toBe(0)
    expect(log.records(TOPICS.metrics.name)).toHaveLength(1)
  })

  test('a sender that goes away in the middle of a body leaves nothing behind', async () => {
    const { intake, log } = await intakeWith({ config: { inFlightBytesMax: 2_000 } })
    const [host, port] = intake.addresses.http.split(':')
    for (let i = 0; i < 20; i++) {
      const socket = connectTcp(Number(port), host)
      const head = 'POST /v1/metrics HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000\r\n\r\n'
      await new Promise(resolve => socket.write(`${head}${'x'.repeat(150)}`, resolve))
      socket.resetAndDestroy()
    }
    await until(async () => (await httpCall(intake.addresses.http, { body })).status === 200)
    expect(log.records(TOPICS.metrics.name).length).toBeGreaterThan(0)
  })
})

describe('TLS', () => {
  const file = (name: string): string => fileURLToPath(new URL(`../../../data/tls/${name}.pem`, import.meta.url))
  const tls = { certFile: file('cert'), keyFile: file('key') }

  test('both doors speak it where it is configured', async () => {
    const { intake, log } = await intakeWith({ config: { tls } })
    const ca = readFileSync(tls.certFile)
    const https = await fetchHttps(intake.addresses.http, ca, body)
    expect(https).toBe(200)
    const session = connect(`https://${intake.addresses.grpc}`, { ca })
    const stream = session.request({ ':method': 'POST', ':path': GRPC_METHODS.metrics, 'content-type': 'application/grpc' })
    stream.end(grpcFrame(body))
    stream.resume()
    const trailers = await new Promise<Record<string, unknown>>(resolve => stream.once('trailers', resolve))
    session.close()
    expect(trailers['grpc-status']).toBe('0')
    expect(log.records(TOPICS.metrics.name)).toHaveLength(2)
  })

  test('a client certificate is asked for where a CA for clients is configured', async () => {
    const { intake, log } = await intakeWith({ config: { tls: { ...tls, clientCaFile: tls.certFile } } })
    const ca = readFileSync(tls.certFile)
    await expect(fetchHttps(intake.addresses.http, ca, body)).rejects.toThrow(/certificate required|ECONNRESET|socket hang up/i)
    expect(await fetchHttps(intake.addresses.http, ca, body, { cert: ca, key: readFileSync(tls.keyFile) })).toBe(200)
    expect(log.records(TOPICS.metrics.name)).toHaveLength(1)
  })

  test('a file that is not there is a configuration error that names it', async () => {
    await expect(openTestIntake({ config: { tls: { ...tls, keyFile: '/nowhere/key.pem' } } })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/intake.tls.keyFile: cannot read \/nowhere\/key.pem/)
    })
  })
})

function fetchHttps(address: string, ca: Buffer, body: Uint8Array, client: { cert?: Buffer; key?: Buffer } = {}): Promise<number> {
  const [host, port] = address.split(':')
  const headers = { 'content-type': 'application/x-protobuf' }
  return new Promise((resolve, reject) => {
    const request = httpsRequest({ host, port, ca, ...client, method: 'POST', path: '/v1/metrics', headers, agent: false }, response => {
      response.resume()
      resolve(response.statusCode!)
    })
    request.on('error', reject)
    request.end(body)
  })
}
