// Homeostat's own log: pino JSON on stderr (pretty only where a person watches), trace ids from the incident in hand.
//
// stdout stays free for data. Secrets are redacted by path; what is thrown is told with its code and causes, and with its stack where nobody
// foresaw it.

import pino from 'pino'
import { AppError } from '../../schemas/errors.ts'
import type { Logger } from '../../schemas/ports.ts'

const REDACTED = ['token', 'tokens', 'password', 'secret', 'authorization', '*.token', '*.password', '*.secret', '*.authorization', 'headers.authorization']

export function openLogger(options: { level: string; role: string; pretty?: boolean }): Logger {
  return pino(
    {
      level: options.level,
      base: { role: options.role },
      redact: { paths: REDACTED, censor: '[redacted]' },
      timestamp: pino.stdTimeFunctions.isoTime,
      errorKey: 'error',
      serializers: { error: describeError },
      formatters: { level: label => ({ severity: label }) }
    },
    options.pretty ? prettyStream() : pino.destination({ fd: 2, sync: true })
  ) as unknown as Logger
}

const CAUSES_MAX = 5

/** What a log line says of something thrown. An AppError is an answer, any other error may be a bug: its stack is kept. */
export function describeError(thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return thrown
  const isForeseen = thrown instanceof AppError
  return {
    ...(isForeseen ? { code: thrown.code } : { type: thrown.name }),
    message: thrown.message,
    ...(isForeseen && Object.keys(thrown.details).length > 0 && { details: thrown.details }),
    ...(!isForeseen && depth === 0 && { stack: thrown.stack }),
    ...(thrown.cause !== undefined && depth < CAUSES_MAX && { cause: describeError(thrown.cause, depth + 1) })
  }
}

/** One line a record for people: time, severity, role, sentence, fields. */
function prettyStream(): { write(line: string): void } {
  return {
    write(line) {
      const { time, severity, role, msg, error, ...fields } = JSON.parse(line) as Record<string, unknown> & { time: string; severity: string }
      const paint = SEVERITY_COLOR[severity] ?? ''
      const rest = Object.entries(fields).map(([key, value]) => ` ${DIM}${key}=${RESET}${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
      const cause = error === undefined ? '' : `\n    ${reasonOf(error)}`
      process.stderr.write(
        `${DIM}${time.slice(11, 23)}${RESET} ${paint}${severity.padEnd(5)}${RESET} ${DIM}${String(role).padEnd(7)}${RESET} ${String(msg)}${rest.join('')}${cause}\n`
      )
    }
  }
}

/** The stack, or the sentence and what caused it. */
function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error)
  const { stack, message, cause } = error as { stack?: string; message?: string; cause?: unknown }
  return (stack ?? message ?? JSON.stringify(error)) + (cause === undefined ? '' : `\n    caused by ${reasonOf(cause)}`)
}

const RESET = '\u001B[0m'
const DIM = '\u001B[2m'
const SEVERITY_COLOR: Readonly<Record<string, string>> = { debug: DIM, info: '\u001B[32m', warn: '\u001B[33m', error: '\u001B[31m' }
