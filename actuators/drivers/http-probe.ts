// The HTTP probe of checks: one GET, no redirects, to this machine or to hosts that the operator listed.
//
// A runbook's URL must not make Homeostat ask whatever its machine can reach: addresses are judged by http-client.ts,
// hosts by the list.

import { AppError } from '../../schemas/errors.ts'
import { sendHttp } from './http-client.ts'

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]']

/**
 * @param options.hosts host names that may be asked beside loopback, without port
 * @returns a probe; it throws AppError `timeout` when no answer came and `step_refused` for a host that is not listed
 */
export function httpProbe(options: { hosts: readonly string[] }): (url: string, timeoutMs: number) => Promise<{ status: number }> {
  const hosts = new Set([...LOOPBACK_HOSTS, ...options.hosts])
  return async function probe(text, timeoutMs) {
    if (!URL.canParse(text)) throw new AppError('step_refused', `${JSON.stringify(text.slice(0, 200))} is no URL`)
    const url = new URL(text)
    if (!hosts.has(url.hostname)) throw new AppError('step_refused', `host ${url.hostname} is not on the list (act.probeHosts)`)
    if (url.username !== '' || url.password !== '') throw new AppError('step_refused', 'a checked URL must not carry a password')
    const result = await sendHttp({ method: 'GET', url, headers: {}, timeoutMs })
    if (result.kind === 'answered') return { status: result.status }
    throw new AppError('timeout', result.reason)
  }
}
