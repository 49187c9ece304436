// An ExportMetricsServiceRequest as rows of the five otel_metrics_* tables, column for column as the Collector's exporter writes them.
//
// We differ where it would state what was not measured: a point without a recorded value, and an unset sum, min or max, are NaN and not 0.

import {
  attributesText,
  type Buckets,
  decodeMetrics,
  type Exemplar,
  type ExponentialPoint,
  type HistogramPoint,
  has,
  hexId,
  type KeyValue,
  type Metric,
  type NumberPoint,
  numberOf,
  type SummaryPoint
} from '../../otlp/decode.ts'
import { type Sighting, sightingOf } from './sighting.ts'
import { count64, float, nanosText, type Row, type TableRow } from './values.ts'

const NO_RECORDED_VALUE = 1

export interface SignalRows {
  rows: TableRow[]
  sightings: Sighting[]
  /** Parts of the request that hold nothing to store: a metric without points of a kind we know. */
  unusable: number
}

/**
 * Rows of one request.
 * @param receivedMs stands in for a point's missing time
 * @throws AppError `malformed_otlp`
 */
export function metricRows(request: Uint8Array, defaults: { entity: string; environment: string }, receivedMs: number): SignalRows {
  const result: SignalRows = { rows: [], sightings: [], unusable: 0 }
  for (const { resource, schemaUrl, scopes } of decodeMetrics(request)) {
    const attributes = attributesText(resource?.attributes ?? [])
    let lastMs = 0
    for (const { scope, schemaUrl: scopeSchemaUrl, metrics } of scopes) {
      const scoped = {
        ResourceAttributes: attributes,
        ResourceSchemaUrl: schemaUrl,
        ScopeName: scope?.name ?? '',
        ScopeVersion: scope?.version ?? '',
        ScopeAttributes: attributesText(scope?.attributes ?? []),
        ScopeDroppedAttrCount: scope?.droppedAttributesCount ?? 0,
        ScopeSchemaUrl: scopeSchemaUrl,
        ServiceName: attributes['service.name'] ?? ''
      }
      for (const metric of metrics) {
        const common = { ...scoped, MetricName: metric.name, MetricDescription: metric.description, MetricUnit: metric.unit }
        const points = pointsOf(metric)
        if (points === undefined) result.unusable++
        for (const { table, point, columns } of points ?? []) {
          const timeMs = numberOf(point.timeUnixNano) / 1e6 || receivedMs
          if (timeMs > lastMs) lastMs = timeMs
          const row: Row = {
            ...common,
            Attributes: attributesText(point.attributes),
            StartTimeUnix: nanosText(point.startTimeUnixNano),
            TimeUnix: nanosText(point.timeUnixNano, receivedMs),
            Flags: point.flags,
            ...columns
          }
          result.rows.push({ table, row })
        }
      }
    }
    if (lastMs > 0) result.sightings.push(sightingOf('metric', attributes, defaults, lastMs))
  }
  return result
}

interface TablePoint {
  table: string
  point: { attributes: KeyValue[]; startTimeUnixNano: NumberPoint['timeUnixNano']; timeUnixNano: NumberPoint['timeUnixNano']; flags: number }
  columns: Row
}

function pointsOf(metric: Metric): TablePoint[] | undefined {
  if (metric.gauge) return metric.gauge.dataPoints.map(point => ({ table: 'otel_metrics_gauge', point, columns: numberColumns(point) }))
  if (metric.sum) {
    const kind = { AggregationTemporality: metric.sum.aggregationTemporality, IsMonotonic: metric.sum.isMonotonic }
    return metric.sum.dataPoints.map(point => ({ table: 'otel_metrics_sum', point, columns: { ...numberColumns(point), ...kind } }))
  }
  if (metric.histogram) {
    const kind = { AggregationTemporality: metric.histogram.aggregationTemporality }
    return metric.histogram.dataPoints.map(point => ({ table: 'otel_metrics_histogram', point, columns: { ...histogramColumns(point), ...kind } }))
  }
  if (metric.exponentialHistogram) {
    const kind = { AggregationTemporality: metric.exponentialHistogram.aggregationTemporality }
    return metric.exponentialHistogram.dataPoints.map(point => ({
      table: 'otel_metrics_exponential_histogram',
      point,
      columns: { ...exponentialColumns(point), ...kind }
    }))
  }
  return metric.summary?.dataPoints.map(point => ({ table: 'otel_metrics_summary', point, columns: summaryColumns(point) }))
}

function numberColumns(point: NumberPoint): Row {
  const recorded = (point.flags & NO_RECORDED_VALUE) === 0
  const value = has(point, 'asDouble') ? point.asDouble : has(point, 'asInt') ? numberOf(point.asInt) : Number.NaN
  return { Value: recorded ? float(value) : null, ...exemplarColumns(point.exemplars) }
}

function distributionColumns(point: HistogramPoint | ExponentialPoint): Row {
  return {
    Count: count64(point.count),
    Sum: has(point, 'sum') ? float(point.sum) : null,
    Min: has(point, 'min') ? float(point.min) : null,
    Max: has(point, 'max') ? float(point.max) : null,
    ...exemplarColumns(point.exemplars)
  }
}

function histogramColumns(point: HistogramPoint): Row {
  return { ...distributionColumns(point), BucketCounts: point.bucketCounts.map(count64), ExplicitBounds: point.explicitBounds.map(float) }
}

function exponentialColumns(point: ExponentialPoint): Row {
  const buckets = (side: Buckets | null | undefined): (number | string)[] => side?.bucketCounts.map(count64) ?? []
  return {
    ...distributionColumns(point),
    Scale: point.scale,
    ZeroCount: count64(point.zeroCount),
    PositiveOffset: point.positive?.offset ?? 0,
    PositiveBucketCounts: buckets(point.positive),
    NegativeOffset: point.negative?.offset ?? 0,
    NegativeBucketCounts: buckets(point.negative)
  }
}

function summaryColumns(point: SummaryPoint): Row {
  return {
    Count: count64(point.count),
    Sum: float(point.sum),
    'ValueAtQuantiles.Quantile': point.quantileValues.map(each => float(each.quantile)),
    'ValueAtQuantiles.Value': point.quantileValues.map(each => float(each.value))
  }
}

function exemplarColumns(exemplars: readonly Exemplar[]): Row {
  if (exemplars.length === 0) return {}
  return {
    'Exemplars.FilteredAttributes': exemplars.map(each => attributesText(each.filteredAttributes)),
    'Exemplars.TimeUnix': exemplars.map(each => nanosText(each.timeUnixNano)),
    'Exemplars.Value': exemplars.map(each => float(has(each, 'asDouble') ? each.asDouble : has(each, 'asInt') ? numberOf(each.asInt) : Number.NaN)),
    'Exemplars.SpanId': exemplars.map(each => hexId(each.spanId)),
    'Exemplars.TraceId': exemplars.map(each => hexId(each.traceId))
  }
}
