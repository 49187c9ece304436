// Homeostat's own log: pino JSON on stderr (pretty only where a person watches), trace ids from the incident in hand.
//
// stdout stays free for data. Secrets are redacted by path; stacks are kept for level error.

import pino from 'pino'
import type { Logger } from '../../schemas/ports.ts'

const REDACTED = ['token', 'tokens', 'password', 'secret', 'authorization', '*.token', '*.password', '*.secret', '*.authorization', 'headers.authorization']

export function openLogger(options: { level: string; role: string; pretty?: boolean }): Logger {
  return pino(
    {
      level: options.level,
      base: { role: options.role },
      redact: { paths: REDACTED, censor: '[redacted]' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ severity: label }) }
    },
    options.pretty ? prettyStream() : pino.destination({ fd: 2, sync: true })
  ) as unknown as Logger
}

/** One line a record for people: time, severity, role, sentence, fields. */
function prettyStream(): { write(line: string): void } {
  return {
    write(line) {
      const { time, severity, role, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown> & { time: string; severity: string }
      const paint = SEVERITY_COLOR[severity] ?? ''
      const rest = Object.entries(fields).map(([key, value]) => ` ${DIM}${key}=${RESET}${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
      const cause =
        err && typeof err === 'object' ? `\n    ${String((err as { stack?: string; message?: string }).stack ?? (err as { message?: string }).message)}` : ''
      process.stderr.write(
        `${DIM}${time.slice(11, 23)}${RESET} ${paint}${severity.padEnd(5)}${RESET} ${DIM}${String(role).padEnd(7)}${RESET} ${String(msg)}${rest.join('')}${cause}\n`
      )
    }
  }
}

const RESET = '\u001B[0m'
const DIM = '\u001B[2m'
const SEVERITY_COLOR: Readonly<Record<string, string>> = { debug: DIM, info: '\u001B[32m', warn: '\u001B[33m', error: '\u001B[31m' }
