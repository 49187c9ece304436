// Regroups the spans of a request by the partition of their trace, so that a trace is whole on one partition.
//
// Resource and scope bytes are repeated for each partition; a ResourceSpans whose traces share a partition is cut as it
// is. Only the trace id of a span is looked at. A span without a 16-byte trace id belongs nowhere: it is left out and counted.

import { hexAt } from '../otlp/any-value.ts'
import type { ProtoWriter } from '../otlp/proto-writer.ts'
import type { Wire } from '../otlp/wire.ts'
import { eachField, otherFields, type Range, resourceField, SCOPES, TAG, writeNamed } from './ranges.ts'
import { resourceEntity } from './resource-identity.ts'
import { Gather, type Split, type SplitOptions } from './slices.ts'

const TRACE_ID_BYTES = 16
const NO_TRACE = '0'.repeat(2 * TRACE_ID_BYTES)
const NOWHERE = -1

interface ScopeSpans {
  /** Everything but the spans: scope, schema URL, fields of later versions. */
  header: Uint8Array[]
  spans: { partition: number; encoded: Uint8Array }[]
}

/** @throws AppError `malformed_otlp` with the offset */
export function splitSpans(wire: Wire, options: SplitOptions): Split {
  const gather = new Gather(wire.bytes)
  let items = 0
  let rejected = 0
  eachField(wire, { start: 0, end: wire.bytes.length }, TAG.one, (container, tagAt) => {
    const resource: Range[] = []
    eachField(wire, container, TAG.one, payload => resource.push(payload))
    const keys = new Map<number, string>()
    const scopes: ScopeSpans[] = []
    eachField(wire, container, TAG.two, scope => scopes.push(readScope(wire, scope, options, keys)))
    const lost = scopes.reduce((sum, { spans }) => sum + spans.filter(span => span.partition === NOWHERE).length, 0)
    rejected += lost
    items += scopes.reduce((sum, { spans }) => sum + spans.length, 0) - lost
    const { entity, named } = resourceEntity(wire, resource, options.fallback)
    for (const [partition, key] of keys) {
      if (keys.size === 1 && lost === 0 && named) gather.range(key, partition, tagAt, container.end)
      else {
        const writeHeader = (writer: ProtoWriter): void => {
          if (named) for (const part of otherFields(wire, container, TAG.two)) writer.fields(part)
          else writeNamed(writer, wire, container, resource, entity, TAG.two)
        }
        gather.part(key, partition, regrouped(writeHeader, scopes, partition))
      }
    }
  })
  return { slices: gather.slices(), items, rejected, reason: rejected === 0 ? '' : `${rejected} spans without a 16-byte trace id` }
}

/** The scope's spans with the partition of each; `keys` gets the first trace id of each partition. */
function readScope(wire: Wire, scope: Range, options: SplitOptions, keys: Map<number, string>): ScopeSpans {
  const spans: ScopeSpans['spans'] = []
  let previousId = ''
  let partition = NOWHERE
  eachField(wire, scope, TAG.two, (span, tagAt) => {
    const id = traceId(wire, span)
    // Spans of a trace come in runs, so the hash is taken once a run.
    if (id !== previousId) {
      previousId = id
      partition = id === '' ? NOWHERE : options.partitionOf(id)
      if (id !== '' && !keys.has(partition)) keys.set(partition, id)
    }
    spans.push({ partition, encoded: wire.bytes.subarray(tagAt, span.end) })
  })
  return { header: otherFields(wire, scope, TAG.two), spans }
}

/** The span's trace id as 32 hex digits, '' when it has none. The whole span is walked: its structure is checked here. */
function traceId(wire: Wire, span: Range): string {
  let id = ''
  eachField(wire, span, TAG.one, ({ start, end }) => {
    id = end - start === TRACE_ID_BYTES ? hexAt(wire, start, end) : ''
  })
  return id === NO_TRACE ? '' : id
}

function regrouped(writeHeader: (writer: ProtoWriter) => void, scopes: readonly ScopeSpans[], partition: number): Uint8Array {
  return resourceField(writer => {
    writeHeader(writer)
    for (const { header, spans } of scopes) {
      const mine = spans.filter(span => span.partition === partition)
      if (mine.length === 0) continue
      writer.message(SCOPES, () => {
        for (const part of header) writer.fields(part)
        for (const { encoded } of mine) writer.fields(encoded)
      })
    }
  })
}
