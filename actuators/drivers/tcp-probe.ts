// The TCP probe of checks: one connection to this machine or to hosts that the operator listed, at most one exchange of text.
//
// Addresses are judged as for requests (http-client.ts): looked up once, pinned, link-local and metadata addresses never.

import { lookup } from 'node:dns/promises'
import { connect, isIP } from 'node:net'
import type { TcpProbe } from '../verify/checks.ts'
import { AppError } from '../../schemas/errors.ts'
import { addressRefusal } from './http-client.ts'

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '::1']
const ANSWER_BYTES_MAX = 4 * 1_024 // A greeting and an answer; what talks on without the text has not answered.

/** @param options.hosts host names that may be asked beside loopback, without port */
export function tcpProbe(options: { hosts: readonly string[] }): TcpProbe {
  const hosts = new Set([...LOOPBACK_HOSTS, ...options.hosts])
  return async function probe(address, { send, answer }, timeoutMs) {
    const colon = address.lastIndexOf(':')
    const host = address.slice(0, colon).replace(/^\[|\]$/g, '')
    const port = Number(address.slice(colon + 1))
    if (!hosts.has(host)) throw new AppError('step_refused', `host ${host} is not on the list (act.probeHosts)`)
    if (!(port >= 1 && port <= 65_535)) throw new AppError('step_refused', `${address}: there is no such port`)
    const ip = isIP(host) ? host : await resolved(host)
    const refused = addressRefusal(host, ip)
    if (refused !== undefined) throw new AppError('step_refused', refused)
    await exchange({ ip, port, send, answer, timeoutMs })
  }
}

async function resolved(host: string): Promise<string> {
  try {
    return (await lookup(host)).address
  } catch (cause) {
    throw new AppError('timeout', `${host} does not resolve`, { cause })
  }
}

interface Exchange {
  ip: string
  port: number
  send: string | undefined
  answer: string | undefined
  timeoutMs: number
}

function exchange({ ip, port, send, answer, timeoutMs }: Exchange): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: ip, port })
    let received = ''
    const end = (reason?: string): void => {
      clearTimeout(timer)
      socket.destroy()
      if (reason === undefined) resolve()
      else reject(new AppError('timeout', reason))
    }
    const timer = setTimeout(() => end(`no answer within ${timeoutMs} ms`), timeoutMs)
    socket.setEncoding('latin1') // Byte for byte, whatever was cut in the middle.
    socket.once('connect', () => {
      if (send !== undefined) socket.write(send)
      if (answer === undefined) end()
    })
    socket.on('data', (chunk: string) => {
      received += chunk
      if (answer !== undefined && received.includes(Buffer.from(answer).toString('latin1'))) end()
      else if (received.length >= ANSWER_BYTES_MAX) end(`${received.length} bytes came without ${JSON.stringify(answer)}`)
    })
    socket.once('close', () => end('the connection was closed without an answer'))
    socket.once('error', error => end((error as NodeJS.ErrnoException).code ?? error.message))
  })
}
