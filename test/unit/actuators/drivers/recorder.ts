// An HTTP server that keeps what it was sent and answers what the test wants.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Request {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: string
  json: () => Record<string, any>
}

export interface Recorder {
  url: string
  requests: Request[]
  answer: (request: Request, response: ServerResponse) => void
  close(): Promise<void>
}

export async function openRecorder(status = 200): Promise<Recorder> {
  const recorder: Recorder = { url: '', requests: [], answer: (_request, response) => void response.writeHead(status).end('ok'), close: async () => {} }
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body, json: () => JSON.parse(body) }
    recorder.requests.push(seen)
    recorder.answer(seen, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  recorder.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  recorder.close = () =>
    new Promise<void>(resolve => {
      server.closeAllConnections()
      server.close(() => resolve())
    })
  return recorder
}
