// ClickHouse's errors in our terms: `store_unavailable` (the same statement may succeed later) or `store_refused` (it will not).
//
// The difference decides fates: the store role waits and repeats on the first, and never drops rows because of it.

import { AppError } from '../../schemas/errors.ts'

/** Codes of passing trouble: timeouts, network, memory, disk, too many parts or queries, replicas away, shutting down. */
const RETRIABLE_CODES = new Set([
  3, 74, 75, 76, 159, 160, 164, 198, 201, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 254, 279, 285, 286, 319, 394, 425, 439, 999, 1001, 1002
])
/** Codes that speak of the rows themselves: a value that does not fit its column. Such rows are poison, the rest is not. */
const DATA_CODES = new Set([6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 131, 190, 321, 349, 407])
/** 164 is READONLY: passing when a server is read-only for a while, but final for a statement we forbade ourselves. */
const READONLY_CODE = 164

/**
 * The error of a statement as an AppError; `details.clickhouseCode` has ClickHouse's number where there is one.
 * @param what what was being done, as a noun phrase: `insert into otel_logs`
 */
export function storeError(what: string, cause: unknown, options: { readOnly?: boolean } = {}): AppError {
  if (cause instanceof AppError) return cause
  if (cause instanceof TypeError || cause instanceof RangeError) return new AppError('bug', `${what}: ${cause.message}`, { cause })
  const message = firstLine(cause instanceof Error ? cause.message : String(cause))
  const code = clickhouseCode(cause)
  const details = code === undefined ? {} : { clickhouseCode: code }
  if (code === undefined) return new AppError('store_unavailable', `${what}: ClickHouse does not answer: ${message}`, { cause })
  const retriable = RETRIABLE_CODES.has(code) && !(options.readOnly && code === READONLY_CODE)
  return retriable
    ? new AppError('store_unavailable', `${what}: ClickHouse cannot do it now (code ${code}): ${message}`, { cause, details })
    : new AppError('store_refused', `${what}: ClickHouse refused it (code ${code}): ${message}`, { cause, details })
}

/** True when the rows are to blame, not the schema, the grants or the server. */
export function blamesRows(error: unknown): boolean {
  return error instanceof AppError && error.code === 'store_refused' && DATA_CODES.has(Number(error.details.clickhouseCode))
}

/** ClickHouse's error number, or undefined when the failure lies before ClickHouse (network, a closed client). */
export function clickhouseCode(cause: unknown): number | undefined {
  const own = Number((cause as { code?: unknown } | null)?.code)
  if (Number.isInteger(own)) return own
  // The embedded engine reports a parser error of SQL as text only.
  const text = cause instanceof Error ? cause.message : ''
  const written = /\bCode: (\d+)\./.exec(text)
  if (written) return Number(written[1])
  return /^Syntax error/.test(text) ? SYNTAX_ERROR : undefined
}

const SYNTAX_ERROR = 62
const MESSAGE_CHARS_MAX = 500 // A refused insert quotes rows; the log line need not carry them all.

function firstLine(text: string): string {
  const line = text.split('\n', 1)[0]!.trim()
  return line.length > MESSAGE_CHARS_MAX ? `${line.slice(0, MESSAGE_CHARS_MAX)}…` : line
}
