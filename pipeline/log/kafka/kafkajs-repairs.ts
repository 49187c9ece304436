// Three repairs of kafkajs 2.2.4, made before its connections are loaded. All are about cost, none about what is sent.

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** A request's body: kafkajs' encoder, or parts that are copied once. */
export interface RequestBody {
  readonly buf: Buffer
  readonly buffer: Buffer
  readonly parts?: readonly Buffer[]
}

/** A body that also an unrepaired kafkajs would send. */
export function requestBody(parts: readonly Buffer[]): RequestBody {
  return {
    parts,
    get buf() {
      return Buffer.concat(parts)
    },
    get buffer() {
      return Buffer.concat(parts)
    }
  }
}

// A body is copied three times on its way, each time into a zeroed buffer of the next power of two: 56 MB for a request of 8 MB, and
// most of a producer's time went into freeing them. Here one buffer of the right size is made. Connections take the function when
// they are loaded.
const HEAD_BYTES = 14 // Size, api, version, correlation id, length of the client's name.
const requestFile = require.resolve('kafkajs/src/protocol/request')
require(requestFile)
require.cache[requestFile]!.exports = createRequest

interface Asked {
  correlationId: number
  clientId: string
  request: { apiKey: number; apiVersion: number; encode(): Promise<RequestBody> }
}

async function createRequest({ correlationId, clientId, request }: Asked): Promise<{ buffer: Buffer }> {
  const body = await request.encode()
  const parts = body.parts ?? [body.buffer]
  const name = Buffer.from(clientId)
  const head = Buffer.allocUnsafe(HEAD_BYTES)
  head.writeInt32BE(HEAD_BYTES - 4 + name.length + parts.reduce((sum, part) => sum + part.length, 0), 0)
  head.writeInt16BE(request.apiKey, 4)
  head.writeInt16BE(request.apiVersion, 6)
  head.writeInt32BE(correlationId, 8)
  head.writeInt16BE(name.length, 12)
  return { buffer: Buffer.concat([head, name, ...parts]) }
}

// An idle connection wakes up every millisecond to look for requests that a broker's quota holds back (its timer gets a negative
// time; on Node 24 a TimeoutNegativeWarning tells). 3.5 to 4.3 % of a core per process: it is only started with a reason.
interface RequestQueue {
  pending: readonly unknown[]
  throttledUntil: number
  scheduleCheckPendingRequests(): void
}
const { prototype: queue } = require('kafkajs/src/network/requestQueue') as { prototype: RequestQueue }
const schedule = queue.scheduleCheckPendingRequests
queue.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this)
}

// kafkajs joins every piece that is read to what is left of the answer before, which copies each answer once more, also when nothing
// is left: 10 % of a detector's time. Our sockets (kafkajs-socket.ts) give whole answers.
interface Connection {
  authHandlers: { onSuccess(answer: Buffer): void } | null
  requestQueue: { fulfillRequest(answer: { size: number; correlationId: number; payload: Buffer }): void }
  processData(answer: Buffer): void
}
const CORRELATION_ID_AT = 4
const PAYLOAD_AT = 8
const { prototype: connection } = require('kafkajs/src/network/connection') as { prototype: Connection }
connection.processData = function (this: Connection, answer) {
  if (this.authHandlers) return this.authHandlers.onSuccess(answer)
  const [size, correlationId, payload] = [answer.length - CORRELATION_ID_AT, answer.readInt32BE(CORRELATION_ID_AT), answer.subarray(PAYLOAD_AT)]
  this.requestQueue.fulfillRequest({ size, correlationId, payload })
}
