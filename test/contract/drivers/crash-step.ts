// Preloaded into a process that applies an order: kills it with SIGKILL at its Nth step, N = CRASH_AT.
//
// A step lies before every call that changes something outside (files, processes, requests, signals) and at every answer to one.
// Counting begins when the program sets `globalThis.crashArmed`.

import childProcess from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import { syncBuiltinESMExports } from 'node:module'

declare global {
  var crashArmed: boolean | undefined
  var crashSteps: number | undefined
}

const at = Number(process.env.CRASH_AT)
const kill = process.kill.bind(process)

function step(): void {
  if (!globalThis.crashArmed) return
  globalThis.crashSteps = (globalThis.crashSteps ?? 0) + 1
  if (globalThis.crashSteps === at) kill(process.pid, 'SIGKILL')
}

type AnyFunction = (...args: any[]) => any

function before(object: object, name: string, after: (result: unknown) => void = () => {}): void {
  const functions = object as Record<string, AnyFunction>
  const original = functions[name]!
  functions[name] = function wrapped(this: unknown, ...args: unknown[]) {
    step()
    const result = original.apply(this, args)
    after(result)
    return result
  }
}

interface Emitter {
  prependOnceListener(event: string, listener: () => void): unknown
}
const answers =
  (...events: string[]) =>
  (result: unknown) =>
    events.forEach(event => void (result as Emitter).prependOnceListener(event, step))

for (const name of ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync', 'mkdirSync', 'linkSync', 'rmSync', 'writeFileSync', 'unlinkSync'])
  before(fs, name)
before(childProcess, 'spawn', answers('spawn', 'exit', 'close'))
before(http, 'request', answers('socket', 'response', 'close'))
before(process, 'kill')
syncBuiltinESMExports()
