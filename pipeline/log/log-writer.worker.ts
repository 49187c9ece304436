// The thread of the embedded log's writer: takes operations in order, answers each. All state is the writer's own.
//
// A group of appends is written and synced beside the thread (libuv), while it indexes another; groups commit in order.
// Its process may be killed at any line: an operation that was not answered either happened as a whole or not at all.

import { parentPort, workerData } from 'node:worker_threads'
import { logError } from './log-error.ts'
import { type LogWriter, openLogWriter } from './log-writer.ts'
import { type PackedCall, type ThreadAnswer, type ThreadRequest, unpack } from './writer-client.ts'
import type { AppendCall, AppendResult, WriterOptions } from './writer-protocol.ts'

const options = workerData as WriterOptions
const port = parentPort!
let writer: LogWriter | undefined
let lastGroup: Promise<unknown> = Promise.resolve()

port.on('message', async (message: ThreadRequest) => {
  const answer: ThreadAnswer = { id: message.id }
  try {
    answer.result = await perform(message)
  } catch (cause) {
    const { code, message: text } = logError(cause, `${message.name} in ${options.dir}`)
    answer.error = { code, message: text }
  }
  if (message.buffer !== undefined) answer.buffer = message.buffer
  port.postMessage(answer, message.buffer === undefined ? [] : [message.buffer])
})

function perform({ name, request, buffer }: ThreadRequest): unknown {
  if (name === 'close') return lastGroup.then(() => writer?.close())
  // Opened by the first operation: a disk that is full at start is tried again with the next.
  writer ??= openLogWriter(options)
  if (name === 'append') {
    const { nowMs, calls } = request as { nowMs: number; calls: PackedCall[] }
    return append(writer, nowMs, unpack(calls, buffer!))
  }
  return (writer[name] as (argument: unknown) => unknown)(request)
}

function append(into: LogWriter, nowMs: number, calls: readonly AppendCall[]): Promise<readonly AppendResult[]> {
  const staged = into.stage(nowMs, calls)
  const earlier = lastGroup
  const filled = Promise.allSettled(staged.stretches.map(stretch => stretch.fill()))
  const group = filled.then(async fills => {
    await earlier
    const failed = fills.find(one => one.status === 'rejected')
    return failed === undefined ? staged.commit() : staged.fail(failed.reason)
  })
  lastGroup = group
  return group
}
