// The OTLP reader as the domain sees it: a cursor over one Export*ServiceRequest, reused for every point.
//
// pipeline/otlp/reader.ts implements it. Nothing is allocated per data point: number fields are overwritten in place,
// strings and attribute maps are made only when asked for (a new series, an anomaly). A cursor is valid only inside
// the sink's call; whoever keeps something copies it.

/** Gauge whose value is the time at which it was sent, s since 1970: tells how long telemetry is on its way. */
export const CANARY_METRIC = 'homeostat.canary.sent'

export const POINT_KIND = { gauge: 0, sum: 1, histogram: 2, exponentialHistogram: 3, summary: 4 } as const
export type PointKind = (typeof POINT_KIND)[keyof typeof POINT_KIND]
export const TEMPORALITY = { unspecified: 0, delta: 1, cumulative: 2 } as const

/** The resource that the following points, spans or logs belong to. */
export interface ResourceView {
  /** Per process: the same entity has the same index, so that a table can be kept beside it. */
  entityIndex: number
  entity: string
  service: string
  environment: string
  /** `service.version`; '' when it says none. */
  version: string
  attributes(): Record<string, string>
}

export interface PointView {
  readonly resource: ResourceView
  /** Series identity: 64 bits in two lanes over entity, metric name, point attributes (order-free) and kind. */
  keyLow: number
  keyHigh: number
  kind: PointKind
  /** One of TEMPORALITY; unspecified for gauges and summaries. */
  temporality: number
  monotonic: boolean
  /** Epoch ms, fractions kept. */
  timeMs: number
  /** Start of the cumulative or delta interval, epoch ms; 0 when unset. */
  startMs: number
  /** Gauge and sum: the value. Others: NaN. NaN as well when the sender flags "no recorded value". */
  value: number
  noRecordedValue: boolean
  /** Histograms and summaries. */
  count: number
  sum: number
  min: number
  max: number
  /** Histogram: `boundCount` upper bounds in `bounds`, `bucketCount` counts in `buckets` (scratch, overwritten). */
  boundCount: number
  bucketCount: number
  bounds: Float64Array
  buckets: Float64Array
  /** Exponential histogram: base 2^(2^-scale); positive counts in `buckets` from `positiveOffset`, negative in `negativeBuckets`. */
  scale: number
  zeroCount: number
  positiveOffset: number
  negativeOffset: number
  negativeBucketCount: number
  negativeBuckets: Float64Array
  /** Summary: `quantileCount` pairs. */
  quantileCount: number
  quantiles: Float64Array
  quantileValues: Float64Array
  name(): string
  unit(): string
  description(): string
  attributes(): Record<string, string>
}

export interface SpanView {
  readonly resource: ResourceView
  timeMs: number
  durationMs: number
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  kind: number
  /** 0 unset, 1 ok, 2 error. */
  status: number
  /** 64-bit span ids as two lanes; 0/0 = none. Trace ids as the low 64 bits. */
  spanIdLow: number
  spanIdHigh: number
  parentIdLow: number
  parentIdHigh: number
  traceIdLow: number
  traceIdHigh: number
  /** Hash of the name's bytes, for tables. */
  nameHash: number
  name(): string
  statusMessage(): string
  /** One attribute as text, or undefined. */
  attribute(name: string): string | undefined
  traceId(): string
  spanId(): string
}

export interface LogView {
  readonly resource: ResourceView
  /** The record's time, else its observed time, else 0. Epoch ms; may be days old. */
  timeMs: number
  observedMs: number
  /** 1..24, 0 unset. */
  severityNumber: number
  severityText(): string
  /** The body as text (structured bodies as JSON), cut at `charsMax`. */
  body(charsMax: number): string
  /** The body's UTF-8 bytes when it is a string: [start, end) in `bytes`, else start = end. */
  readonly bytes: Uint8Array
  bodyStart: number
  bodyEnd: number
  attribute(name: string): string | undefined
  traceId(): string
}

export interface PointSink {
  point(view: PointView): void
}
export interface SpanSink {
  span(view: SpanView): void
}
export interface LogSink {
  log(view: LogView): void
}

export interface ReadResult {
  /** Points, spans or log records handed to the sink. */
  accepted: number
  /** Records of the request that cannot be used (a point without a value's field, an unknown metric kind). */
  rejected: number
  /** First reason, '' when none. */
  reason: string
}

/** Walks protobuf bytes, every length checked against its parent. @throws AppError `malformed_otlp` with the byte offset */
export interface OtlpReader {
  readMetrics(request: Uint8Array, sink: PointSink): ReadResult
  readSpans(request: Uint8Array, sink: SpanSink): ReadResult
  readLogs(request: Uint8Array, sink: LogSink): ReadResult
}

/** Makes a reader. Keys of two readers agree only when `seed` does: keep it with the state that holds the keys. */
export type OpenReader = (options: { fallback: { entity: string; environment: string }; seed: number }) => OtlpReader

/** A derived series point to be written back as OTLP (detectors make them, pipeline/otlp/writer.ts encodes them). */
export interface DerivedPoint {
  entity: { namespace: string; service: string; instance: string; environment: string }
  name: string
  unit: string
  timeMs: number
  /** Kept to the microsecond: a delta point carries the number of the shard that counted it there (detectors/derive/window.ts). */
  startMs: number
  /** The log's clock at which a count of one shard was complete, epoch ms: points of all shards are judged in this order (detectors/merge.ts). */
  dueMs?: number
  attributes: Readonly<Record<string, string>>
  data:
    | { kind: 'gauge'; value: number }
    | { kind: 'deltaSum'; value: number }
    | {
        kind: 'deltaExponentialHistogram'
        count: number
        sum: number
        min: number
        max: number
        scale: number
        zeroCount: number
        offset: number
        counts: readonly number[]
      }
}
/** Encodes points that share an environment into one ExportMetricsServiceRequest per entity. */
export type EncodeDerived = (points: readonly DerivedPoint[]) => readonly { entity: string; request: Uint8Array }[]
