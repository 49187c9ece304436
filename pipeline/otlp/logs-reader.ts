// Walks the log records of a ScopeLogs message, one cursor for all of them.
//
// Flow: reader.ts -> logs-reader -> sink (derive turns logs into severity and template rates). Any thread, nothing kept
// between requests. Numbers and the body's place are read at once, texts and attributes when asked for.

import type { LogSink, LogView } from '../../schemas/otlp.ts'
import { attributeText, hexAt, textAt, valueText } from './any-value.ts'
import { checkKeyValue, checkNested, makeKeyValueParts, parseAnyValue, VALUE } from './key-value.ts'
import { type Records, reject } from './records.ts'
import type { ResourceCursor } from './resources.ts'
import { readFixed64, readStop, readVarint, skipField, type Wire } from './wire.ts'

const LOG_RECORD = 0x12 // in ScopeLogs
const TIME = 0x09 // in LogRecord, as all to OBSERVED
const SEVERITY_NUMBER = 0x10
const SEVERITY_TEXT = 0x1a
const BODY = 0x2a
const ATTRIBUTE = 0x32
const TRACE_ID = 0x4a
const OBSERVED = 0x59

const TRACE_ID_BYTES = 16
/** UTF-8 spends at most three bytes on one UTF-16 unit: enough bytes for so many characters. */
const BYTES_PER_CHAR_MAX = 3

export interface LogCursor extends LogView {
  resource: ResourceCursor
  recordStart: number
  recordEnd: number
  /** The body's AnyValue message. */
  valueStart: number
  valueEnd: number
  severityStart: number
  severityEnd: number
  traceIdStart: number
}

const parts = makeKeyValueParts()

export function makeLogCursor(wire: Wire, resource: ResourceCursor): LogCursor {
  const cursor: LogCursor = {
    ...{ resource, timeMs: 0.5, observedMs: 0.5, severityNumber: 0, bodyStart: 0, bodyEnd: 0, traceIdStart: 0 },
    ...{ recordStart: 0, recordEnd: 0, valueStart: 0, valueEnd: 0, severityStart: 0, severityEnd: 0 },
    get bytes() {
      return wire.bytes
    },
    severityText: () => textAt(wire, cursor.severityStart, cursor.severityEnd),
    body: charsMax => bodyText(cursor, wire, charsMax),
    attribute: name => attributeText(wire, cursor.recordStart, cursor.recordEnd, ATTRIBUTE, name),
    traceId: () => (cursor.traceIdStart === 0 ? '' : hexAt(wire, cursor.traceIdStart, cursor.traceIdStart + TRACE_ID_BYTES))
  }
  return cursor
}

/** Hands every usable record of ScopeLogs [position, end) to the sink and counts the others. */
export function readScopeLogs(cursor: LogCursor, wire: Wire, position: number, end: number, sink: LogSink, records: Records): void {
  const { bytes } = wire
  for (let at = position; at < end; ) {
    if (bytes[at] !== LOG_RECORD) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, bytes, at + 1, end)
    const reason = readLogRecord(cursor, wire, wire.next, at)
    if (reason !== '') reject(records, reason)
    else if (records.unusable !== '') reject(records, records.unusable)
    else {
      records.accepted++
      sink.log(cursor)
    }
  }
}

/** @returns '' or the reason why the record cannot be used */
function readLogRecord(cursor: LogCursor, wire: Wire, position: number, end: number): string {
  const { bytes, view } = wire
  cursor.recordStart = position
  cursor.recordEnd = end
  cursor.timeMs = cursor.observedMs = 0
  cursor.severityNumber = 0
  cursor.valueStart = cursor.valueEnd = cursor.severityStart = cursor.severityEnd = cursor.traceIdStart = 0
  let reason = ''
  let at = position
  while (at < end) {
    switch (bytes[at]) {
      case TIME:
        readFixed64(wire, view, at, end)
        cursor.timeMs = wire.number / 1e6
        at += 9
        break
      case OBSERVED:
        readFixed64(wire, view, at, end)
        cursor.observedMs = wire.number / 1e6
        at += 9
        break
      case SEVERITY_NUMBER:
        cursor.severityNumber = readVarint(wire, at + 1, end)
        at = wire.next
        break
      case SEVERITY_TEXT:
        cursor.severityEnd = at = readStop(wire, bytes, at + 1, end)
        cursor.severityStart = wire.next
        break
      case BODY:
        cursor.valueEnd = at = readStop(wire, bytes, at + 1, end)
        cursor.valueStart = wire.next
        break
      case ATTRIBUTE:
        at = readStop(wire, bytes, at + 1, end)
        checkKeyValue(wire, parts, wire.next, at)
        break
      case TRACE_ID:
        at = readStop(wire, bytes, at + 1, end)
        if (at - wire.next === TRACE_ID_BYTES) cursor.traceIdStart = wire.next
        else if (at !== wire.next) reason = 'a log record has a trace id of the wrong length'
        break
      default:
        at = skipField(wire, at, end)
    }
  }
  if (cursor.timeMs === 0) cursor.timeMs = cursor.observedMs
  placeBody(cursor, wire)
  return reason
}

function placeBody(cursor: LogCursor, wire: Wire): void {
  parseAnyValue(wire, parts, cursor.valueStart, cursor.valueEnd)
  checkNested(wire, parts.type, parts.start, parts.end, 1)
  const isText = parts.type === VALUE.string
  cursor.bodyStart = isText ? parts.start : 0
  cursor.bodyEnd = isText ? parts.end : 0
}

function bodyText(cursor: LogCursor, wire: Wire, charsMax: number): string {
  const { bodyStart, bodyEnd } = cursor
  if (bodyEnd > bodyStart) return cut(textAt(wire, bodyStart, Math.min(bodyEnd, bodyStart + charsMax * BYTES_PER_CHAR_MAX)), charsMax)
  parseAnyValue(wire, parts, cursor.valueStart, cursor.valueEnd)
  return cut(valueText(wire, parts), charsMax)
}

/** Cuts at `charsMax` UTF-16 units, one fewer where that would split a character. */
function cut(text: string, charsMax: number): string {
  if (text.length <= charsMax) return text
  const last = text.charCodeAt(charsMax - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? charsMax - 1 : charsMax)
}
