// Regroups the spans of a request by the partition of their trace, so that a trace is whole on one partition.
//
// Resource and scope bytes are repeated for each partition; a ResourceSpans whose traces share a partition is cut as it
// is. Only the trace id of a span is looked at. A span without a 16-byte trace id belongs nowhere: it is left out and counted.

import { type Fallback, resourceEntity } from './resource-identity.ts'
import { Gather, ITEMS, mergeResources, nameResource, RESOURCE, RESOURCES, SCOPES, type Split, type SplitOptions } from './slices.ts'
import { enter, lengthField, malformed, nextField, payload, type Scan, scanOf, WIRE } from './wire.ts'

const TRACE_ID = 1 // Field of Span.
const TRACE_ID_BYTES = 16
const NOWHERE = -1

/** @throws AppError `malformed_otlp` with the offset */
export function splitSpans(bytes: Uint8Array, options: SplitOptions): Split {
  const gather = new Gather(bytes)
  const result: Split = { slices: [], items: 0, rejected: 0, reason: '' }
  for (const fields = scanOf(bytes); nextField(fields); ) {
    if (fields.field !== RESOURCES) continue
    if (fields.wire !== WIRE.length) throw malformed(fields.tagAt, `field 1 with wire type ${fields.wire}`)
    splitResource(fields, options, gather, result)
  }
  if (result.rejected > 0) result.reason = `${result.rejected} spans without a 16-byte trace id`
  result.slices = gather.slices()
  return result
}

interface ScopeSpans {
  /** Everything but the spans: scope, schema URL, fields of later versions. */
  header: Uint8Array[]
  spans: { partition: number; start: number; stop: number }[]
}

function splitResource(container: Scan, options: SplitOptions, gather: Gather, result: Split): void {
  const scopes: ScopeSpans[] = []
  const keys = new Map<number, string>()
  let resource: Uint8Array = new Uint8Array(0)
  const fields = scanOf(container.bytes)
  for (enter(fields, container); nextField(fields); ) {
    if (fields.wire !== WIRE.length) continue
    if (fields.field === RESOURCE) resource = mergeResources(resource, payload(fields))
    else if (fields.field === SCOPES) scopes.push(readScope(fields, options, keys))
  }
  let rejected = 0
  for (const { spans } of scopes) for (const span of spans) span.partition === NOWHERE ? rejected++ : result.items++
  result.rejected += rejected
  if (keys.size === 0) return // Nothing to keep: no span, or none that belongs anywhere.
  const header = resourceHeader(container, resource, options.fallback)
  if (keys.size === 1 && rejected === 0 && header === undefined) {
    for (const [partition, key] of keys) gather.range(key, partition, container.tagAt, container.stop)
    return
  }
  const before = header ?? otherFields(container, SCOPES)
  for (const [partition, key] of keys) gather.part(key, partition, lengthField(RESOURCES, ...before, ...scopesOf(scopes, partition, container.bytes)))
}

/** The header of a resource that has to be named after the fallback; undefined when it names itself. */
function resourceHeader(container: Scan, resource: Uint8Array, fallback: Fallback): Uint8Array[] | undefined {
  const { entity, named } = resourceEntity(resource, fallback)
  if (named) return undefined
  const renamed = nameResource(container, resource, entity)
  return otherFields({ ...container, bytes: renamed, start: 0, stop: renamed.length }, SCOPES)
}

function readScope(scope: Scan, options: SplitOptions, keys: Map<number, string>): ScopeSpans {
  const header: Uint8Array[] = []
  const spans: ScopeSpans['spans'] = []
  const span = scanOf(scope.bytes)
  let previousId = ''
  let partition = NOWHERE
  const fields = scanOf(scope.bytes)
  for (enter(fields, scope); nextField(fields); ) {
    if (fields.field !== ITEMS || fields.wire !== WIRE.length) {
      header.push(scope.bytes.subarray(fields.tagAt, fields.stop))
      continue
    }
    const id = traceId(span, fields)
    if (id !== previousId) {
      // Spans of a trace come in runs, so the hash is taken once a run.
      previousId = id
      partition = id === '' ? NOWHERE : options.partitionOf(id)
      if (id !== '' && !keys.has(partition)) keys.set(partition, id)
    }
    spans.push({ partition, start: fields.tagAt, stop: fields.stop })
  }
  return { header, spans }
}

/** The span's trace id as 32 hex digits, '' when it has none. The whole span is walked: its structure is checked here. */
function traceId(scan: Scan, span: Scan): string {
  let id = ''
  for (enter(scan, span); nextField(scan); ) {
    if (scan.field === TRACE_ID && scan.wire === WIRE.length && scan.stop - scan.start === TRACE_ID_BYTES) id = hex(scan)
  }
  return id === NO_TRACE ? '' : id
}

const NO_TRACE = '0'.repeat(2 * TRACE_ID_BYTES)

function hex(scan: Scan): string {
  return Buffer.from(scan.bytes.buffer, scan.bytes.byteOffset + scan.start, TRACE_ID_BYTES).toString('hex')
}

function otherFields(container: Scan, omitted: number): Uint8Array[] {
  const parts: Uint8Array[] = []
  const fields = scanOf(container.bytes)
  for (enter(fields, container); nextField(fields); ) if (fields.field !== omitted) parts.push(container.bytes.subarray(fields.tagAt, fields.stop))
  return parts
}

function scopesOf(scopes: readonly ScopeSpans[], partition: number, bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (const { header, spans } of scopes) {
    const mine = spans.filter(span => span.partition === partition)
    if (mine.length > 0) parts.push(lengthField(SCOPES, ...header, ...mine.map(span => bytes.subarray(span.start, span.stop))))
  }
  return parts
}
