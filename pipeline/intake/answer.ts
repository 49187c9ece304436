// What a sender is told, to the letter of the OTLP specification, for both transports.
//
//   trouble that passes  HTTP 503 + Retry-After   gRPC UNAVAILABLE + RetryInfo      (senders keep the data and come again)
//   refused for good     HTTP 400/401/404/405/413/415   gRPC INVALID_ARGUMENT, UNAUTHENTICATED, UNIMPLEMENTED, RESOURCE_EXHAUSTED
// Collectors drop data on 400 and 500, and on RESOURCE_EXHAUSTED without RetryInfo: so a passing trouble is never one of these.

import { AppError, type ErrorCode } from '../../schemas/errors.ts'
import { makeProtoWriter } from '../otlp/proto-writer.ts'
import type { Signal } from './slices.ts'

export const GRPC = {
  ok: 0,
  invalidArgument: 3,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16
} as const

export interface Refusal {
  code: ErrorCode
  http: number
  grpc: number
  message: string
  /** The sender shall come again, after the configured delay. */
  retry: boolean
}

const MESSAGE_CHARS_MAX = 1_000 // Far below the 4 MiB that the specification allows an answer.

const PERMANENT: Partial<Record<ErrorCode, readonly [http: number, grpc: number]>> = {
  malformed_otlp: [400, GRPC.invalidArgument],
  malformed_alert: [400, GRPC.invalidArgument],
  body_too_large: [413, GRPC.resourceExhausted],
  record_too_large: [413, GRPC.resourceExhausted],
  unsupported_encoding: [415, GRPC.unimplemented],
  unauthenticated: [401, GRPC.unauthenticated],
  not_found: [404, GRPC.unimplemented]
}

/**
 * The answer to a request that failed with `error`. Whatever is not known to be the sender's fault is answered as a passing
 * trouble, our own bugs included: the sender keeps the data, and a restart or a new version may take it.
 */
export function refusal(error: unknown): Refusal {
  const code = error instanceof AppError ? error.code : 'bug'
  const known = PERMANENT[code]
  const text = error instanceof AppError && code !== 'bug' ? error.message : 'an internal fault; send again later'
  const message = text.slice(0, MESSAGE_CHARS_MAX)
  if (known !== undefined) return { code, http: known[0], grpc: known[1], message, retry: false }
  return { code, http: 503, grpc: GRPC.unavailable, message, retry: true }
}

const RETRY_INFO_TYPE = 'type.googleapis.com/google.rpc.RetryInfo'

/** google.rpc.Status in protobuf, with RetryInfo when `retryAfterMs` is given. */
export function statusBytes(code: number, message: string, retryAfterMs?: number): Uint8Array {
  const writer = makeProtoWriter()
  writer.varint(1, code)
  writer.text(2, message)
  if (retryAfterMs === undefined) return writer.finish()
  writer.message(3, () => {
    const retryInfo = makeProtoWriter()
    retryInfo.message(1, () => {
      retryInfo.varint(1, Math.floor(retryAfterMs / 1_000)) // Duration: seconds, nanos
      retryInfo.varint(2, Math.round((retryAfterMs % 1_000) * 1e6))
    })
    writer.text(1, RETRY_INFO_TYPE)
    writer.bytes(2, retryInfo.finish())
  })
  return writer.finish()
}

/** google.rpc.Status as JSON. */
export function statusJson(code: number, message: string, retryAfterMs?: number): string {
  const details = retryAfterMs === undefined ? {} : { details: [{ '@type': RETRY_INFO_TYPE, retryDelay: `${retryAfterMs / 1_000}s` }] }
  return JSON.stringify({ code, message, ...details })
}

/** Export*ServiceResponse in protobuf: empty on full success, else partial_success (the same fields for every signal). */
export function successBytes(rejected: number, reason: string): Uint8Array {
  if (rejected === 0 && reason === '') return EMPTY
  const writer = makeProtoWriter()
  writer.message(1, () => {
    writer.varint(1, rejected)
    writer.text(2, reason.slice(0, MESSAGE_CHARS_MAX))
  })
  return writer.finish()
}

const EMPTY = new Uint8Array(0)
const REJECTED_NAME: Record<Signal, string> = { metrics: 'rejectedDataPoints', spans: 'rejectedSpans', logs: 'rejectedLogRecords' }

/** Export*ServiceResponse as JSON. */
export function successJson(signal: Signal, rejected: number, reason: string): string {
  if (rejected === 0 && reason === '') return '{}'
  const text = reason.slice(0, MESSAGE_CHARS_MAX)
  return JSON.stringify({ partialSuccess: { [REJECTED_NAME[signal]]: String(rejected), errorMessage: text } })
}
