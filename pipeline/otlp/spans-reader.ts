// Walks the spans of a ScopeSpans message, one cursor for all of them.
//
// Flow: reader.ts -> spans-reader -> sink (derive turns spans into rates). Any thread, nothing kept between requests.
// Numbers are read at once, texts and attributes when asked for. Attributes are checked in passing; events, links and
// unknown fields are jumped over.

import type { SpanSink, SpanView } from '../../schemas/otlp.ts'
import { attributeText, hexAt, textAt } from './any-value.ts'
import { type Hasher, hashRange } from './hash.ts'
import { checkKeyValue, makeKeyValueParts } from './key-value.ts'
import { type Records, reject } from './records.ts'
import type { ResourceCursor } from './resources.ts'
import { malformed, readFixed64, readStop, readVarint, skipField, type Wire } from './wire.ts'

const SPAN = 0x12 // in ScopeSpans
const TRACE_ID = 0x0a // in Span, as all to STATUS
const SPAN_ID = 0x12
const PARENT_ID = 0x22
const NAME = 0x2a
const KIND = 0x30
const START = 0x39
const END = 0x41
const ATTRIBUTE = 0x4a
const STATUS = 0x7a
const MESSAGE = 0x12 // in Status
const CODE = 0x18

const TRACE_ID_BYTES = 16
const SPAN_ID_BYTES = 8

export interface SpanCursor extends SpanView {
  resource: ResourceCursor
  readonly hasher: Hasher
  spanStart: number
  spanEnd: number
  nameStart: number
  nameEnd: number
  messageStart: number
  messageEnd: number
  /** Starts of the ids; 0 when the id is absent, as no id can start at byte 0. */
  traceIdStart: number
  spanIdStart: number
}

const parts = makeKeyValueParts()

export function makeSpanCursor(wire: Wire, hasher: Hasher, resource: ResourceCursor): SpanCursor {
  const cursor: SpanCursor = {
    ...{ resource, hasher, timeMs: 0.5, durationMs: 0.5, kind: 0, status: 0, nameHash: 0 },
    ...{ spanIdLow: 0, spanIdHigh: 0, parentIdLow: 0, parentIdHigh: 0, traceIdLow: 0, traceIdHigh: 0 },
    ...{ spanStart: 0, spanEnd: 0, nameStart: 0, nameEnd: 0, messageStart: 0, messageEnd: 0, traceIdStart: 0, spanIdStart: 0 },
    name: () => textAt(wire, cursor.nameStart, cursor.nameEnd),
    statusMessage: () => textAt(wire, cursor.messageStart, cursor.messageEnd),
    attribute: name => attributeText(wire, cursor.spanStart, cursor.spanEnd, ATTRIBUTE, name),
    traceId: () => (cursor.traceIdStart === 0 ? '' : hexAt(wire, cursor.traceIdStart, cursor.traceIdStart + TRACE_ID_BYTES)),
    spanId: () => (cursor.spanIdStart === 0 ? '' : hexAt(wire, cursor.spanIdStart, cursor.spanIdStart + SPAN_ID_BYTES))
  }
  return cursor
}

/** Hands every usable span of ScopeSpans [position, end) to the sink and counts the others. */
export function readScopeSpans(cursor: SpanCursor, wire: Wire, position: number, end: number, sink: SpanSink, records: Records): void {
  const { bytes } = wire
  for (let at = position; at < end; ) {
    if (bytes[at] !== SPAN) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, bytes, at + 1, end)
    const reason = readSpan(cursor, wire, wire.next, at)
    if (reason !== '') reject(records, reason)
    else if (records.unusable !== '') reject(records, records.unusable)
    else {
      records.accepted++
      sink.span(cursor)
    }
  }
}

function clear(cursor: SpanCursor): void {
  cursor.timeMs = 0
  cursor.durationMs = 0
  cursor.kind = 0
  cursor.status = 0
  cursor.spanIdLow = cursor.spanIdHigh = cursor.parentIdLow = cursor.parentIdHigh = cursor.traceIdLow = cursor.traceIdHigh = 0
  cursor.nameStart = cursor.nameEnd = cursor.messageStart = cursor.messageEnd = cursor.traceIdStart = cursor.spanIdStart = 0
}

/** @returns '' or the reason why the span cannot be used */
function readSpan(cursor: SpanCursor, wire: Wire, position: number, end: number): string {
  const { bytes, view } = wire
  cursor.spanStart = position
  cursor.spanEnd = end
  clear(cursor)
  let reason = ''
  let endMs = 0
  let at = position
  while (at < end) {
    switch (bytes[at]) {
      case START:
        readFixed64(wire, view, at, end)
        cursor.timeMs = wire.number / 1e6
        at += 9
        break
      case END:
        readFixed64(wire, view, at, end)
        endMs = wire.number / 1e6
        at += 9
        break
      case KIND:
        cursor.kind = readVarint(wire, at + 1, end)
        at = wire.next
        break
      case NAME:
        cursor.nameEnd = at = readStop(wire, bytes, at + 1, end)
        cursor.nameStart = wire.next
        break
      case ATTRIBUTE:
        at = readStop(wire, bytes, at + 1, end)
        checkKeyValue(wire, parts, wire.next, at)
        break
      case STATUS:
        at = readStop(wire, bytes, at + 1, end)
        readStatus(cursor, wire, wire.next, at)
        break
      case TRACE_ID:
      case SPAN_ID:
      case PARENT_ID: {
        const tag = bytes[at]!
        at = readStop(wire, bytes, at + 1, end)
        if (!readId(cursor, view, tag, wire.next, at)) reason = 'a span has a trace id or span id of the wrong length'
        break
      }
      default:
        at = skipField(wire, at, end)
    }
  }
  // A span that ends before it starts (a clock was set back, or no end was sent) lasted 0: negative durations would reach the quantiles.
  cursor.durationMs = Math.max(0, endMs - cursor.timeMs)
  hashRange(cursor.hasher, view, cursor.nameStart, cursor.nameEnd, cursor.hasher.seedLow, cursor.hasher.seedHigh)
  cursor.nameHash = cursor.hasher.low
  return reason
}

/** Ids are big-endian on the wire: the first four bytes of a span id are its high lane. An empty id is an absent one. */
function readId(cursor: SpanCursor, view: DataView, tag: number, start: number, end: number): boolean {
  const size = end - start
  if (size === 0) return true
  if (size !== (tag === TRACE_ID ? TRACE_ID_BYTES : SPAN_ID_BYTES)) return false
  const low = view.getInt32(end - 4)
  const high = view.getInt32(end - 8)
  if (tag === TRACE_ID) {
    cursor.traceIdStart = start
    cursor.traceIdLow = low
    cursor.traceIdHigh = high
  } else if (tag === SPAN_ID) {
    cursor.spanIdStart = start
    cursor.spanIdLow = low
    cursor.spanIdHigh = high
  } else {
    cursor.parentIdLow = low
    cursor.parentIdHigh = high
  }
  return true
}

function readStatus(cursor: SpanCursor, wire: Wire, position: number, end: number): void {
  const { bytes } = wire
  for (let at = position; at < end; ) {
    if (bytes[at] === CODE) {
      cursor.status = readVarint(wire, at + 1, end)
      at = wire.next
    } else if (bytes[at] === MESSAGE) {
      cursor.messageEnd = at = readStop(wire, bytes, at + 1, end)
      cursor.messageStart = wire.next
    } else {
      at = skipField(wire, at, end)
    }
  }
  if (cursor.status > 0xffff) throw malformed(position, 'a span has an impossible status')
}
