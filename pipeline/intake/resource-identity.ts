// Who sent it: the entity of one Resource, read from the few attributes that make it, the rest skipped.
//
// A resource that names nobody (hostmetrics, file_log) gets the attribute `homeostat.entity`, written into the record,
// so that the detector, which does not see the peer, comes to the same entity, also when it replays years later.

import { ENTITY_ATTRIBUTES, entityIdentity, FALLBACK_ENTITY_ATTRIBUTE } from '../../schemas/entity.ts'
import { doubleValue, enter, lengthField, nextField, type Scan, scanOf, varintValue, WIRE } from './wire.ts'

export interface Fallback {
  entity: string
  environment: string
}

const ATTRIBUTES = 1
const KEY = 1
const VALUE = 2
const STRING_VALUE = 1
const BOOL_VALUE = 2
const INT_VALUE = 3
const DOUBLE_VALUE = 4

const encoder = new TextEncoder()
const decoder = new TextDecoder()
/** Key texts by length: most attributes are dismissed by their length alone. */
const KEYS_BY_LENGTH: (readonly string[] | undefined)[] = []
for (const key of ENTITY_ATTRIBUTES) KEYS_BY_LENGTH[key.length] = [...(KEYS_BY_LENGTH[key.length] ?? []), key]

/**
 * Entity of a Resource message (its payload, end to end if the field came several times).
 * @returns `named: false` when the entity is the fallback and has to be written into the record
 * @throws AppError `malformed_otlp`
 */
export function resourceEntity(resource: Uint8Array, fallback: Fallback): { entity: string; named: boolean } {
  const attributes = new Map<string, string>()
  const fields = scanOf(resource)
  const pair = scanOf(resource)
  const value = scanOf(resource)
  while (nextField(fields)) {
    if (fields.field !== ATTRIBUTES || fields.wire !== WIRE.length) continue
    enter(pair, fields)
    let key: string | undefined
    let text: string | undefined
    while (nextField(pair)) {
      if (pair.wire !== WIRE.length) continue
      if (pair.field === KEY) key = entityKey(pair)
      else if (pair.field === VALUE) {
        enter(value, pair)
        text = scalarText(value)
      }
    }
    // First of a repeated key wins: keys must be unique, and a later one must not rename what was already known.
    if (key !== undefined && text !== undefined && !attributes.has(key)) attributes.set(key, text)
  }
  const { entity } = entityIdentity(name => attributes.get(name), { ...fallback, entity: '' })
  return entity === '' ? { entity: fallback.entity, named: false } : { entity, named: true }
}

/** A Resource attribute (field 1, tag included) that names the fallback entity. */
export function fallbackAttribute(entity: string): Uint8Array {
  return lengthField(
    ATTRIBUTES,
    lengthField(KEY, encoder.encode(FALLBACK_ENTITY_ATTRIBUTE)),
    lengthField(VALUE, lengthField(STRING_VALUE, encoder.encode(entity)))
  )
}

function entityKey(pair: Scan): string | undefined {
  const candidates = KEYS_BY_LENGTH[pair.stop - pair.start]
  if (candidates === undefined) return undefined
  for (const candidate of candidates) {
    let i = 0
    while (i < candidate.length && candidate.charCodeAt(i) === pair.bytes[pair.start + i]) i++
    if (i === candidate.length) return candidate
  }
  return undefined
}

/** Text of a scalar AnyValue; undefined for arrays, maps and bytes, which name nothing. */
function scalarText(value: Scan): string | undefined {
  let text: string | undefined
  while (nextField(value)) {
    if (value.field === STRING_VALUE && value.wire === WIRE.length) text = decoder.decode(value.bytes.subarray(value.start, value.stop))
    else if (value.field === BOOL_VALUE && value.wire === WIRE.varint) text = varintValue(value) === 0n ? 'false' : 'true'
    else if (value.field === INT_VALUE && value.wire === WIRE.varint) text = String(varintValue(value))
    else if (value.field === DOUBLE_VALUE && value.wire === WIRE.fixed64) text = String(doubleValue(value))
  }
  return text
}
