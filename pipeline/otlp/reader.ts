// The OTLP reader: a streaming cursor over the protobuf bytes of an Export*ServiceRequest.
//
// Flow: intake appends raw OTLP to the log -> detect reads each record through this, once -> series, spans, logs.
// Promises: no allocation per data point; every nested length checked against its parent; time linear in the bytes, and
// bounded memory, for any input; same bytes and seed, same keys. A request that turns out malformed in its middle
// throws after the points before the fault went to the sink: whoever counts must tolerate or discard those.
// Runs in any thread; a reader serves one request at a time and keeps nothing of it.
//
// A series key covers environment, entity, metric name, kind of data and the point's attributes, in any order. It does not cover other
// resource attributes (they change with each restart) nor the instrumentation scope (its version changes with each
// release): two scopes of one entity that send the same name and attributes are one series.

import type { LogSink, OpenReader, OtlpReader, PointSink, ReadResult, SpanSink } from '../../schemas/otlp.ts'
import { assert } from '../../schemas/errors.ts'
import { makeHasher } from './hash.ts'
import { makeLogCursor, readScopeLogs } from './logs-reader.ts'
import { readScopeMetrics } from './metrics-reader.ts'
import { makePointCursor } from './point-cursor.ts'
import { makeRecords, type Records } from './records.ts'
import { ENTITIES_MAX, makeResources, RESOURCE, type Resources } from './resources.ts'
import { makeSpanCursor, readScopeSpans } from './spans-reader.ts'
import { loadWire, makeWire, readStop, skipField, unloadWire, type Wire } from './wire.ts'

const RESOURCE_RECORDS = 0x0a // in each Export*ServiceRequest
const SCOPE_RECORDS = 0x12 // in each Resource*s

/** What all three signals share: the bytes, who emits, and the count. */
interface Walk {
  wire: Wire
  resources: Resources
  records: Records
  isBusy: boolean
}

/** Makes a reader for one thread. Keys of two readers agree only when `seed` does. */
export const openReader: OpenReader = ({ fallback, seed }): OtlpReader => {
  const wire = makeWire()
  const hasher = makeHasher(seed)
  const resources = makeResources(wire, hasher, fallback)
  const walk: Walk = { wire, resources, records: makeRecords(), isBusy: false }
  const point = makePointCursor(wire, hasher, resources.cursor)
  const span = makeSpanCursor(wire, hasher, resources.cursor)
  const log = makeLogCursor(wire, resources.cursor)

  return {
    readMetrics: (request: Uint8Array, sink: PointSink) =>
      readRequest(walk, request, (start, end) => readScopeMetrics(point, wire, start, end, sink, walk.records)),
    readSpans: (request: Uint8Array, sink: SpanSink) => readRequest(walk, request, (start, end) => readScopeSpans(span, wire, start, end, sink, walk.records)),
    readLogs: (request: Uint8Array, sink: LogSink) => readRequest(walk, request, (start, end) => readScopeLogs(log, wire, start, end, sink, walk.records))
  }
}

/** Reads one whole request. `readScope` gets the range of each Scope*s message while its resource is current. */
function readRequest(walk: Walk, request: Uint8Array, readScope: (start: number, end: number) => void): ReadResult {
  assert(!walk.isBusy, 'a sink called the reader that is calling it')
  const { wire, records } = walk
  records.accepted = 0
  records.rejected = 0
  records.reason = ''
  loadWire(wire, request)
  walk.isBusy = true
  try {
    const end = wire.bytes.length
    for (let at = 0; at < end; ) {
      if (wire.bytes[at] === RESOURCE_RECORDS) {
        at = readStop(wire, wire.bytes, at + 1, end)
        readResourceRecords(walk, wire.next, at, readScope)
      } else {
        at = skipField(wire, at, end)
      }
    }
    return { accepted: records.accepted, rejected: records.rejected, reason: records.reason }
  } finally {
    walk.isBusy = false
    unloadWire(wire)
  }
}

/** One Resource*s message, in two passes: the resource may stand behind what it governs. */
function readResourceRecords(walk: Walk, position: number, end: number, readScope: (start: number, end: number) => void): void {
  const { wire, resources, records } = walk
  const { bytes } = wire
  let resourceStart = 0
  let resourceEnd = 0
  let resourceCount = 0
  for (let at = position; at < end; ) {
    if (bytes[at] === RESOURCE) {
      resourceEnd = at = readStop(wire, bytes, at + 1, end)
      resourceStart = wire.next
      resourceCount++
    } else {
      at = skipField(wire, at, end)
    }
  }
  const isUsable = resourceCount > 1 ? resources.load(position, end, true) : resources.load(resourceStart, resourceEnd, false)
  records.unusable = isUsable ? '' : `more than ${ENTITIES_MAX} entities`
  for (let at = position; at < end; ) {
    if (bytes[at] === SCOPE_RECORDS) {
      at = readStop(wire, bytes, at + 1, end)
      readScope(wire.next, at)
    } else {
      at = skipField(wire, at, end)
    }
  }
}
