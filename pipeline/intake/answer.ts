// What a sender is told, to the letter of the OTLP specification, for both transports.
//
//   trouble that passes  HTTP 503 + Retry-After   gRPC UNAVAILABLE + RetryInfo      (senders keep the data and come again)
//   refused for good     HTTP 400/401/404/405/413/415   gRPC INVALID_ARGUMENT, UNAUTHENTICATED, UNIMPLEMENTED, RESOURCE_EXHAUSTED
// Collectors drop data on 400 and 500, and on RESOURCE_EXHAUSTED without RetryInfo: so a passing trouble is never one of these.

import { AppError, type ErrorCode } from '../../schemas/errors.ts'
import type { Signal } from './slices.ts'
import { lengthField, totalLength, varintField, writeParts } from './wire.ts'

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
  body_too_large: [413, GRPC.resourceExhausted],
  record_too_large: [413, GRPC.resourceExhausted],
  unsupported_encoding: [415, GRPC.unimplemented],
  unauthenticated: [401, GRPC.unauthenticated]
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
const encoder = new TextEncoder()

/** google.rpc.Status in protobuf, with RetryInfo when `retryAfterMs` is given. */
export function statusBytes(code: number, message: string, retryAfterMs?: number): Uint8Array {
  const parts = [code === 0 ? EMPTY : varintField(1, code), lengthField(2, encoder.encode(message))]
  if (retryAfterMs !== undefined) {
    const seconds = Math.floor(retryAfterMs / 1_000)
    const nanos = Math.round((retryAfterMs % 1_000) * 1e6)
    const duration = [seconds === 0 ? EMPTY : varintField(1, seconds), nanos === 0 ? EMPTY : varintField(2, nanos)]
    const retryInfo = lengthField(1, ...duration)
    parts.push(lengthField(3, lengthField(1, encoder.encode(RETRY_INFO_TYPE)), lengthField(2, retryInfo)))
  }
  return joined(parts)
}

/** google.rpc.Status as JSON. */
export function statusJson(code: number, message: string, retryAfterMs?: number): string {
  const details = retryAfterMs === undefined ? {} : { details: [{ '@type': RETRY_INFO_TYPE, retryDelay: `${retryAfterMs / 1_000}s` }] }
  return JSON.stringify({ code, message, ...details })
}

const EMPTY = new Uint8Array(0)

/** Export*ServiceResponse in protobuf: empty on full success, else partial_success (the same fields for every signal). */
export function successBytes(rejected: number, reason: string): Uint8Array {
  if (rejected === 0 && reason === '') return EMPTY
  const text = reason.slice(0, MESSAGE_CHARS_MAX)
  return lengthField(1, rejected === 0 ? EMPTY : varintField(1, rejected), lengthField(2, encoder.encode(text)))
}

const REJECTED_NAME: Record<Signal, string> = { metrics: 'rejectedDataPoints', spans: 'rejectedSpans', logs: 'rejectedLogRecords' }

/** Export*ServiceResponse as JSON. */
export function successJson(signal: Signal, rejected: number, reason: string): string {
  if (rejected === 0 && reason === '') return '{}'
  const text = reason.slice(0, MESSAGE_CHARS_MAX)
  return JSON.stringify({ partialSuccess: { [REJECTED_NAME[signal]]: String(rejected), errorMessage: text } })
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(totalLength(parts))
  writeParts(result, 0, parts)
  return result
}
