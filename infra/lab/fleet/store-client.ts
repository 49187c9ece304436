// The client of the TCP store: one connection, requests answered in order, CLIENT spans that name the store as their peer.
//
// The store sends no spans of its own, so these are the only traces of it. A lost connection fails what waits on it and
// is opened again by the next request.

import { connect, type Socket } from 'node:net'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import type { Telemetry } from './telemetry.ts'

const PENDING_MAX = 256 // Requests that wait for the store; beyond it they fail at once.

interface Pending {
  settle(reply: string | undefined, errorType?: string): void
}

/** @returns a function that sends `<operation> <rest>` and resolves with the reply; rejects after `timeoutMs` or when the store is away */
export function storeClient(telemetry: Telemetry, port: number, timeoutMs: number): (operation: string, rest: string) => Promise<string> {
  let socket: Socket | undefined
  const pending: Pending[] = []

  function open(): Socket {
    const opened = connect({ host: '127.0.0.1', port, noDelay: true })
    let buffered = ''
    opened.setEncoding('utf8')
    opened.on('data', (chunk: string) => {
      const lines = (buffered + chunk).split('\n')
      buffered = lines.pop()!
      for (const line of lines) pending.shift()?.settle(line)
    })
    opened.on('error', () => undefined) // `close` follows and tells everyone who waits.
    opened.once('close', () => {
      if (socket === opened) socket = undefined
      for (const waiting of pending.splice(0)) waiting.settle(undefined, 'connection_lost')
    })
    return opened
  }

  return (operation, rest) => {
    const span = telemetry.tracer.startSpan(operation, {
      kind: SpanKind.CLIENT,
      attributes: { 'db.system.name': 'lab-store', 'db.operation.name': operation, 'peer.service': 'store', 'server.port': port }
    })
    return new Promise((resolve, reject) => {
      let settled = false
      const settle: Pending['settle'] = (reply, errorType) => {
        if (settled) return
        settled = true
        clearTimeout(timer)
        if (errorType) span.setAttribute('error.type', errorType).setStatus({ code: SpanStatusCode.ERROR, message: errorType })
        span.end()
        if (reply === undefined) reject(new Error(`store: ${errorType}`))
        else resolve(reply)
      }
      // A request that timed out stays in line: its late reply must not be taken for the next one's.
      const timer = setTimeout(() => settle(undefined, 'timeout'), timeoutMs)
      if (pending.length >= PENDING_MAX) return settle(undefined, 'queue_full')
      socket ??= open()
      pending.push({ settle })
      socket.write(`${operation} ${rest}\n`)
    })
  }
}
