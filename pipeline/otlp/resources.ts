// Who emits: the resource of a request reduced to its entity, cached by the hash of the resource's bytes.
//
// Flow: each Resource*s message of a request loads one ResourceCursor; its points, spans and logs refer to it.
// Senders repeat the same resource bytes in every request, so identity is worked out once per distinct resource.
// Any thread; entity indexes are per thread of the process and never survive it.

import { type EntityIdentity, entityIdentity } from '../../schemas/entity.ts'
import type { ResourceView } from '../../schemas/otlp.ts'
import { attributesText } from './any-value.ts'
import { type Hasher, hashRange } from './hash.ts'
import { readStop, skipField, type Wire } from './wire.ts'

/** Distinct resources a reader remembers; the oldest goes first. Restarts change a resource, 4096 covers a large fleet at once. */
const RESOURCES_MAX = 4096
/** Distinct entities with an index in one process. Above it records are rejected: tables beside the index must stay bounded. */
export const ENTITIES_MAX = 262_144

/** The Resource field in each Resource*s message. */
export const RESOURCE = 0x0a
const RESOURCE_ATTRIBUTE = 0x0a

/** The view, with what the readers need besides: where its bytes are and where its keys start. */
export interface ResourceCursor extends ResourceView {
  start: number
  end: number
  /** True when the range is that of the Resource*s message, which holds several Resource fields to be merged. */
  isMerged: boolean
  /** Hash of the entity and its environment: initial lanes of its series keys. */
  low: number
  high: number
}

interface KnownResource extends EntityIdentity {
  version: string
  byteHashHigh: number
  size: number
  entityIndex: number
  low: number
  high: number
}

export interface Resources {
  readonly cursor: ResourceCursor
  /**
   * Makes [start, end) the current resource (start = end: none was sent, the fallback stands in).
   * @param isMerged [start, end) is the Resource*s message, whose several Resource fields count as one, as protobuf demands
   * @returns false when the entity is new and ENTITIES_MAX are known: its records cannot be used
   */
  load(start: number, end: number, isMerged: boolean): boolean
}

const entityIndexes = new Map<string, number>()

/** Index of an entity of one environment in this process, given in the order of first sight; -1 when ENTITIES_MAX are known. */
function entityIndexOf(entity: string): number {
  const known = entityIndexes.get(entity)
  if (known !== undefined) return known
  if (entityIndexes.size === ENTITIES_MAX) return -1
  const index = entityIndexes.size
  entityIndexes.set(entity, index)
  return index
}

export function makeResources(wire: Wire, hasher: Hasher, fallback: { entity: string; environment: string }): Resources {
  const known = new Map<number, KnownResource>()
  const cursor: ResourceCursor = {
    entityIndex: 0,
    entity: '',
    service: '',
    environment: '',
    version: '',
    start: 0,
    end: 0,
    isMerged: false,
    low: 0,
    high: 0,
    attributes: () => resourceText(cursor.start, cursor.end, cursor.isMerged)
  }

  function resourceText(start: number, end: number, isMerged: boolean): Record<string, string> {
    if (!isMerged) return attributesText(wire, start, end, RESOURCE_ATTRIBUTE)
    let attributes: Record<string, string> | undefined
    for (let at = start; at < end; ) {
      if (wire.bytes[at] === RESOURCE) {
        at = readStop(wire, wire.bytes, at + 1, end)
        attributes = attributesText(wire, wire.next, at, RESOURCE_ATTRIBUTE, attributes)
      } else {
        at = skipField(wire, at, end)
      }
    }
    return attributes ?? {}
  }

  function learn(start: number, end: number, isMerged: boolean, byteHashLow: number, byteHashHigh: number): KnownResource {
    const attributes = resourceText(start, end, isMerged)
    const identity = entityIdentity(name => attributes[name], fallback)
    const place = `${identity.environment}\n${identity.entity}`
    const text = new TextEncoder().encode(place)
    hashRange(hasher, new DataView(text.buffer, text.byteOffset, text.byteLength), 0, text.length, hasher.seedLow, hasher.seedHigh)
    const { low, high } = hasher
    const version = attributes['service.version'] ?? ''
    const resource = { ...identity, version, byteHashHigh, size: end - start, entityIndex: entityIndexOf(place), low, high }
    if (known.size >= RESOURCES_MAX) known.delete(known.keys().next().value!)
    known.set(byteHashLow, resource)
    return resource
  }

  function load(start: number, end: number, isMerged: boolean): boolean {
    hashRange(hasher, wire.view, start, end, hasher.seedLow, hasher.seedHigh)
    const { low, high } = hasher
    const cached = known.get(low)
    const isKnown = cached !== undefined && cached.byteHashHigh === high && cached.size === end - start
    const resource = isKnown ? cached : learn(start, end, isMerged, low, high)
    cursor.start = start
    cursor.end = end
    cursor.isMerged = isMerged
    cursor.entityIndex = resource.entityIndex
    cursor.entity = resource.entity
    cursor.service = resource.service
    cursor.environment = resource.environment
    cursor.version = resource.version
    cursor.low = resource.low
    cursor.high = resource.high
    return resource.entityIndex >= 0
  }

  return { cursor, load }
}
