// Calls between threads and processes: both ends of a port may call the other's methods; errors keep their code.
//
// Used between the main thread and the roles it hosts (detect, store, train). Answers come in any order; a closed
// port fails what is still open, so that nobody waits for a role that died.

import { AppError, type ErrorCode } from '../../schemas/errors.ts'

export type Methods = Readonly<Record<string, (parameters: never) => unknown>>

/** A worker thread, a message port, or a child process behind the same two calls. */
export interface Port {
  postMessage(message: unknown): void
  // biome-ignore lint/suspicious/noExplicitAny: what Node's own ports declare; openPeer narrows it.
  on(event: 'message', listener: (message: any) => void): unknown
}

export interface Peer {
  /** Calls `method` on the other side. @throws AppError of the other side, or `timeout` when the port closes */
  call<Result>(method: string, parameters?: unknown): Promise<Result>
  /** Fails every open call. */
  close(reason: string): void
}

interface CallMessage {
  kind: 'call'
  id: number
  method: string
  parameters: unknown
}
interface AnswerMessage {
  kind: 'answer'
  id: number
  value?: unknown
  error?: { code: ErrorCode; message: string; stack?: string | undefined }
}

export function openPeer(port: Port, methods: Methods): Peer {
  const open = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  let lastId = 0

  port.on('message', (message: CallMessage | AnswerMessage) => {
    if (message.kind === 'call') void answer(message)
    else settle(message)
  })

  async function answer({ id, method, parameters }: CallMessage): Promise<void> {
    const reply: AnswerMessage = { kind: 'answer', id }
    try {
      const handler = methods[method]
      if (!handler) throw new AppError('bug', `no method ${method} here`)
      reply.value = await handler(parameters as never)
    } catch (cause) {
      reply.error = describe(cause)
    }
    port.postMessage(reply)
  }

  function settle({ id, value, error }: AnswerMessage): void {
    const waiting = open.get(id)
    if (!waiting) return
    open.delete(id)
    if (error) waiting.reject(revive(error))
    else waiting.resolve(value)
  }

  return {
    call: <Result>(method: string, parameters?: unknown) =>
      new Promise<Result>((resolve, reject) => {
        const id = ++lastId
        open.set(id, { resolve: resolve as (value: unknown) => void, reject })
        port.postMessage({ kind: 'call', id, method, parameters } satisfies CallMessage)
      }),
    close(reason) {
      for (const waiting of open.values()) waiting.reject(new AppError('timeout', reason))
      open.clear()
    }
  }
}

function revive({ code, message, stack }: NonNullable<AnswerMessage['error']>): AppError {
  const failure = new AppError(code, message)
  if (stack) failure.stack = stack
  return failure
}

function describe(cause: unknown): NonNullable<AnswerMessage['error']> {
  if (cause instanceof AppError) return { code: cause.code, message: cause.message, stack: cause.stack }
  return cause instanceof Error ? { code: 'bug', message: cause.message, stack: cause.stack } : { code: 'bug', message: String(cause) }
}
