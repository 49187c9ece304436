// Derived points as OTLP: rates of spans and logs go back to the metrics topic as ordinary series.
//
// Flow: detectors derive -> writer -> log (homeostat.metrics.v1) -> reader. The payload is a valid
// ExportMetricsServiceRequest that any OTLP consumer can read. Stateless: a replay that derives the same points writes the same bytes.

import type { DerivedPoint, EncodeDerived } from '../../schemas/otlp.ts'
import { entityIdentity } from '../../schemas/entity.ts'
import { TEMPORALITY } from '../../schemas/otlp.ts'
import { makeProtoWriter, type ProtoWriter } from './proto-writer.ts'

const SCOPE_NAME = 'homeostat.derive'
const NANOSECONDS_PER_MS = 1_000_000n
const MICROSECONDS_PER_MS = 1000

/**
 * Encodes points that share an environment into one request per entity, points of one metric together, in the order of first sight.
 * @returns `entity` is the identity a reader of the request will find, and so the record's key
 */
export const encodeDerived: EncodeDerived = points => {
  const requests: { entity: string; request: Uint8Array }[] = []
  for (const [, ofEntity] of groupBy(points, entityKey)) {
    const first = ofEntity[0]!
    const attributes = resourceAttributes(first.entity)
    const { entity } = entityIdentity(name => attributes.get(name), { entity: '', environment: '' })
    requests.push({ entity, request: encodeEntity(attributes, ofEntity) })
  }
  return requests
}

function encodeEntity(attributes: ReadonlyMap<string, string>, points: readonly DerivedPoint[]): Uint8Array {
  const writer = makeProtoWriter()
  writer.message(1, () => {
    writer.message(1, () => {
      for (const [key, value] of attributes) writeAttribute(writer, 1, key, value)
    })
    writer.message(2, () => {
      writer.message(1, () => writer.text(1, SCOPE_NAME))
      for (const [, ofMetric] of groupBy(points, metricKey)) writer.message(2, () => writeMetric(writer, ofMetric))
    })
  })
  return writer.finish()
}

function writeMetric(writer: ProtoWriter, points: readonly DerivedPoint[]): void {
  const { name, unit, data } = points[0]!
  writer.text(1, name)
  if (unit) writer.text(3, unit)
  switch (data.kind) {
    case 'gauge':
      writer.message(5, () => writeEach(writer, points, writeNumberPoint))
      return
    case 'deltaSum':
      writer.message(7, () => {
        writeEach(writer, points, writeNumberPoint)
        writer.varint(2, TEMPORALITY.delta)
        writer.varint(3, 1)
      })
      return
    case 'deltaExponentialHistogram':
      writer.message(10, () => {
        writeEach(writer, points, writeExponentialPoint)
        writer.varint(2, TEMPORALITY.delta)
      })
  }
}

function writeEach(writer: ProtoWriter, points: readonly DerivedPoint[], write: (writer: ProtoWriter, point: DerivedPoint) => void): void {
  for (const point of points) writer.message(1, () => write(writer, point))
}

function writeNumberPoint(writer: ProtoWriter, point: DerivedPoint): void {
  if (point.data.kind === 'deltaExponentialHistogram') return
  writeTimes(writer, point)
  writer.double(4, point.data.value)
  for (const [key, value] of Object.entries(point.attributes)) writeAttribute(writer, 7, key, value)
}

function writeExponentialPoint(writer: ProtoWriter, point: DerivedPoint): void {
  if (point.data.kind !== 'deltaExponentialHistogram') return
  const { count, sum, min, max, scale, zeroCount, offset, counts } = point.data
  for (const [key, value] of Object.entries(point.attributes)) writeAttribute(writer, 1, key, value)
  writeTimes(writer, point)
  writer.fixed64(4, BigInt(count))
  writer.double(5, sum)
  writer.sint32(6, scale)
  writer.fixed64(7, BigInt(zeroCount))
  writer.message(8, () => {
    writer.sint32(1, offset)
    writer.packedVarints(2, counts)
  })
  // Minimum and maximum of an empty histogram do not exist, and the format says so by leaving them out.
  if (Number.isFinite(min)) writer.double(12, min)
  if (Number.isFinite(max)) writer.double(13, max)
}

function writeTimes(writer: ProtoWriter, point: DerivedPoint): void {
  if (point.startMs > 0) writer.fixed64(2, nanoseconds(point.startMs))
  writer.fixed64(3, nanoseconds(point.timeMs))
}

function writeAttribute(writer: ProtoWriter, field: number, key: string, value: string): void {
  writer.message(field, () => {
    writer.text(1, key)
    writer.message(2, () => writer.text(1, value))
  })
}

/** Milliseconds with a fraction as nanoseconds; the fraction to the microsecond, as a double of today's epoch holds no more. */
function nanoseconds(ms: number): bigint {
  const whole = Math.floor(ms)
  return BigInt(whole) * NANOSECONDS_PER_MS + BigInt(Math.round((ms - whole) * MICROSECONDS_PER_MS)) * 1000n
}

/** The attributes from which `entityIdentity` makes the same entity again. */
function resourceAttributes(entity: DerivedPoint['entity']): ReadonlyMap<string, string> {
  const attributes = new Map<string, string>()
  if (entity.namespace) attributes.set('service.namespace', entity.namespace)
  if (entity.service) attributes.set('service.name', entity.service)
  if (entity.instance) attributes.set(entity.service ? 'service.instance.id' : 'host.name', entity.instance)
  if (entity.environment) attributes.set('deployment.environment.name', entity.environment)
  return attributes
}

/** Parts of a key are joined by a character that no attribute value of a sane sender holds; JSON keeps even others apart. */
const entityKey = ({ entity }: DerivedPoint): string => JSON.stringify([entity.namespace, entity.service, entity.instance, entity.environment])
const metricKey = ({ name, unit, data }: DerivedPoint): string => JSON.stringify([name, unit, data.kind])

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const group = groups.get(key(item))
    if (group) group.push(item)
    else groups.set(key(item), [item])
  }
  return groups
}
