// Cuts one Export*ServiceRequest into the records that the log keeps, one a partition, without decoding what it carries.
//
//   request ─┬─ ResourceMetrics | ResourceLogs   key = entity           (cut as they are, appended end to end)
//            └─ ResourceSpans → ScopeSpans → Span key = trace id (hex)  (regrouped: resource and scope bytes repeated)
//
// Repeated fields may be laid end to end, so every record value is again a valid Export*ServiceRequest. A request whose
// parts all belong to one partition is passed on without a copy. Synchronous and stateless: nothing to restore after a crash.

import { resourceEntity } from './resource-identity.ts'
import { Gather, ITEMS, mergeResources, nameResource, RESOURCE, RESOURCES, SCOPES, type Signal, type Split, type SplitOptions } from './slices.ts'
import { splitSpans } from './split-spans.ts'
import { enter, lengthField, malformed, nextField, payload, type Scan, scanOf, WIRE } from './wire.ts'

const METRIC_DATA = new Uint8Array(16)
for (const field of [5, 7, 9, 10, 11]) METRIC_DATA[field] = 1 // gauge, sum, histogram, exponential histogram, summary
const DATA_POINTS = 1

/**
 * Records for the log out of one decompressed request body. Structure is checked down to the single item; what an item
 * holds is for the reader, which sends an unreadable record to the dead letters.
 * @throws AppError `malformed_otlp` with the offset
 */
export function splitRequest(signal: Signal, bytes: Uint8Array, options: SplitOptions): Split {
  if (signal === 'spans') return splitSpans(bytes, options)
  const count = signal === 'metrics' ? countPoints : countLogs
  const scopes = scanOf(bytes)
  const result: Split = { slices: [], items: 0, rejected: 0, reason: '' }
  const gather = new Gather(bytes)
  for (const fields = scanOf(bytes); nextField(fields); ) {
    if (fields.field !== RESOURCES) continue // A field of a later protocol version: nothing of it concerns a key.
    if (fields.wire !== WIRE.length) throw malformed(fields.tagAt, `field 1 with wire type ${fields.wire}`)
    const { resource, items } = inspect(fields, scopes, count)
    result.items += items
    const { entity, named } = resourceEntity(resource, options.fallback)
    const partition = options.partitionOf(entity)
    if (named) gather.range(entity, partition, fields.tagAt, fields.stop)
    else gather.part(entity, partition, lengthField(RESOURCES, nameResource(fields, resource, entity)))
  }
  result.slices = gather.slices()
  return result
}

const NO_RESOURCE = new Uint8Array(0)

/** One walk over a resource's container: its Resource payload (several are merged, as protobuf does) and its item count. */
function inspect(container: Scan, scan: Scan, count: (scope: Scan) => number): { resource: Uint8Array; items: number } {
  let resource: Uint8Array = NO_RESOURCE
  let items = 0
  enter(scan, container)
  while (nextField(scan)) {
    if (scan.wire !== WIRE.length) continue
    if (scan.field === RESOURCE) resource = mergeResources(resource, payload(scan))
    else if (scan.field === SCOPES) items += count(scan)
  }
  return { resource, items }
}

const itemScan = scanOf(NO_RESOURCE)
const metricScan = scanOf(NO_RESOURCE)
const dataScan = scanOf(NO_RESOURCE)

function countLogs(scope: Scan): number {
  let items = 0
  enter(itemScan, scope)
  while (nextField(itemScan)) if (itemScan.field === ITEMS && itemScan.wire === WIRE.length) items++
  return items
}

function countPoints(scope: Scan): number {
  let items = 0
  enter(itemScan, scope)
  while (nextField(itemScan)) {
    if (itemScan.field !== ITEMS || itemScan.wire !== WIRE.length) continue
    enter(metricScan, itemScan)
    while (nextField(metricScan)) {
      if (METRIC_DATA[metricScan.field] !== 1 || metricScan.wire !== WIRE.length) continue
      enter(dataScan, metricScan)
      while (nextField(dataScan)) if (dataScan.field === DATA_POINTS && dataScan.wire === WIRE.length) items++
    }
  }
  return items
}
