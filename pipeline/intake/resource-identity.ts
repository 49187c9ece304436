// Who sent it: the entity of one resource, by the same reading of attributes that the detector uses.
//
// A resource that names nobody (hostmetrics, file_log) gets the attribute `homeostat.entity`, written into the record,
// so that the detector, which does not see the peer, comes to the same entity, also when it replays years later.

import { entityIdentity, FALLBACK_ENTITY_ATTRIBUTE } from '../../schemas/entity.ts'
import { attributesText } from '../otlp/any-value.ts'
import type { ProtoWriter } from '../otlp/proto-writer.ts'
import type { Wire } from '../otlp/wire.ts'
import type { Range } from './ranges.ts'

export interface Fallback {
  entity: string
  environment: string
}

const ATTRIBUTES = 1 // Fields of Resource, KeyValue, AnyValue.
const ATTRIBUTES_TAG = 0x0a
const KEY = 1
const VALUE = 2
const STRING_VALUE = 1

/**
 * Entity of a resource. Several occurrences of the field count as one laid end to end, as protobuf merges them.
 * @returns `named: false` when the entity is the fallback and has to be written into the record
 * @throws AppError `malformed_otlp`
 */
export function resourceEntity(wire: Wire, resource: readonly Range[], fallback: Fallback): { entity: string; named: boolean } {
  let attributes: Record<string, string> | undefined
  for (const { start, end } of resource) attributes = attributesText(wire, start, end, ATTRIBUTES_TAG, attributes)
  const { entity } = entityIdentity(name => attributes?.[name], { ...fallback, entity: '' })
  return entity === '' ? { entity: fallback.entity, named: false } : { entity, named: true }
}

/** Appends the attribute that names `entity` to the resource being written. */
export function writeFallbackAttribute(writer: ProtoWriter, entity: string): void {
  writer.message(ATTRIBUTES, () => {
    writer.text(KEY, FALLBACK_ENTITY_ATTRIBUTE)
    writer.message(VALUE, () => writer.text(STRING_VALUE, entity))
  })
}
