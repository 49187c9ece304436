// One HTTP request, with the habits of something that holds privileges: no redirects, the address looked up once,
// judged and pinned, everything bounded, secrets never in an error.
//
// Node's own http follows nothing and caches nothing by itself; the pinned lookup keeps a second DNS answer (rebinding)
// from sending the request elsewhere than what was judged.

import { lookup } from 'node:dns/promises'
import { request as httpRequest, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { BlockList, isIP } from 'node:net'

const RESPONSE_BYTES_MAX = 16 * 1_024 // Read for a person's eyes only.

export interface HttpOrder {
  method: string
  url: URL
  headers: Readonly<Record<string, string>>
  body?: string
  timeoutMs: number
  signal?: AbortSignal
}

export type HttpResult =
  /** `body`: its beginning. */
  | { kind: 'answered'; status: number; body: string }
  /** Nothing was sent: the name did not resolve, the address is not allowed, the connection was refused. */
  | { kind: 'not_sent'; reason: string }
  /** It was sent, or may have been, and no whole answer came. */
  | { kind: 'lost'; reason: string }

/** Never throws. Reasons name the host, never headers or the query. */
export async function sendHttp(order: HttpOrder): Promise<HttpResult> {
  const { url } = order
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return { kind: 'not_sent', reason: `protocol ${url.protocol} is not HTTP` }
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  let address: string
  try {
    address = isIP(hostname) ? hostname : (await lookup(hostname)).address
  } catch {
    return { kind: 'not_sent', reason: `${url.host} does not resolve` }
  }
  const refused = addressRefusal(hostname, address)
  if (refused !== undefined) return { kind: 'not_sent', reason: refused }
  return exchange(order, address)
}

/**
 * Why a request to `hostname`, which resolved to `address`, must not be sent. Link-local (cloud metadata lives there),
 * unspecified and multicast addresses never; loopback only when it was asked for by name, so that a public name cannot
 * be pointed at our own machine.
 */
export function addressRefusal(hostname: string, address: string): string | undefined {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  if (NEVER.check(address, family)) return `${hostname} is ${address}: link-local, unspecified and multicast addresses are never asked`
  const asksForLoopback = hostname === 'localhost' || (isIP(hostname) !== 0 && hostname === address)
  if (LOOPBACK.check(address, family) && !asksForLoopback) return `${hostname} resolves to ${address}, this machine itself`
  return undefined
}

const NEVER = new BlockList()
NEVER.addSubnet('0.0.0.0', 8, 'ipv4')
NEVER.addSubnet('169.254.0.0', 16, 'ipv4')
NEVER.addSubnet('224.0.0.0', 3, 'ipv4')
NEVER.addAddress('::', 'ipv6')
NEVER.addSubnet('fe80::', 10, 'ipv6')
NEVER.addSubnet('ff00::', 8, 'ipv6')
NEVER.addAddress('fd00:ec2::254', 'ipv6') // Metadata of one cloud, outside the link-local range.
const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

function exchange({ method, url, headers, body, timeoutMs, signal }: HttpOrder, address: string): Promise<HttpResult> {
  return new Promise(resolve => {
    let connected = false
    const options: RequestOptions = {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) },
      agent: false, // A connection of its own: nothing of an older exchange can leak into this one.
      lookup: (_hostname, wanted, done) => {
        const family = isIP(address)
        if (typeof wanted === 'object' && wanted.all) (done as unknown as (error: null, found: object[]) => void)(null, [{ address, family }])
        else done(null, address, family)
      },
      signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])])
    }
    // Once the status is there it is what counts, however the body ends.
    let answered: (() => void) | undefined
    const fail = (reason: string): void => (answered ? answered() : resolve({ kind: connected ? 'lost' : 'not_sent', reason: `${url.host}: ${reason}` }))
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, response => {
      const chunks: Buffer[] = []
      let size = 0
      answered = (): void => {
        response.destroy()
        resolve({ kind: 'answered', status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8').slice(0, RESPONSE_BYTES_MAX) })
      }
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        size += chunk.length
        if (size >= RESPONSE_BYTES_MAX) answered?.()
      })
      response.on('end', answered)
      response.on('error', answered)
    })
    request.on('socket', socket =>
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        connected = true
      })
    )
    request.on('error', error => fail(errorText(error, timeoutMs)))
    request.end(body)
  })
}

function errorText(error: Error, timeoutMs: number): string {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ABORT_ERR' || error.name === 'AbortError' || error.name === 'TimeoutError' ? `no answer within ${timeoutMs} ms` : (code ?? error.message)
}
