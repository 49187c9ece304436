// The command line's line to a running instance: its console API, found through the data directory.

import { AppError, ERROR_CODES, type ErrorCode } from '../../schemas/errors.ts'
import { type LoadedConfig, resolveSecret } from '../config/load.ts'
import { readAddresses, readInstance } from '../instance.ts'

const REQUEST_TIMEOUT_MS = 30_000

export interface Client {
  get<Result>(path: string): Promise<Result>
  post<Result>(path: string, body: object, options?: { timeoutMs?: number }): Promise<Result>
  address: string
}

/** @throws AppError `timeout` when nothing (ready) runs on this data directory, `usage` when what runs has no console */
export function openClient({ config }: LoadedConfig): Client {
  const instance = readInstance(config.dataDir)
  if (!instance) throw new AppError('timeout', `no Homeostat runs on ${config.dataDir}: start one with \`npm start\`, or name its configuration with --config`)
  const { console: address, roles } = readAddresses(config.dataDir)
  if (!address && !roles) throw new AppError('timeout', `the Homeostat with pid ${instance.pid} is not ready yet: try again in a moment`)
  if (!address)
    throw new AppError(
      'usage',
      `the Homeostat with pid ${instance.pid} runs ${roles} without a console, which answers this: ask with the configuration of the process that has the role console`
    )
  const token = config.console.tokens[0]
  const headers: Record<string, string> = { 'x-homeostat': 'cli', ...(token ? { authorization: `Bearer ${resolveSecret(token, process.env)}` } : {}) }

  async function request<Result>(method: string, path: string, body?: object, timeoutMs: number = REQUEST_TIMEOUT_MS): Promise<Result> {
    let response: Response
    let text: string
    try {
      response = await fetch(`${address}${path}`, {
        method,
        headers: body ? { ...headers, 'content-type': 'application/json' } : headers,
        signal: AbortSignal.timeout(timeoutMs),
        ...(body ? { body: JSON.stringify(body) } : {})
      })
      text = await response.text()
    } catch (cause) {
      throw new AppError('timeout', `${address} does not answer: see its log`, { cause })
    }
    const json = parsed(text) as { error?: { code: string; message: string } } | null | undefined
    if (json === undefined) throw new AppError('bug', `${address} answers ${response.status} with what is no JSON: is it Homeostat that listens there?`)
    if (response.ok) return json as Result
    const code = json?.error && json.error.code in ERROR_CODES ? (json.error.code as ErrorCode) : 'bug'
    throw new AppError(code, json?.error?.message ?? `status ${response.status}`)
  }

  return {
    address,
    get: path => request('GET', path),
    post: (path, body, options) => request('POST', path, body, options?.timeoutMs)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
