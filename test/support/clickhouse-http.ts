// A ClickHouse server for tests: the HTTP interface that the client speaks, answered by the engine in this process.
//
// Each request has a session of its own, as over HTTP, so settings do not leak from one to the next. Faults at will: `down` refuses
// connections' requests with an aborted socket.

import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Session } from 'chdb'

const IGNORED = new Set(['query', 'query_id', 'database', 'default_format', 'session_id', 'wait_end_of_query', 'enable_http_compression', 'role'])

export interface TestServer {
  url: string
  /** While true every request is cut off. */
  down: boolean
  /** Password of the user `default`. */
  password: string
  close(): Promise<void>
}

/**
 * @param port 0: a free one
 * @param engineArguments how the engine is started, as `clickhouse local` takes them
 */
export async function clickhouseServer(path: string, port = 0, engineArguments: readonly string[] = []): Promise<TestServer> {
  const engine = new Session(path, { connectionArgs: engineArguments } as never)
  const state: TestServer = { url: '', down: false, password: '', close }
  const server: Server = createServer(async (request, response) => {
    if (state.down) return void request.socket.destroy()
    const body = await bodyOf(request)
    const url = new URL(request.url!, 'http://localhost')
    if (url.pathname === '/ping') return void response.end('Ok.\n')
    const credentials = Buffer.from((request.headers.authorization ?? '').replace('Basic ', ''), 'base64').toString()
    if (credentials !== `default:${state.password}`) {
      return void response
        .writeHead(403, { 'x-clickhouse-exception-code': '516' })
        .end('Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)')
    }
    try {
      response.end(Buffer.from(await run(path, url.searchParams, body)))
    } catch (error) {
      response.writeHead(500).end(String((error as { cause?: Error }).cause?.message ?? (error as Error).message))
    }
  })
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return state

  async function close(): Promise<void> {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
    engine.close()
  }
}

async function run(path: string, parameters: URLSearchParams, body: string): Promise<Uint8Array> {
  const session = new Session(path)
  try {
    const database = parameters.get('database')
    if (database) await session.queryAsync(`USE ${database}`)
    const settings = [...parameters].filter(([name]) => !IGNORED.has(name)).map(([name, value]) => `${name} = ${literal(value)}`)
    if (settings.length > 0) await session.queryAsync(`SET ${settings.join(', ')}`)
    const query = parameters.get('query')
    const result = await session.queryAsync(query === null ? body : `${query}\n${body}`, {
      format: parameters.get('default_format') ?? 'TabSeparated'
    } as never)
    return result.bytes()
  } finally {
    session.close()
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

function literal(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
