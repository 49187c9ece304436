// Small requests for the tests of the reader, built field by field.

import { makeProtoWriter, type ProtoWriter } from '../../../../../pipeline/otlp/proto-writer.ts'

export type Scalar = string | number | boolean
export type Attributes = readonly (readonly [key: string, value: Scalar])[]

/** Bytes that `write` appends. */
export function bytesOf(write: (writer: ProtoWriter) => void): Uint8Array {
  const writer = makeProtoWriter()
  write(writer)
  return writer.finish()
}

/** Integers become int values, other numbers doubles. */
export function attribute(writer: ProtoWriter, field: number, key: string, value: Scalar): void {
  writer.message(field, () => {
    writer.text(1, key)
    writer.message(2, () => {
      if (typeof value === 'string') writer.text(1, value)
      else if (typeof value === 'boolean') writer.varint(2, value ? 1 : 0)
      else if (Number.isInteger(value)) writer.varint(3, value)
      else writer.double(4, value)
    })
  })
}

export interface RequestOptions {
  resource?: Attributes
  scope?: string
  /** Writes the fields of one Metric, Span or LogRecord. */
  item: (writer: ProtoWriter) => void
}

/** One resource, one scope, one item: the frame of the three signals is the same. */
export function aRequest({ resource = [['service.name', 'orders']], scope = 'test', item }: RequestOptions): Uint8Array {
  return bytesOf(writer => {
    writer.message(1, () => {
      writer.message(1, () => {
        for (const [key, value] of resource) attribute(writer, 1, key, value)
      })
      writer.message(2, () => {
        writer.message(1, () => writer.text(1, scope))
        writer.message(2, () => item(writer))
      })
    })
  })
}

export interface GaugeOptions extends Omit<RequestOptions, 'item'> {
  name?: string
  attributes?: Attributes
  /** Field of the data in Metric: 5 gauge, 7 sum. */
  data?: 5 | 7
  value?: number
}

/** One number point of value 1 and one attribute unless told otherwise. */
export function aPoint({ name = 'queue.length', attributes = [['queue', 'main']], data = 5, value = 1, ...rest }: GaugeOptions = {}): Uint8Array {
  return aMetric(
    data,
    writer => {
      writer.fixed64(3, 1_760_000_000_000_000_000n)
      writer.double(4, value)
      for (const [key, text] of attributes) attribute(writer, 7, key, text)
    },
    { ...rest, name }
  )
}

/** One metric with one point of whatever fields. */
export function aMetric(data: number, point: (writer: ProtoWriter) => void, { name = 'queue.length', ...rest }: GaugeOptions = {}): Uint8Array {
  return aRequest({
    ...rest,
    item: writer => {
      writer.text(1, name)
      writer.message(data, () => writer.message(1, () => point(writer)))
    }
  })
}

/** A gauge point whose one attribute is `depth` arrays in one another. */
export function aNestedPoint(depth: number): Uint8Array {
  const nest = (writer: ProtoWriter, left: number): void => {
    if (left > 0) writer.message(5, () => writer.message(1, () => nest(writer, left - 1)))
    else writer.varint(2, 1)
  }
  return aMetric(5, writer => {
    writer.double(4, 1)
    writer.message(7, () => {
      writer.text(1, 'deep')
      writer.message(2, () => nest(writer, depth))
    })
  })
}
