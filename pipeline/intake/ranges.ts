// Walks over the fields of one protobuf message that intake cuts apart, and what it puts together again.
//
// Ranges are offsets into the request; every walk stays inside its parent (pipeline/otlp/wire.ts checks each length).

import { makeProtoWriter, type ProtoWriter } from '../otlp/proto-writer.ts'
import { readStop, skipField, type Wire } from '../otlp/wire.ts'
import { writeFallbackAttribute } from './resource-identity.ts'

export interface Range {
  start: number
  end: number
}

/** Fields 1 and 2, length-delimited: all that intake looks at above a data point. */
export const TAG = { one: 0x0a, two: 0x12 } as const
/** In Export*ServiceRequest: resource_metrics, resource_spans, resource_logs. */
export const RESOURCES = 1
/** In these: resource, and scope_metrics, scope_spans, scope_logs. */
export const RESOURCE = 1
export const SCOPES = 2

/**
 * Calls `visit` with the payload of each field `tag` in [start, end), and with the position of its tag.
 * @throws AppError `malformed_otlp` with the offset
 */
export function eachField(wire: Wire, { start, end }: Range, tag: number, visit: (payload: Range, tagAt: number) => void): void {
  for (let at = start; at < end; ) {
    if (wire.bytes[at] !== tag) {
      at = skipField(wire, at, end)
      continue
    }
    const tagAt = at
    at = readStop(wire, wire.bytes, at + 1, end)
    visit({ start: wire.next, end: at }, tagAt)
  }
}

/** How many fields `tag` stand in [start, end). @throws AppError `malformed_otlp` with the offset */
export function countFields(wire: Wire, start: number, end: number, tag: number): number {
  const bytes = wire.bytes
  let count = 0
  for (let at = start; at < end; ) {
    if (bytes[at] === tag) {
      at = readStop(wire, bytes, at + 1, end)
      count++
    } else at = skipField(wire, at, end)
  }
  return count
}

/** All fields in [start, end) but those with `tag`, encoded as they came. */
export function otherFields(wire: Wire, { start, end }: Range, tag: number): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = start; at < end; ) {
    const fieldAt = at
    at = skipField(wire, at, end)
    if (wire.bytes[fieldAt] !== tag) parts.push(wire.bytes.subarray(fieldAt, at))
  }
  return parts
}

/** One encoded field 1 of a request: a resource's container, of whatever `write` appends. */
export function resourceField(write: (writer: ProtoWriter) => void): Uint8Array {
  const writer = makeProtoWriter()
  writer.message(RESOURCES, () => write(writer))
  return writer.finish()
}

/** Appends a resource's container fields (all but `omitted`) with its resource named after `entity`, all else as it came. */
export function writeNamed(writer: ProtoWriter, wire: Wire, container: Range, resource: readonly Range[], entity: string, omitted?: number): void {
  writer.message(RESOURCE, () => {
    writeFallbackAttribute(writer, entity)
    for (const { start, end } of resource) writer.fields(wire.bytes.subarray(start, end))
  })
  for (const part of otherFields(wire, container, TAG.one)) if (part[0] !== omitted) writer.fields(part)
}
