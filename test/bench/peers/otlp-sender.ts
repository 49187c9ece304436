// A sender of OTLP/HTTP requests in a process of its own, as cheap as it can be: it must not be what is measured.
//
// Whole requests lie ready as bytes; a few keep-alive connections each write one, wait for its answer and write the next.
// Messages: { port, requests: base64[], connections } opens; { durationMs } sends for that long and answers { sent, refused, wallMs }.

import { connect, type Socket } from 'node:net'

interface Opening {
  port: number
  files: string[]
  headers: string
  connections: number
}
interface Order {
  durationMs: number
  /** Requests to send at most. */
  requestsMax: number
}

let sockets: Socket[] = []
let requests: Buffer[] = []

process.on('message', async (message: Opening | Order) => {
  if ('port' in message) {
    await open(message)
    process.send!({ ready: true })
  } else process.send!(await sendFor(message))
})

async function open({ port, files, headers, connections }: Opening): Promise<void> {
  const { readFileSync } = await import('node:fs')
  for (const socket of sockets) socket.destroy()
  requests = files.map(file => {
    const body = readFileSync(file)
    const head = `POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n${headers}Content-Length: ${body.length}\r\n\r\n`
    return Buffer.concat([Buffer.from(head), body])
  })
  sockets = await Promise.all(
    Array.from(
      { length: connections },
      () =>
        new Promise<Socket>(resolve => {
          const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket))
        })
    )
  )
}

async function sendFor({ durationMs, requestsMax }: Order): Promise<{ sent: number; refused: number; wallMs: number }> {
  const begun = performance.now()
  let next = 0
  let sent = 0
  let refused = 0
  await Promise.all(
    sockets.map(async socket => {
      while (performance.now() - begun < durationMs && next < requestsMax) {
        const status = await exchange(socket, requests[next++ % requests.length]!)
        if (status === 200) sent++
        else refused++
      }
    })
  )
  return { sent, refused, wallMs: performance.now() - begun }
}

/** Writes one request and resolves with the status of its answer, once the answer is whole. */
function exchange(socket: Socket, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = ''
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      const length = /content-length: (\d+)/i.exec(text)
      if (end < 0 || length === null || text.length < end + 4 + Number(length[1])) return
      socket.off('data', onData).off('close', onClose)
      resolve(Number(text.slice(9, 12)))
    }
    const onClose = (): void => reject(new Error('the connection was closed in the middle of an answer'))
    socket.on('data', onData).on('close', onClose)
    socket.write(request)
  })
}
