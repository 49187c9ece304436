// The peer of `bench decode`: what a Node service does with protobufjs to find the series of a point.
//
// The decoders are those that protobufjs compiles from the descriptor on first use: the same generator writes them that fills its
// static modules. Measured apart on the same bytes, a module of protobufjs-cli (pbjs -t static-module) took 0 to 10 %
// longer than these, so what is compared here is protobufjs' best; the generator itself is no dependency of ours.

import { otlpRoot } from '../../pipeline/otlp/descriptor.ts'

type Decoded = any

export interface PeerAnswer {
  pointCount: number
  seriesCount: number
  valueSum: number
}

const requestType = otlpRoot().lookupType('opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest')

/** Decodes only. @returns the number of points */
export function decodeWithProtobufjs(request: Uint8Array): number {
  const message: Decoded = requestType.decode(request)
  let count = 0
  for (const resource of message.resourceMetrics) {
    for (const scope of resource.scopeMetrics) for (const metric of scope.metrics) count += dataOf(metric).dataPoints.length
  }
  return count
}

/** Decodes and looks each point's series up in `series` by a sorted string, which is the common way. */
export function keyWithProtobufjs(request: Uint8Array, series: Map<string, number>): PeerAnswer {
  const message: Decoded = requestType.decode(request)
  let pointCount = 0
  let valueSum = 0
  for (const { resource, scopeMetrics } of message.resourceMetrics) {
    const entity = entityOf(resource.attributes)
    for (const { metrics } of scopeMetrics) {
      for (const metric of metrics) {
        const base = `${entity}|${metric.name}|${metric.data}`
        for (const point of dataOf(metric).dataPoints) {
          const key = `${base}|${point.attributes.map(attributeText).sort().join(',')}`
          if (!series.has(key)) series.set(key, series.size)
          pointCount++
          valueSum += pointValue(point)
        }
      }
    }
  }
  return { pointCount, seriesCount: series.size, valueSum }
}

function dataOf(metric: Decoded): Decoded {
  return metric.gauge ?? metric.sum ?? metric.histogram ?? metric.exponentialHistogram ?? metric.summary
}

function entityOf(attributes: Decoded[]): string {
  let namespace = ''
  let service = ''
  let host = ''
  for (const { key, value } of attributes) {
    if (key === 'service.namespace') namespace = value.stringValue
    else if (key === 'service.name') service = value.stringValue
    else if (key === 'host.name') host = value.stringValue
  }
  return `${namespace}/${service}@${host}`
}

function attributeText({ key, value }: Decoded): string {
  switch (value.value) {
    case 'stringValue':
      return `${key}=${value.stringValue}`
    case 'intValue':
      return `${key}=${value.intValue.toNumber()}`
    default:
      return `${key}=${value[value.value]}`
  }
}

/** A number point's value; the sum and all buckets or quantiles of a distribution, so that none of them can go unread. */
function pointValue(point: Decoded): number {
  if (point.value === 'asDouble') return point.asDouble
  if (point.value === 'asInt') return point.asInt.toNumber()
  let value = point.sum
  if (point.bucketCounts) for (const count of point.bucketCounts) value += count.toNumber()
  if (point.positive) for (const count of point.positive.bucketCounts) value += count.toNumber()
  if (point.quantileValues) for (const { value: one } of point.quantileValues) value += one
  return value
}
