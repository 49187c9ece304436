// One record of the log as rows, whatever its topic: telemetry slices through OTLP, everything else through its record type.
//
// A pure function of the record, so a replay makes the same rows.

import { AppError } from '../../../schemas/errors.ts'
import type { LogRecord } from '../../../schemas/ports.ts'
import { TOPICS } from '../../../schemas/topics.ts'
import { logRows } from './log-rows.ts'
import { metricRows, type SignalRows } from './metric-rows.ts'
import { recordRows } from './record-rows.ts'
import type { Sighting } from './sighting.ts'
import { spanRows } from './span-rows.ts'
import type { TableRow } from './values.ts'

export type LogRecordRows = { ok: true; rows: readonly TableRow[]; sightings: readonly Sighting[]; unusable: number } | { ok: false; reason: string }

type Read = (request: Uint8Array, defaults: { entity: string; environment: string }, receivedMs: number) => SignalRows
const TELEMETRY: Readonly<Record<string, Read>> = { [TOPICS.metrics.name]: metricRows, [TOPICS.spans.name]: spanRows, [TOPICS.logs.name]: logRows }

const NOTHING = { ok: true, rows: [], sightings: [], unusable: 0 } as const

/**
 * @param environment of telemetry whose resource names none
 * @returns no rows for a tombstone; `ok: false` when the record cannot be read (it belongs into the dead-letter topic)
 */
export function logRecordRows(record: LogRecord, environment: string): LogRecordRows {
  if (record.value === null) return NOTHING
  const telemetry = TELEMETRY[record.topic]
  if (!telemetry) {
    const result = recordRows(record)
    return result.ok ? { ...NOTHING, rows: result.rows } : result
  }
  try {
    return { ok: true, ...telemetry(record.value, { entity: record.key ?? '', environment }, record.appendedAtMs) }
  } catch (error) {
    if (error instanceof AppError && error.code === 'malformed_otlp') return { ok: false, reason: error.message }
    throw error
  }
}
