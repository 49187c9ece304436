// The writer as the rest of the log sees it: asynchronous, on its own thread (so that a sync never stops the event loop) or inline.
//
// Operations run one after another in the order they were asked for. Values of an append in memory that threads share go by
// reference. All others are packed into one buffer that goes back and forth by transfer: the caller's bytes may be a slice of a
// large pool, which a plain message would copy whole.
// A thread that dies fails what it was doing as `log_unavailable`; the next operation starts another.

import { Worker } from 'node:worker_threads'
import { AppError, type ErrorCode } from '../../schemas/errors.ts'
import { logError } from './log-error.ts'
import { type LogWriter, openLogWriter } from './log-writer.ts'
import type { AppendCall, OperationName, WriterOperations, WriterOptions } from './writer-protocol.ts'

const BUFFER_BYTES_MIN = 2 ** 20
const BUFFERS_KEPT_MAX = 3 // As many as groups are in flight.
const BUFFER_BYTES_KEPT_MAX = 16 * 2 ** 20 // A single huge record does not keep its buffer for ever.

export interface WriterClient {
  call<Name extends OperationName>(name: Name, ...request: Parameters<WriterOperations[Name]>): Promise<ReturnType<WriterOperations[Name]>>
  close(): Promise<void>
}

/** A value in shared memory, or the length of one in the packed buffer. */
type PackedValue = number | null | { shared: SharedArrayBuffer; offset: number; length: number }

/** What goes to the thread; `append` has its values packed. */
export interface ThreadRequest {
  id: number
  name: OperationName | 'close'
  request: unknown
  buffer?: ArrayBuffer
}
export interface PackedCall extends Omit<AppendCall, 'values'> {
  packed: readonly PackedValue[]
}
export interface ThreadAnswer {
  id: number
  result?: unknown
  error?: { code: ErrorCode; message: string }
  buffer?: ArrayBuffer
}

/** A writer on the calling thread: each operation blocks it while the disk syncs. For simulation and short-lived tools. */
export function inlineWriter(options: WriterOptions): WriterClient {
  let writer: LogWriter | undefined
  let closed = false
  return {
    async call(name, ...request) {
      if (closed) throw new AppError('log_unavailable', 'the log is closed')
      try {
        writer ??= openLogWriter(options)
        return (writer[name] as (...args: unknown[]) => never)(...request)
      } catch (cause) {
        throw logError(cause, `${name} in ${options.dir}`)
      }
    },
    async close() {
      closed = true
      writer?.close()
      writer = undefined
    }
  }
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: AppError): void
}

/** A writer on its own thread, started by the first operation. */
export function threadWriter(options: WriterOptions): WriterClient {
  const waiting = new Map<number, Waiting>()
  const buffers: ArrayBuffer[] = []
  let worker: Worker | undefined
  let sequence = 0
  let closed = false

  function start(): Worker {
    const thread = new Worker(new URL('./log-writer.worker.ts', import.meta.url), {
      workerData: options,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      name: 'log-writer'
    })
    thread.on('message', (answer: ThreadAnswer) => settle(thread, answer))
    const fail = (cause: unknown): void => {
      if (worker !== thread) return
      worker = undefined
      const error = new AppError('log_unavailable', `the log's writer thread stopped: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
      for (const { reject } of [...waiting.values()]) reject(error)
      waiting.clear()
    }
    thread.on('error', fail)
    thread.on('exit', code => fail(`exit code ${code}`))
    thread.unref()
    return thread
  }

  function settle(thread: Worker, { id, result, error, buffer }: ThreadAnswer): void {
    const one = waiting.get(id)
    waiting.delete(id)
    // An operation in flight keeps the process alive, an idle writer does not.
    if (waiting.size === 0) thread.unref()
    if (buffer !== undefined && buffers.length < BUFFERS_KEPT_MAX && buffer.byteLength <= BUFFER_BYTES_KEPT_MAX) buffers.push(buffer)
    if (error === undefined) one?.resolve(result)
    else one?.reject(new AppError(error.code, error.message))
  }

  function send(name: ThreadRequest['name'], request: unknown, buffer?: ArrayBuffer): Promise<unknown> {
    worker ??= start()
    const thread = worker
    const id = sequence++
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject })
      if (waiting.size === 1) thread.ref()
      thread.postMessage({ id, name, request, ...(buffer === undefined ? {} : { buffer }) }, buffer === undefined ? [] : [buffer])
    })
  }

  function sendAppend(nowMs: number, calls: readonly AppendCall[]): Promise<unknown> {
    const total = calls.reduce((sum, call) => sum + call.values.reduce((size, value) => size + (isShared(value) ? 0 : (value?.length ?? 0)), 0), 0)
    const buffer = takeBuffer(buffers, total)
    return send('append', { nowMs, calls: pack(calls, new Uint8Array(buffer)) }, buffer)
  }

  return {
    call(name, ...request) {
      if (closed) return Promise.reject(new AppError('log_unavailable', 'the log is closed'))
      const sent = name === 'append' ? sendAppend(...(request as unknown as Parameters<WriterOperations['append']>)) : send(name, request[0])
      return sent as Promise<never>
    },
    async close() {
      if (closed) return
      closed = true
      if (worker === undefined) return
      const thread = worker
      await send('close', undefined).catch(() => {})
      worker = undefined
      await thread.terminate()
    }
  }
}

function takeBuffer(buffers: ArrayBuffer[], sizeBytes: number): ArrayBuffer {
  const index = buffers.findIndex(buffer => buffer.byteLength >= sizeBytes)
  if (index !== -1) return buffers.splice(index, 1)[0]!
  buffers.pop() // Too small for what is appended now: make room for a larger one.
  // Not zeroed: the writer reads what was packed and nothing else.
  return Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES_MIN, sizeBytes)).buffer as ArrayBuffer
}

function isShared(value: Uint8Array | null): value is Uint8Array<SharedArrayBuffer> {
  return value?.buffer instanceof SharedArrayBuffer
}

function pack(calls: readonly AppendCall[], into: Uint8Array): PackedCall[] {
  let at = 0
  return calls.map(({ values, ...call }) => {
    const packed = values.map((value): PackedValue => {
      if (value === null) return null
      if (isShared(value)) return { shared: value.buffer, offset: value.byteOffset, length: value.length }
      into.set(value, at)
      at += value.length
      return value.length
    })
    return { ...call, packed }
  })
}

/** The calls again, their values as views of the buffer or of shared memory. */
export function unpack(calls: readonly PackedCall[], buffer: ArrayBuffer): AppendCall[] {
  let at = 0
  return calls.map(({ packed, ...call }) => {
    const values = packed.map(value => {
      if (value === null) return null
      if (typeof value !== 'number') return new Uint8Array(value.shared, value.offset, value.length)
      const bytes = new Uint8Array(buffer, at, value)
      at += value
      return bytes
    })
    return { ...call, values }
  })
}
