// Sockets for kafkajs that hand over each answer in one piece.
//
// kafkajs as it comes takes a buffer of 64 KiB from the heap for every read, and copies all of them again when an answer of some
// megabytes is complete. Here the kernel writes most of an answer straight into the answer's own buffer.

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
    const onread: OnReadOpts = { buffer: answers.room, callback: count => answers.take(count) }
    const options: NetConnectOpts = { host, port, onread }
    const socket = ssl ? connectTls({ ...options, ...(isIP(host) === 0 && { servername: host }), ...ssl }, onConnect) : connect(options, onConnect)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    return socket
  }
}

/** Where bytes are read to, and what becomes of them. */
export interface AnswerJoiner {
  /** Where the next bytes go: the rest of the answer that has begun, if that is much, else a buffer that is used again. */
  room(): Buffer
  /** The first `count` bytes of the room were filled. @returns false: no more is wanted */
  take(count: number): boolean
}

/** Puts answers together from what is read, in whatever pieces it comes. */
export function joinAnswers(onAnswer: (answer: Buffer) => void, onError: (error: Error) => void): AnswerJoiner {
  const spare = Buffer.allocUnsafeSlow(READ_BYTES)
  const size = Buffer.alloc(SIZE_BYTES)
  let answer: Buffer | undefined
  let filled = 0 // Of `size` while there is no answer, of it thereafter.
  let isDirect = false

  /** @returns false when the answer's size is none */
  function begin(): boolean {
    const bytes = size.readInt32BE(0)
    if (bytes < ANSWER_BYTES_MIN || bytes > ANSWER_BYTES_MAX) {
      onError(new Error(`an answer of ${bytes} bytes: what listens there is no Kafka broker, or it speaks TLS`))
      return false
    }
    answer = Buffer.allocUnsafeSlow(SIZE_BYTES + bytes)
    size.copy(answer)
    return true
  }

  function endIfComplete(): void {
    if (answer === undefined || filled < answer.length) return
    const complete = answer
    answer = undefined
    filled = 0
    onAnswer(complete)
  }

  /** What was read into the spare room may hold the end of one answer, whole ones, and the beginning of another. */
  function distribute(count: number): boolean {
    for (let at = 0; at < count; ) {
      const target = answer ?? size
      const copied = spare.copy(target, filled, at, count)
      at += copied
      filled += copied
      if (answer === undefined && filled === SIZE_BYTES && !begin()) return false
      endIfComplete()
    }
    return true
  }

  return {
    room() {
      isDirect = answer !== undefined && answer.length - filled >= READ_BYTES
      return isDirect ? answer!.subarray(filled) : spare
    },
    take(count) {
      if (!isDirect) return distribute(count)
      filled += count
      endIfComplete()
      return true
    }
  }
}
