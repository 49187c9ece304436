// Sockets for kafkajs that hand over each answer in one piece.
//
// kafkajs as it comes takes a buffer of 64 KiB from the heap for every read, and copies all of them again when an answer of some
// megabytes is complete. Here every read goes into the same buffer, and from there into the answer's own one.

import { connect, isIP, type NetConnectOpts, type OnReadOpts, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

const READ_BYTES = 64 * 2 ** 10 // What libuv reads at a time.
const SIZE_BYTES = 4 // An answer begins with its size, without these four bytes.
const ANSWER_BYTES_MIN = 4 // Every answer carries the number of its request.
const ANSWER_BYTES_MAX = 256 * 2 ** 20 // Brokers send a batch of any size if it is the first; who sends more is no Kafka broker.
const KEEP_ALIVE_MS = 60_000

export interface SocketOptions {
  host: string
  port: number
  ssl: ConnectionOptions | null
  onConnect(): void
}

/** kafkajs' `socketFactory`: a socket whose `data` events are whole answers, size included. */
export function answerSockets(): (options: SocketOptions) => Socket {
  return ({ host, port, ssl, onConnect }) => {
    const answers = joinAnswers(
      answer => socket.emit('data', answer),
      error => socket.destroy(error)
    )
    const onread: OnReadOpts = { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback: (count, buffer) => answers(Buffer.from(buffer.buffer, 0, count)) }
    const options: NetConnectOpts = { host, port, onread }
    const socket = ssl ? connectTls({ ...options, ...(isIP(host) === 0 && { servername: host }), ...ssl }, onConnect) : connect(options, onConnect)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    return socket
  }
}

/**
 * Puts answers together from what is read, in whatever pieces it comes.
 * @returns takes a piece, which may be overwritten afterwards; false: no more is wanted
 */
export function joinAnswers(onAnswer: (answer: Buffer) => void, onError: (error: Error) => void): (piece: Buffer) => boolean {
  const size = Buffer.alloc(SIZE_BYTES)
  let answer: Buffer | undefined
  let filled = 0 // Of `size` while there is no answer, of it thereafter.

  return piece => {
    for (let at = 0; at < piece.length; ) {
      const target = answer ?? size
      const copied = piece.copy(target, filled, at)
      at += copied
      filled += copied
      if (filled < target.length) continue
      if (answer === undefined) {
        const bytes = size.readInt32BE(0)
        if (bytes < ANSWER_BYTES_MIN || bytes > ANSWER_BYTES_MAX) {
          onError(new Error(`an answer of ${bytes} bytes: what listens there is no Kafka broker, or it speaks TLS`))
          return false
        }
        answer = Buffer.allocUnsafeSlow(SIZE_BYTES + bytes)
        size.copy(answer)
        continue
      }
      filled = 0
      const complete = answer
      answer = undefined
      onAnswer(complete)
    }
    return true
  }
}
