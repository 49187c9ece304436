// Stored metric points as the OTLP requests that they came in, so that the reader and the scorer see what they saw live.
//
// Flow: backtest-history (rows of otel_metrics_*) -> requests -> detectors/backtest/replay. Attribute values are texts in the
// tables, and texts here: the identity of a series is made of texts anyway.

import { entityIdentity } from '../../schemas/entity.ts'
import { makeProtoWriter, type ProtoWriter } from '../otlp/proto-writer.ts'

/** One stored point, of any kind. A number that was NaN is null: JSON has no other word for it. */
export interface PointRow {
  kind: 'gauge' | 'sum' | 'histogram' | 'exponential' | 'summary'
  /** Hash of the resource. */
  resourceKey: string | number
  resource: Readonly<Record<string, string>>
  metric: string
  unit: string
  attributes: Readonly<Record<string, string>>
  /** Epoch ns as decimal text (a double cannot hold them). */
  startNs: string | number
  timeNs: string | number
  value: number | null
  count: number | string
  sum: number | null
  min: number | null
  max: number | null
  temporality: number
  monotonic: boolean
  bounds: readonly number[]
  buckets: readonly (number | string)[]
  scale: number
  zeroCount: number | string
  positiveOffset: number
  positive: readonly (number | string)[]
  negativeOffset: number
  negative: readonly (number | string)[]
  quantiles: readonly number[]
  quantileValues: readonly (number | null)[]
}

/** Points that came together, as `ReplayedRequest` of detectors/backtest. */
export interface HistoryRequest {
  request: Uint8Array
  atMs: number
  derived?: { entity: string; environment: string }
}

/** Points of so short a time are one request; the detector's clock moves on in such steps. */
const STEP_MS = 100
const DERIVED = /^homeostat\.(span|edge|log)\./

/** Groups rows, which come in order of time, into requests: raw points by step, derived ones by window and entity. */
export function requestBuilder(environment: string): { take(row: PointRow): HistoryRequest[]; finish(): HistoryRequest[] } {
  let step = Number.NEGATIVE_INFINITY
  let raw: PointRow[] = []
  let derived = new Map<string, PointRow[]>()

  function flush(): HistoryRequest[] {
    const requests: HistoryRequest[] = []
    for (const rows of derived.values()) {
      const { resource } = rows[0]!
      const { entity, environment: own } = entityIdentity(name => resource[name], { entity: 'unknown', environment })
      requests.push({ request: encodeRows(rows), atMs: timeMs(rows[0]!), derived: { entity, environment: own } })
    }
    if (raw.length > 0) requests.push({ request: encodeRows(raw), atMs: timeMs(raw.at(-1)!) })
    raw = []
    derived = new Map()
    return requests
  }

  return {
    take(row) {
      const rowStep = Math.floor(timeMs(row) / STEP_MS)
      const requests = rowStep === step ? [] : flush()
      step = rowStep
      if (!DERIVED.test(row.metric)) raw.push(row)
      else {
        const key = `${row.timeNs} ${row.resourceKey}`
        const known = derived.get(key)
        if (known) known.push(row)
        else derived.set(key, [row])
      }
      return requests
    },
    finish: flush
  }
}

const timeMs = ({ timeNs }: PointRow): number => Number(timeNs) / 1e6

/** An ExportMetricsServiceRequest of these points. */
export function encodeRows(rows: readonly PointRow[]): Uint8Array {
  const writer = makeProtoWriter()
  for (const ofResource of Map.groupBy(rows, row => row.resourceKey).values()) {
    writer.message(1, () => {
      writer.message(1, () => writeAttributes(writer, 1, ofResource[0]!.resource))
      writer.message(2, () => {
        for (const points of Map.groupBy(ofResource, metricKey).values()) writer.message(2, () => writeMetric(writer, points))
      })
    })
  }
  return writer.finish()
}

const metricKey = ({ metric, unit, kind, temporality, monotonic }: PointRow): string => `${kind} ${temporality} ${monotonic} ${unit} ${metric}`

function writeMetric(writer: ProtoWriter, points: readonly PointRow[]): void {
  const { metric, unit, kind, temporality, monotonic } = points[0]!
  writer.text(1, metric)
  if (unit !== '') writer.text(3, unit)
  writer.message(FIELDS[kind], () => {
    const write = WRITERS[kind]
    for (const row of points) writer.message(1, () => write(writer, row))
    if (kind === 'gauge' || kind === 'summary') return
    writer.varint(2, temporality)
    if (kind === 'sum') writer.varint(3, monotonic ? 1 : 0)
  })
}

/** Of Metric, by its kind of data. */
const FIELDS = { gauge: 5, sum: 7, histogram: 9, exponential: 10, summary: 11 } as const
const WRITERS: Readonly<Record<PointRow['kind'], (writer: ProtoWriter, row: PointRow) => void>> = {
  gauge: writeNumber,
  sum: writeNumber,
  histogram: writeHistogram,
  exponential: writeExponential,
  summary: writeSummary
}

function writeTimes(writer: ProtoWriter, { startNs, timeNs }: PointRow): void {
  if (Number(startNs) > 0) writer.fixed64(2, BigInt(startNs))
  writer.fixed64(3, BigInt(timeNs))
}

function writeNumber(writer: ProtoWriter, row: PointRow): void {
  writeTimes(writer, row)
  writer.double(4, row.value ?? Number.NaN)
  writeAttributes(writer, 7, row.attributes)
}

function writeHistogram(writer: ProtoWriter, row: PointRow): void {
  writeTimes(writer, row)
  writer.fixed64(4, BigInt(row.count))
  writer.double(5, row.sum ?? Number.NaN)
  writer.packedFixed64(6, row.buckets.map(Number))
  writer.packedDoubles(7, row.bounds)
  writeAttributes(writer, 9, row.attributes)
  if (row.min !== null) writer.double(11, row.min)
  if (row.max !== null) writer.double(12, row.max)
}

function writeExponential(writer: ProtoWriter, row: PointRow): void {
  writeAttributes(writer, 1, row.attributes)
  writeTimes(writer, row)
  writer.fixed64(4, BigInt(row.count))
  writer.double(5, row.sum ?? Number.NaN)
  writer.sint32(6, row.scale)
  writer.fixed64(7, BigInt(row.zeroCount))
  const side = (field: number, offset: number, counts: readonly (number | string)[]): void =>
    writer.message(field, () => {
      writer.sint32(1, offset)
      writer.packedVarints(2, counts.map(Number))
    })
  side(8, row.positiveOffset, row.positive)
  if (row.negative.length > 0) side(9, row.negativeOffset, row.negative)
  if (row.min !== null) writer.double(12, row.min)
  if (row.max !== null) writer.double(13, row.max)
}

function writeSummary(writer: ProtoWriter, row: PointRow): void {
  writeTimes(writer, row)
  writer.fixed64(4, BigInt(row.count))
  writer.double(5, row.sum ?? Number.NaN)
  for (const [index, quantile] of row.quantiles.entries()) {
    writer.message(6, () => {
      writer.double(1, quantile)
      writer.double(2, row.quantileValues[index] ?? Number.NaN)
    })
  }
  writeAttributes(writer, 7, row.attributes)
}

function writeAttributes(writer: ProtoWriter, field: number, attributes: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(attributes)) {
    writer.message(field, () => {
      writer.text(1, key)
      writer.message(2, () => writer.text(1, value))
    })
  }
}
