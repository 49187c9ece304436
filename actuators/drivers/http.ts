// Driver `http`: calls listed endpoints of any API, with an idempotency key header.
//
// Method, URL and headers are the configuration's; `{target}` and `{key}` in the URL stand for one encoded path segment or
// query value. The body is JSON: {target, args, idempotencyKey, fence}. No redirects.
// Classes: an endpoint with a statusUrl is detectable (asked with GET: 200 = applied, 404 = not, else unknown); PUT is
// convergent (RFC 9110 §9.2.2); POST, PATCH and DELETE are opaque (deleting what was made again deletes another thing).
// Status 200..statusMax = applied. 3xx, 4xx (not 408, 409) and 501 = refused, nothing happened. Any other answer, or none
// after the connection stood = driver_unknown.

import { AppError } from '../../schemas/errors.ts'
import type { Driver, DriverClass, DriverOrder } from '../../schemas/ports.ts'
import { sendHttp } from './http-client.ts'
import { checkKey } from './order-key.ts'
import { redactor } from './redact.ts'

const ARGS_BYTES_MAX = 16 * 1_024
const TARGET_LENGTH_MAX = 256
const EXCERPT_LENGTH_MAX = 300
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are exactly what is looked for.
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/

export interface HttpEndpoint {
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  /** Resolved: the secrets themselves. */
  headers: Readonly<Record<string, string>>
  statusMax: number
  /** ms */
  timeout: number
  statusUrl?: string | undefined
}

/** @throws AppError `config_invalid` for a URL that is none */
export function httpDriver({ endpoints }: { endpoints: Readonly<Record<string, HttpEndpoint>> }): Driver {
  const known = new Map(Object.entries(endpoints))
  for (const [name, { url, statusUrl, headers }] of known) {
    for (const template of [url, ...(statusUrl === undefined ? [] : [statusUrl])]) {
      const filled = template.replaceAll(/\{(target|key)\}/g, 'x')
      if (!URL.canParse(filled) || !/^https?:$/.test(new URL(filled).protocol))
        throw new AppError('config_invalid', `act.drivers.http.endpoints.${name}: the URL is not an http(s) URL`)
      if (/\{(target|key)\}/.test(template.split('/').slice(0, 3).join('/')))
        throw new AppError('config_invalid', `act.drivers.http.endpoints.${name}: the host of a URL is fixed, it takes no placeholder`)
    }
    for (const [header, value] of Object.entries(headers)) {
      if (CONTROL_CHARACTER.test(value)) throw new AppError('config_invalid', `act.drivers.http.endpoints.${name}.headers.${header}: control characters`)
    }
  }
  const redact = redactor([...known.values()].flatMap(({ headers }) => Object.values(headers)))

  function check({ target, verb, args }: Pick<DriverOrder, 'target' | 'verb' | 'args'>): HttpEndpoint {
    const endpoint = known.get(verb)
    if (!endpoint) throw new AppError('step_refused', `http: no endpoint ${shown(verb)} (act.drivers.http.endpoints)`)
    // A dot segment would be folded away by URL normalisation and name another resource.
    if (target === '' || target === '.' || target === '..' || target.length > TARGET_LENGTH_MAX || CONTROL_CHARACTER.test(target) || !target.isWellFormed()) {
      throw new AppError('step_refused', `http ${verb}: target ${shown(target)} cannot be named in a request`)
    }
    if (Buffer.byteLength(JSON.stringify(args)) > ARGS_BYTES_MAX)
      throw new AppError('step_refused', `http ${verb}: args are larger than ${ARGS_BYTES_MAX} bytes`)
    return endpoint
  }

  async function apply(order: DriverOrder, signal: AbortSignal): Promise<{ detail: string }> {
    const { method, url, headers, statusMax, timeout } = check(order)
    const { target, args, idempotencyKey, fence, verb } = order
    checkKey(idempotencyKey)
    const result = await sendHttp({
      method,
      url: filled(url, order),
      headers: { ...headers, 'content-type': 'application/json', 'idempotency-key': idempotencyKey, 'homeostat-fence': String(fence) },
      body: JSON.stringify({ target, args, idempotencyKey, fence }),
      timeoutMs: Math.min(timeout, Math.max(1, order.deadlineMs - Date.now())),
      signal
    })
    if (result.kind === 'not_sent') throw new AppError('driver_failed', redact(`http ${verb}: ${result.reason}`))
    if (result.kind === 'lost') throw new AppError('driver_unknown', redact(`http ${verb}: ${result.reason}`))
    const answer = redact(`http ${verb}: ${method} answered ${result.status} ${result.body.slice(0, EXCERPT_LENGTH_MAX)}`.trim())
    if (result.status >= 200 && result.status <= statusMax) return { detail: answer }
    throw new AppError(refusedStatus(result.status) ? 'driver_failed' : 'driver_unknown', answer)
  }

  return {
    name: 'http',
    verbs: Object.fromEntries([...known].map(([name, endpoint]) => [name, classOf(endpoint)])),
    check: order => void check(order),
    async observe() {
      return { state: 'unknown', facts: {} } // An API has no common way to ask; http checks do that.
    },
    apply,
    async wasApplied(order) {
      const { statusUrl, headers, timeout } = check(order)
      if (statusUrl === undefined) return 'unknown'
      const timeoutMs = Math.min(timeout, Math.max(1, order.deadlineMs - Date.now()))
      const result = await sendHttp({ method: 'GET', url: filled(statusUrl, order), headers, timeoutMs })
      if (result.kind !== 'answered') return 'unknown'
      return result.status === 200 ? 'yes' : result.status === 404 ? 'no' : 'unknown'
    }
  }
}

function classOf({ method, statusUrl }: HttpEndpoint): DriverClass {
  if (statusUrl !== undefined) return 'detectable'
  return method === 'PUT' ? 'convergent' : 'opaque'
}

function filled(template: string, { target, idempotencyKey }: DriverOrder): URL {
  const values = { target, key: idempotencyKey }
  return new URL(template.replaceAll(/\{(target|key)\}/g, (_whole, name: 'target' | 'key') => encodeURIComponent(values[name])))
}

/** Answers by which a server says that it did nothing. 408 and 409 may come from a request that is half done. */
function refusedStatus(status: number): boolean {
  return (status >= 300 && status < 500 && status !== 408 && status !== 409) || status === 501
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 200))
