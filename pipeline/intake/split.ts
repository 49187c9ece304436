// Cuts one Export*ServiceRequest into the records that the log keeps, one a partition, without decoding what it carries.
//
//   request ─┬─ ResourceMetrics | ResourceLogs   key = entity           (cut as they are, appended end to end)
//            └─ ResourceSpans → ScopeSpans → Span key = trace id (hex)  (regrouped: resource and scope bytes repeated)
//
// Repeated fields may be laid end to end, so every record value is again a valid Export*ServiceRequest. A request whose
// parts all belong to one partition is passed on without a copy. Synchronous and stateless: nothing to restore after a crash.

import { loadWire, makeWire, readStop, skipField, unloadWire, type Wire } from '../otlp/wire.ts'
import { countFields, eachField, type Range, resourceField, TAG, writeNamed } from './ranges.ts'
import { resourceEntity } from './resource-identity.ts'
import { Gather, type Signal, type Split, type SplitOptions } from './slices.ts'
import { splitSpans } from './split-spans.ts'

/** Tags in Metric of gauge, sum, histogram, exponential_histogram and summary: each holds data_points as field 1. */
const METRIC_DATA = new Uint8Array(256)
for (const tag of [0x2a, 0x3a, 0x4a, 0x52, 0x5a]) METRIC_DATA[tag] = 1

const wire = makeWire()

/**
 * Records for the log out of one decompressed request body. Structure is checked down to the single item; what an item
 * holds is for the reader, which sends an unreadable record to the dead letters.
 * @throws AppError `malformed_otlp` with the offset
 */
export function splitRequest(signal: Signal, request: Uint8Array, options: SplitOptions): Split {
  loadWire(wire, request)
  try {
    if (signal === 'spans') return splitSpans(wire, options)
    return splitResources(signal === 'metrics' ? countPoints : countLogs, options)
  } finally {
    unloadWire(wire)
  }
}

function splitResources(count: (wire: Wire, scope: Range) => number, options: SplitOptions): Split {
  const gather = new Gather(wire.bytes)
  let items = 0
  eachField(wire, { start: 0, end: wire.bytes.length }, TAG.one, (container, tagAt) => {
    const resource: Range[] = []
    eachField(wire, container, TAG.one, payload => resource.push(payload))
    eachField(wire, container, TAG.two, scope => {
      items += count(wire, scope)
    })
    const { entity, named } = resourceEntity(wire, resource, options.fallback)
    const partition = options.partitionOf(entity)
    if (named) gather.range(entity, partition, tagAt, container.end)
    else
      gather.part(
        entity,
        partition,
        resourceField(writer => writeNamed(writer, wire, container, resource, entity))
      )
  })
  return { slices: gather.slices(), items, rejected: 0, reason: '' }
}

function countLogs(wire: Wire, scope: Range): number {
  return countFields(wire, scope.start, scope.end, TAG.two)
}

function countPoints(wire: Wire, scope: Range): number {
  const bytes = wire.bytes
  let points = 0
  eachField(wire, scope, TAG.two, metric => {
    for (let at = metric.start; at < metric.end; ) {
      if (METRIC_DATA[bytes[at]!] === 1) {
        at = readStop(wire, bytes, at + 1, metric.end)
        points += countFields(wire, wire.next, at, TAG.one)
      } else at = skipField(wire, at, metric.end)
    }
  })
  return points
}
