// Walks an ExportMetricsServiceRequest: resource -> scope -> metric -> data -> point, one cursor for all of them.
//
// Flow: reader.ts -> metrics-reader -> *-point.ts -> sink. Any thread, nothing kept between requests.
//
// Protobuf lets fields come in any order, and senders do put temporality behind the points. So each message whose
// fields govern its children (resource, metric, data) is scanned once at its top level, jumping over the children by
// their lengths, before the children are read. A singular field that occurs twice counts the last time. Only what is read is
// checked: exemplars, scopes and unknown fields are jumped over.

import { POINT_KIND, type PointKind, type PointSink, TEMPORALITY } from '../../schemas/otlp.ts'
import { EXPONENTIAL_ATTRIBUTE, readExponentialPoint } from './exponential-point.ts'
import { HISTOGRAM_ATTRIBUTE, readHistogramPoint } from './histogram-point.ts'
import { hashRange } from './hash.ts'
import { NUMBER_ATTRIBUTE, readNumberPoint } from './number-point.ts'
import { type PointCursor, resetPoint } from './point-cursor.ts'
import { type Records, reject } from './records.ts'
import { readSummaryPoint, SUMMARY_ATTRIBUTE } from './summary-point.ts'
import { readStop, readVarint, skipField, type Wire } from './wire.ts'

const METRIC = 0x12 // in ScopeMetrics
const NAME = 0x0a // in Metric, as all to SUMMARY
const DESCRIPTION = 0x12
const UNIT = 0x1a
const GAUGE = 0x2a
const SUM = 0x3a
const HISTOGRAM = 0x4a
const EXPONENTIAL_HISTOGRAM = 0x52
const SUMMARY = 0x5a
const POINT = 0x0a // in each kind of data
const AGGREGATION_TEMPORALITY = 0x10
const IS_MONOTONIC = 0x18

/** Where the current metric's data lies; filled by the scan of the metric. */
const data = { tag: 0, start: 0, end: 0 }

/** Hands every usable point of ScopeMetrics [position, end) to the sink and counts the others. */
export function readScopeMetrics(cursor: PointCursor, wire: Wire, position: number, end: number, sink: PointSink, records: Records): void {
  const { bytes } = wire
  for (let at = position; at < end; ) {
    if (bytes[at] === METRIC) {
      at = readStop(wire, bytes, at + 1, end)
      readMetric(cursor, wire, wire.next, at, sink, records)
    } else {
      at = skipField(wire, at, end)
    }
  }
}

function readMetric(cursor: PointCursor, wire: Wire, position: number, end: number, sink: PointSink, records: Records): void {
  scanMetric(cursor, wire, position, end)
  resetPoint(cursor)
  switch (data.tag) {
    case GAUGE:
      begin(cursor, wire, POINT_KIND.gauge, NUMBER_ATTRIBUTE)
      break
    case SUM:
      begin(cursor, wire, POINT_KIND.sum, NUMBER_ATTRIBUTE)
      break
    case HISTOGRAM:
      begin(cursor, wire, POINT_KIND.histogram, HISTOGRAM_ATTRIBUTE)
      break
    case EXPONENTIAL_HISTOGRAM:
      begin(cursor, wire, POINT_KIND.exponentialHistogram, EXPONENTIAL_ATTRIBUTE)
      break
    case SUMMARY:
      begin(cursor, wire, POINT_KIND.summary, SUMMARY_ATTRIBUTE)
      break
    default:
      rejectPoint(cursor, records, 'no data of a known kind')
      return
  }
  readPoints(cursor, wire, data.start, data.end, sink, records)
}

function scanMetric(cursor: PointCursor, wire: Wire, position: number, end: number): void {
  const { bytes } = wire
  cursor.nameStart = cursor.nameEnd = cursor.unitStart = cursor.unitEnd = cursor.descriptionStart = cursor.descriptionEnd = 0
  data.tag = 0
  for (let at = position; at < end; ) {
    const tag = bytes[at]!
    switch (tag) {
      case NAME:
        cursor.nameEnd = at = readStop(wire, bytes, at + 1, end)
        cursor.nameStart = wire.next
        break
      case DESCRIPTION:
        cursor.descriptionEnd = at = readStop(wire, bytes, at + 1, end)
        cursor.descriptionStart = wire.next
        break
      case UNIT:
        cursor.unitEnd = at = readStop(wire, bytes, at + 1, end)
        cursor.unitStart = wire.next
        break
      case GAUGE:
      case SUM:
      case HISTOGRAM:
      case EXPONENTIAL_HISTOGRAM:
      case SUMMARY:
        data.tag = tag
        data.end = at = readStop(wire, bytes, at + 1, end)
        data.start = wire.next
        break
      default:
        at = skipField(wire, at, end)
    }
  }
}

/** Prepares the cursor for the points of one metric: what governs them, and where their keys start. */
function begin(cursor: PointCursor, wire: Wire, kind: PointKind, attributeTag: number): void {
  const { hasher, resource } = cursor
  cursor.kind = kind
  cursor.attributeTag = attributeTag
  cursor.temporality = TEMPORALITY.unspecified
  cursor.monotonic = false
  // The kind is added to a lane that the hash spreads over both, so the same name as gauge and as sum are two series.
  hashRange(hasher, wire.view, cursor.nameStart, cursor.nameEnd, resource.low + kind, resource.high)
  cursor.baseLow = hasher.low
  cursor.baseHigh = hasher.high
  if (kind !== POINT_KIND.gauge && kind !== POINT_KIND.summary) scanData(cursor, wire, data.start, data.end)
}

/** Temporality and monotonicity, wherever they stand. Touching each point's first bytes also brings them into the cache. */
function scanData(cursor: PointCursor, wire: Wire, position: number, end: number): void {
  const { bytes } = wire
  for (let at = position; at < end; ) {
    const tag = bytes[at]
    if (tag === POINT) {
      at = readStop(wire, bytes, at + 1, end)
    } else if (tag === AGGREGATION_TEMPORALITY) {
      const temporality = readVarint(wire, at + 1, end)
      cursor.temporality = temporality <= TEMPORALITY.cumulative ? temporality : TEMPORALITY.unspecified
      at = wire.next
    } else if (tag === IS_MONOTONIC && cursor.kind === POINT_KIND.sum) {
      cursor.monotonic = readVarint(wire, at + 1, end) !== 0
      at = wire.next
    } else {
      at = skipField(wire, at, end)
    }
  }
}

function readPoints(cursor: PointCursor, wire: Wire, position: number, end: number, sink: PointSink, records: Records): void {
  const { bytes, view } = wire
  const { kind } = cursor
  for (let at = position; at < end; ) {
    if (bytes[at] !== POINT) {
      at = skipField(wire, at, end)
      continue
    }
    at = readStop(wire, bytes, at + 1, end)
    cursor.pointStart = wire.next
    cursor.pointEnd = at
    const reason = readPoint(cursor, wire, bytes, view, wire.next, at, kind)
    if (reason !== '') rejectPoint(cursor, records, reason)
    else if (records.unusable !== '') reject(records, records.unusable)
    else {
      records.accepted++
      sink.point(cursor)
    }
  }
}

/** Names the metric in the first reason only: a request full of bad points must not make a string for each. */
function rejectPoint(cursor: PointCursor, records: Records, reason: string): void {
  reject(records, records.reason === '' ? `metric ${cursor.name()}: ${reason}` : reason)
}

function readPoint(cursor: PointCursor, wire: Wire, bytes: Uint8Array, view: DataView, position: number, end: number, kind: PointKind): string {
  switch (kind) {
    case POINT_KIND.histogram:
      return readHistogramPoint(cursor, wire, bytes, view, position, end)
    case POINT_KIND.exponentialHistogram:
      return readExponentialPoint(cursor, wire, bytes, view, position, end)
    case POINT_KIND.summary:
      return readSummaryPoint(cursor, wire, bytes, view, position, end)
    default:
      return readNumberPoint(cursor, wire, bytes, view, position, end)
  }
}
