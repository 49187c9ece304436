// Control records on the wire: JSON in CloudEvents 1.0 binary mode (attributes in `ce_*` headers, body in the value).

import type { z } from 'zod'
import { AppError } from './errors.ts'
import type { LogRecord, LogRecordInput } from './ports.ts'

const SOURCE = 'homeostat'
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** One record type: its CloudEvents type, its key and subject, and the schema that both sides check. */
export interface RecordType<T> {
  /** `homeostat.anomaly.v1`: the major version is part of the name. */
  type: string
  schema: z.ZodType<T>
  id(record: T): string
  key(record: T): string
  atMs(record: T): number
  traceparent?(record: T): string | undefined
}

/** A record as the log takes it, its value still text: what can be kept as JSON until it is published. */
export interface TextRecord {
  key: string
  text: string
  headers: Readonly<Record<string, string>>
}

/** The record as log input. @throws AppError `bug` when it does not fit its schema: we never publish what we could not read. */
export function encodeRecord<T>(type: RecordType<T>, record: T): LogRecordInput {
  const { key, text, headers } = textRecord(type, record)
  return { key, value: encoder.encode(text), headers }
}

/** As `encodeRecord`, before its bytes are made. @throws AppError `bug` when it does not fit its schema */
export function textRecord<T>(type: RecordType<T>, record: T): TextRecord {
  const checked = type.schema.safeParse(record)
  if (!checked.success) throw new AppError('bug', `${type.type} does not fit its schema: ${checked.error.message}`)
  const traceparent = type.traceparent?.(record)
  const key = type.key(record)
  return {
    key,
    text: JSON.stringify(record),
    headers: {
      ce_specversion: '1.0',
      ce_id: type.id(record),
      ce_source: SOURCE,
      ce_type: type.type,
      ce_time: new Date(type.atMs(record)).toISOString(),
      ce_subject: key,
      'content-type': 'application/json',
      ...(traceparent === undefined ? {} : { traceparent })
    }
  }
}

export type Decoded<T> = { ok: true; record: T } | { ok: false; reason: string }

/** The record in a log record's value, or why it cannot be read. Unknown fields are kept out, not refused. */
export function decodeRecord<T>(type: Pick<RecordType<T>, 'type' | 'schema'>, record: Pick<LogRecord, 'value' | 'headers'>): Decoded<T> {
  if (record.headers.ce_type !== type.type) return { ok: false, reason: `type ${record.headers.ce_type ?? '(none)'} where ${type.type} was expected` }
  if (record.value === null) return { ok: false, reason: 'no value' }
  let json: unknown
  try {
    json = JSON.parse(decoder.decode(record.value))
  } catch (cause) {
    return { ok: false, reason: `not JSON: ${cause instanceof Error ? cause.message : String(cause)}` }
  }
  const parsed = type.schema.safeParse(json)
  return parsed.success
    ? { ok: true, record: parsed.data }
    : { ok: false, reason: parsed.error.issues.map(issue => `${issue.path.join('.')}: ${issue.message}`).join('; ') }
}
