// Server-sent events: every record of the live view and the progress of training, with ids to resume from.
//
// A reader that is too slow is dropped (its browser comes back with Last-Event-ID); a comment every 15 s keeps
// proxies from closing an idle stream.

import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { LiveView } from './live-view.ts'

const HEARTBEAT_MS = 15_000
/** Events kept for readers that come back. */
const REPLAY_EVENTS_MAX = 500
const READERS_MAX = 100
/** Bytes a reader may be behind before it is dropped. */
const READER_BACKLOG_BYTES_MAX = 4 * 2 ** 20

interface StreamEvent {
  id: number
  text: string
}

export interface EventStreams {
  publish(kind: string, data: unknown): void
  close(): void
}

export function openEventStreams(app: FastifyInstance, options: { view: LiveView }): EventStreams {
  const readers = new Set<ServerResponse>()
  const recent: StreamEvent[] = []
  let lastId = 0

  const publish = (kind: string, data: unknown): void => {
    const event = { id: ++lastId, text: `id: ${lastId}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n` }
    recent.push(event)
    if (recent.length > REPLAY_EVENTS_MAX) recent.shift()
    for (const reader of readers) write(reader, event.text)
  }
  const write = (reader: ServerResponse, text: string): void => {
    if (reader.writableLength > READER_BACKLOG_BYTES_MAX) {
      readers.delete(reader)
      reader.destroy()
    } else reader.write(text)
  }
  const unlisten = options.view.listen(({ kind, record }) => publish(kind, record))
  const heartbeat = setInterval(() => {
    for (const reader of readers) write(reader, ': still here\n\n')
  }, HEARTBEAT_MS)

  app.get('/api/events', (request, reply) => {
    if (readers.size >= READERS_MAX)
      return reply
        .code(503)
        .header('retry-after', '5')
        .send({ error: { code: 'overloaded', message: `${READERS_MAX} readers are connected already` } })
    reply.hijack()
    const reader = reply.raw
    reader.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', connection: 'keep-alive', 'x-accel-buffering': 'no' })
    reader.write('retry: 1000\n\n')
    const seen = Number(request.headers['last-event-id'] ?? Number.NaN)
    if (Number.isFinite(seen)) for (const event of recent) if (event.id > seen) reader.write(event.text)
    readers.add(reader)
    reader.on('close', () => readers.delete(reader))
  })

  return {
    publish,
    close() {
      unlisten()
      clearInterval(heartbeat)
      for (const reader of readers) reader.end()
      readers.clear()
    }
  }
}
